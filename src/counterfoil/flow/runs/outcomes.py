"""evidence: what a call, a look-up or a person brought, made into the transition that records it.

A confirmed result is read by its mapping: canonical result, Links, what differs from what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from counterfoil.connectors.sdk import Absent, Accepted, Confirmed, Outcome, Rejected, Unknown
from counterfoil.core import ids, wire
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.link import Link
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.dispatch.batching import LATE
from counterfoil.model import Model
from counterfoil.model.definition import Definition, OperationDefinition
from counterfoil.rules.lookup import account_of
from counterfoil.rules.mapping import MappedAnswer, MappingFailed, take_result
from counterfoil.rules.values import typed
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.store import (
    Store,
)

FIRST_LOOK = timedelta(seconds=1)
LOOK_CAP = 300.0
"""Seconds between two look-ups at most."""
NOT_SENT = Unknown("not sent in time")
"""No byte left: the one outcome that tells nothing of its system."""


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What an effect is to be judged by: its Run's release, workflow and operation."""

    model: Model
    definition: Definition
    operation: OperationDefinition


class OutcomeRecorder:
    """Outcomes as transitions, in the name of one worker."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker

    async def conclude(
        self, context: EffectContext, effect: Effect, attempt: int, outcome: Outcome | Absent, evidence: str
    ) -> tuple[Conclude, Any]:
        """The transition that records an outcome, and the value of its result. `evidence` says how it was learnt.
        Raises TryAgain while the store is away."""
        now = await self._store.now()
        parts: dict[str, Any] = {}
        result = None
        match outcome:
            case Confirmed(answered):
                parts, result = await self._confirmed(context, effect, dict(answered), now)
            case Rejected(error_class, message, code, retry_after):
                parts = {
                    "state": EffectState.REFUSED,
                    "error_class": error_class,
                    "error": f"{code}: {message}" if code else message,
                    "retry_after": retry_after,
                }
            case Accepted(job):
                parts = {"state": EffectState.ACCEPTED, "error": job, "look_at": now + FIRST_LOOK}
            case Absent():
                parts = {"state": EffectState.ABSENT}
            case Unknown(message):
                # A system that fails each attempt is not asked for ever at the same pace.
                wait = timedelta(seconds=min(LOOK_CAP, 2.0 ** min(attempt - 1, 12)))
                parts = {"state": EffectState.UNKNOWN, "error": message, "look_at": now + wait}
                evidence = "time-out" if outcome is NOT_SENT or outcome is LATE else evidence
        conclude = Conclude(
            effect=effect.id,
            attempt=attempt,
            at=now,
            actor=f"worker:{self._worker}",
            evidence=evidence,
            **parts,
        )
        return conclude, result

    async def _confirmed(
        self, context: EffectContext, effect: Effect, result: dict[str, Any], now: datetime
    ) -> tuple[dict[str, Any], Any]:
        returned = await self._returned(context.model, effect, result, now)
        if isinstance(returned, MappingFailed):
            case = self._case(context, effect, "result_unreadable", returned.message, now)
            return {"state": EffectState.CONFIRMED, "result": wire.dumps(result), "cases": (case,)}, result
        account = account_of(context.model, effect.system)
        links = tuple(
            Link(
                object=object_,
                canonical=canonical,
                system=effect.system,
                account=account,
                ext_id=ext_id,
                established_by=f"effect:{effect.id}",
                valid_from=now,
            )
            for object_, canonical, ext_id in returned.links
        )
        cases: tuple[Case, ...] = ()
        if returned.differs:
            cases = (self._case(context, effect, "mismatch", "; ".join(returned.differs), now),)
        contradiction = self._case(
            context,
            effect,
            "contradiction",
            "it was done after all, although it had counted as not done",
            now,
        )
        parts: dict[str, Any] = {
            "state": EffectState.CONFIRMED,
            "result": wire.dumps(returned.result),
            "links": links,
            "cases": cases,
            "contradiction": contradiction,
        }
        return parts, returned.result

    async def _returned(
        self, model: Model, effect: Effect, result: dict[str, Any], now: datetime
    ) -> MappedAnswer | MappingFailed:
        outbound = model.outbound(effect.operation)
        value = wire.loads(effect.input)
        lookups = Lookups(self._store, model, now)
        returned = await lookups.complete(partial(take_result, outbound, value, result, lookups.answers))
        if isinstance(returned, MappedAnswer) and effect.operation in model.operations:
            schema = model.schema_of_operation(effect.operation, "output")
            if schema.get("properties"):
                return MappedAnswer(
                    result=typed(returned.result, schema), links=returned.links, differs=returned.differs
                )
        return returned

    def _case(self, context: EffectContext, effect: Effect, reason: str, message: str, now: datetime) -> Case:
        owners = context.definition.exception_owners or context.definition.owners
        return open_case(
            reason,
            id=ids.derive("case", reason, effect.id),
            message=f"{effect.operation}: {message}",
            owners=owners,
            at=now,
            names={"system": effect.system},
            run=effect.run,
            path=effect.path,
            effect=effect.id,
        )
