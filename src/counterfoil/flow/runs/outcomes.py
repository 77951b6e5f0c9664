"""Outcomes of effects: the answer of a call, a look-up or a person, as the transition that records it.

The operation's mapping reads a confirmed result: its canonical form, its Links, and what differs from the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec

from counterfoil.connectors.sdk import Absent, Accepted, Confirmed, Outcome, Rejected, Unknown
from counterfoil.core import ids, wire
from counterfoil.core.case import Case
from counterfoil.core.cases import largest_amounts, open_case, unsettled_foil
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import TryAgain
from counterfoil.core.link import Link
from counterfoil.core.money import INT64_MAX, Money
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.request_batching import LATE
from counterfoil.flow.runs.snapshot import model_of
from counterfoil.model import Model
from counterfoil.model.definition import Definition, OperationDefinition
from counterfoil.rules.json_values import typed
from counterfoil.rules.lookup import account_of
from counterfoil.rules.mapping import MappedAnswer, MappingFailed, take_result
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.store import Store

T = TypeVar("T")

FIRST_LOOK_INTERVAL = timedelta(seconds=1)
MAX_LOOK_INTERVAL_SECONDS = 300.0
RECORD_RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0, 6.0, *(10.0,) * 5)
"""Waits between tries to record an outcome: a minute in all, as the replacement of a primary may take."""
NOT_SENT = Unknown("not sent in time")
"""No byte has left: the only outcome that says nothing about its system."""


@dataclass(frozen=True, slots=True)
class EffectContext:
    """The model, workflow and operation that an effect follows."""

    model: Model
    definition: Definition
    operation: OperationDefinition
    entity: str
    """Legal entity of the effect's Run."""


async def load_context(store: Store, releases: Releases, effect: Effect) -> EffectContext:
    """Return the context of an effect whose Run is not loaded yet."""
    loaded = await store.load(effect.run)
    assert loaded is not None
    run = loaded.run
    model = model_of(run, await releases.model(run.pin))
    definition = model.workflow(run.workflow)
    return EffectContext(model, definition, definition.operations[effect.operation], run.entity)


class OutcomeRecorder:
    """Records outcomes in the name of one worker. `evidence` says how an outcome was learnt.

    Every method retries while the store is away: a lost outcome costs a look-up, or the work of a person.
    """

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker

    async def record(
        self, context: EffectContext, effect: Effect, attempt: int, outcome: Outcome | Absent, evidence: str
    ) -> str:
        """Record an outcome. Return the verdict of the store."""
        conclude, _ = await self.conclude(context, effect, attempt, outcome, evidence)
        return await self.commit(conclude)

    async def commit(self, conclude: Conclude) -> str:
        """Commit an outcome; a repeat has no effect. Return the verdict of the store."""
        return (await _retry(lambda: self._store.apply(conclude))).verdict

    async def conclude(
        self, context: EffectContext, effect: Effect, attempt: int, outcome: Outcome | Absent, evidence: str
    ) -> tuple[Conclude, Any]:
        """Return the transition that records an outcome, and the value of its result."""
        return await _retry(lambda: self._conclude(context, effect, attempt, outcome, evidence))

    async def _conclude(
        self, context: EffectContext, effect: Effect, attempt: int, outcome: Outcome | Absent, evidence: str
    ) -> tuple[Conclude, Any]:
        now = await self._store.now()
        parts: dict[str, Any] = {}
        result = None
        match outcome:
            case Confirmed(answer):
                parts, result = await self._confirmed_parts(context, effect, dict(answer), now)
            case Rejected(error_class, message, code, retry_after):
                parts = {
                    "state": EffectState.REFUSED,
                    "error_class": error_class,
                    "error": f"{code}: {message}" if code else message,
                    "retry_after": retry_after,
                }
            case Accepted(job):
                parts = {"state": EffectState.ACCEPTED, "error": job, "look_at": now + FIRST_LOOK_INTERVAL}
            case Absent():
                parts = {"state": EffectState.ABSENT}
            case Unknown(message):
                # A system that fails every attempt is asked less and less often.
                wait = timedelta(seconds=min(MAX_LOOK_INTERVAL_SECONDS, 2.0 ** min(attempt - 1, 12)))
                parts = {"state": EffectState.UNKNOWN, "error": message, "look_at": now + wait}
                evidence = "time-out" if outcome is NOT_SENT or outcome is LATE else evidence
        parts |= {"attempt": attempt, "at": now, "actor": f"worker:{self._worker}", "evidence": evidence}
        return Conclude(effect=effect.id, **parts), result

    async def _confirmed_parts(
        self, context: EffectContext, effect: Effect, result: dict[str, Any], now: datetime
    ) -> tuple[dict[str, Any], Any]:
        value = wire.loads(effect.input)
        answer = await self._take_result(context.model, effect, value, result, now)
        money = largest_amounts(value)
        if isinstance(answer, MappingFailed):
            case = self._case(context, effect, "result_unreadable", answer.message, now, money)
            return {"state": EffectState.CONFIRMED, "result": wire.dumps(result), "cases": (case,)}, result
        account = account_of(context.model, effect.system)
        links = tuple(
            Link(
                object=object_,
                canonical=canonical,
                system=effect.system,
                account=account,
                ext_id=ext_id,
                legal_entity=context.entity,
                established_by=f"effect:{effect.id}",
                valid_from=now,
            )
            for object_, canonical, ext_id in answer.links
        )
        cases: tuple[Case, ...] = ()
        if answer.differs:
            at_stake = _differences(context.model, effect, value, answer.result) or money
            case = self._case(context, effect, "mismatch", "; ".join(answer.differs), now, at_stake)
            cases = (await self._about_foil(context.model, case, effect),)
        message = "it was done after all, although it was recorded as not done"
        parts: dict[str, Any] = {
            "state": EffectState.CONFIRMED,
            "result": wire.dumps(answer.result),
            "links": links,
            "cases": cases,
            "contradiction": self._case(context, effect, "contradiction", message, now, money),
        }
        return parts, answer.result

    async def _about_foil(self, model: Model, case: Case, effect: Effect) -> Case:
        """Return the Case with the foil that the effect's system must show, on which the same difference appears."""
        loaded = await self._store.load(effect.run)
        foils = loaded.foils if loaded is not None else ()
        family = model.family(effect.system)
        foil = unsettled_foil(f for f in foils if f.right == family)
        return case if foil is None else msgspec.structs.replace(case, foil=foil.id)

    async def _take_result(
        self, model: Model, effect: Effect, value: Any, result: dict[str, Any], now: datetime
    ) -> MappedAnswer | MappingFailed:
        outbound = model.outbound(effect.operation)
        lookups = Lookups(self._store, model, now)
        returned = await lookups.complete(partial(take_result, outbound, value, result, lookups.answers))
        if isinstance(returned, MappedAnswer) and effect.operation in model.operations:
            schema = model.schema_of_operation(effect.operation, "output")
            if schema.get("properties"):
                return msgspec.structs.replace(returned, result=typed(returned.result, schema))
        return returned

    def _case(
        self,
        context: EffectContext,
        effect: Effect,
        reason: str,
        message: str,
        now: datetime,
        at_stake: tuple[Money, ...],
    ) -> Case:
        return open_case(
            reason,
            id=ids.derive("case", reason, effect.id),
            message=f"{effect.operation}: {message}",
            owners=context.definition.exception_owners or context.definition.owners,
            at=now,
            names={"system": effect.system},
            run=effect.run,
            path=effect.path,
            effect=effect.id,
            exposure=at_stake,
        )


def _differences(model: Model, effect: Effect, value: Any, result: Any) -> tuple[Money, ...]:
    """Return the largest difference of the compared amounts in each currency; of two currencies, both amounts."""
    outbound = model.outbound(effect.operation)
    differences: list[Money] = []
    for field in outbound.compare if outbound is not None and isinstance(value, dict) else ():
        requested, returned = value.get(field), result.get(field) if isinstance(result, dict) else None
        if (
            isinstance(requested, Money)
            and isinstance(returned, Money)
            and requested.currency == returned.currency
        ):
            minor = min(abs(requested.minor - returned.minor), INT64_MAX)
            differences.append(Money(minor, requested.currency))
        elif isinstance(requested, Money):
            differences += [requested, returned] if isinstance(returned, Money) else [requested]
    return largest_amounts(differences)


async def _retry(work: Callable[[], Awaitable[T]]) -> T:
    for wait in RECORD_RETRY_SECONDS:
        try:
            return await work()
        except TryAgain:
            await asyncio.sleep(wait)
    return await work()
