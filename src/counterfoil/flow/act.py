"""act: the outward call of an effect. The intent is committed before a byte leaves, the outcome after.

Also carries what a restarted process finds: a row that says `sending` may have been sent, so it is looked
up, never sent again blindly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from counterfoil.connectors.sdk import (
    Absent,
    Accepted,
    Confirmed,
    Connector,
    Finding,
    Outcome,
    Rejected,
    Request,
    Unknown,
)
from counterfoil.core import ids, wire
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.foil import FoilState
from counterfoil.core.link import Link
from counterfoil.flow.lookups import Lookups
from counterfoil.flow.releases import Releases
from counterfoil.flow.turn import times
from counterfoil.model import Model
from counterfoil.model.definition import Definition, OperationDefinition
from counterfoil.rules.mapping import Failed, Needs, Returned, take_result
from counterfoil.rules.values import typed
from counterfoil.store.store import Conclude, Intent, LookedUp, Resend, Send, Store

FIRST_LOOK = timedelta(seconds=1)
LOOK_CAP = 300.0
CASE_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Context:
    """What an effect is to be judged by: its Run's release, workflow and operation."""

    model: Model
    definition: Definition
    operation: OperationDefinition


class Actor:
    """Sends effects and records what became of them; at most `cap` calls at once to one system."""

    def __init__(
        self, store: Store, releases: Releases, connectors: Mapping[str, Connector], worker: str
    ) -> None:
        self._store = store
        self._releases = releases
        self._connectors = connectors
        self._worker = worker
        self._slots: dict[str, asyncio.Semaphore] = {}

    def _slot(self, system: str) -> asyncio.Semaphore:
        if system not in self._slots:
            kind = self._releases.present.systems.get(system)
            self._slots[system] = asyncio.Semaphore(kind.caps.concurrency if kind is not None else 1)
        return self._slots[system]

    # ------------------------------------------------------------------ sending

    async def send_planned(self, effect: Effect) -> None:
        """Write the intent and make the call, when a slot of its system is free."""
        async with self._slot(effect.system):
            context = await self._context(effect)
            operation = context.operation
            now = await self._store.now()
            send = times(
                effect.id, effect.attempt + 1, self._worker, now, operation.timeout, operation.horizon
            )
            intended = await self._store.apply(Intent(send=send, at=now, actor=f"worker:{self._worker}"))
            if intended.verdict == "sending":
                await self._call(context, effect, send)

    async def send_again(self, effect: Effect) -> None:
        """Make the call of a row that a turn has put to sending (a retry), before its send_by."""
        async with self._slot(effect.system):
            context = await self._context(effect)
            assert effect.send_by is not None
            assert effect.call_until is not None
            assert effect.conclude_at is not None
            send = Send(
                effect=effect.id,
                attempt=effect.attempt,
                worker=self._worker,
                send_by=effect.send_by,
                call_until=effect.call_until,
                conclude_at=effect.conclude_at,
            )
            await self._call(context, effect, send)

    async def _call(self, context: _Context, effect: Effect, send: Send) -> None:
        now = await self._store.now()
        if now >= send.send_by:
            # Nothing left this process: a look-up will say so once the horizon has passed.
            await self._conclude(context, effect, send.attempt, Unknown("not sent in time"), now, "time-out")
            return
        outcome = await self._outcome(effect, context.operation)
        await self._conclude(context, effect, send.attempt, outcome, await self._store.now(), "answer")

    async def _outcome(self, effect: Effect, operation: OperationDefinition) -> Outcome:
        if operation.executor == "external":
            return Accepted("another integration acts; an observation decides")
        connector = self._connectors.get(effect.system)
        if connector is None:
            return Rejected(ErrorClass.UNAUTHORIZED, f"{effect.system} has no connector", "no_connector")
        if not operation.writes:
            return await _read(connector, effect, operation)
        request = Request(operation=effect.operation, key=effect.id, body=effect.request)
        return await connector.send(request, operation.timeout)

    # ------------------------------------------------------------------ outcomes

    async def _conclude(
        self,
        context: _Context,
        effect: Effect,
        attempt: int,
        outcome: Outcome | Absent,
        now: datetime,
        evidence: str,
    ) -> str:
        """Record an outcome; the verdict of the store."""
        parts: dict[str, Any] = {}
        match outcome:
            case Confirmed(result):
                parts = await self._confirmed(context, effect, dict(result), now)
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
                parts = {"state": EffectState.UNKNOWN, "error": message, "look_at": now + FIRST_LOOK}
        concluded = await self._store.apply(
            Conclude(
                effect=effect.id,
                attempt=attempt,
                at=now,
                actor=f"worker:{self._worker}",
                evidence=evidence,
                **parts,
            )
        )
        return concluded.verdict

    async def _confirmed(
        self, context: _Context, effect: Effect, result: dict[str, Any], now: datetime
    ) -> dict[str, Any]:
        returned = await self._returned(context.model, effect, result, now)
        if isinstance(returned, Failed):
            case = self._case(context, effect, "result_unreadable", returned.message, now)
            return {"state": EffectState.CONFIRMED, "result": wire.dumps(result), "cases": (case,)}
        account = Lookups(self._store, context.model, now).account(effect.system)
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
        return {
            "state": EffectState.CONFIRMED,
            "result": wire.dumps(returned.result),
            "links": links,
            "cases": cases,
            "contradiction": contradiction,
        }

    async def _returned(
        self, model: Model, effect: Effect, result: dict[str, Any], now: datetime
    ) -> Returned | Failed:
        outbound = model.outbound(effect.operation)
        value = wire.loads(effect.input)
        lookups = Lookups(self._store, model, now)
        while isinstance(returned := take_result(outbound, value, result, lookups.answers), Needs):
            await lookups.answer(returned.looks)
        if isinstance(returned, Returned) and effect.operation in model.operations:
            schema = model.schema_of_operation(effect.operation, "output")
            if schema.get("properties"):
                return Returned(
                    result=typed(returned.result, schema), links=returned.links, differs=returned.differs
                )
        return returned

    def _case(self, context: _Context, effect: Effect, reason: str, message: str, now: datetime) -> Case:
        owners = context.definition.exception_owners or context.definition.owners
        return Case(
            id=ids.derive("case", reason, effect.id),
            reason=reason,
            message=f"{effect.operation}: {message}"[:4000],
            owner=next(iter(owners), ""),
            deadline=now + CASE_WITHIN,
            next_action=f"Compare {effect.system} with what was asked; correct the side that is wrong",
            choices=(Choice.DISMISS,),
            run=effect.run,
            path=effect.path,
            effect=effect.id,
            created_at=now,
        )

    # ------------------------------------------------------------------ look-ups

    async def overdue(self, effect: Effect, now: datetime) -> None:
        """A call that never came back, or whose process is gone: unknown, to be looked up."""
        context = await self._context(effect)
        await self._conclude(
            context, effect, effect.attempt, Unknown("no outcome was recorded"), now, "time-out"
        )

    async def look_up(self, effect: Effect) -> None:
        """Find out what became of an unknown effect; send again only where the vendor dedupes."""
        context = await self._context(effect)
        operation = context.operation
        now = await self._store.now()
        if effect.state is EffectState.ACCEPTED and await self._observed(effect):
            await self._conclude(context, effect, effect.attempt, Confirmed({}), now, "observation")
            return
        found = await self._find(effect, operation)
        match found:
            case Confirmed():
                await self._conclude(context, effect, effect.attempt, found, now, "look-up")
            case Rejected(error_class) if error_class is ErrorClass.TRANSIENT and operation.writes:
                await self._conclude(context, effect, effect.attempt, found, now, "look-up")
            case Absent() if effect.state is EffectState.ACCEPTED:
                await self._later(effect, now)  # a job may still be on its way: only what is seen decides
            case Absent() if operation.repeat in ("key", "unique", "read"):
                await self._resend(context, effect, now)
            case Absent() if effect.conclude_at is None or now >= effect.conclude_at:
                await self._conclude(context, effect, effect.attempt, found, now, "look-up")
            case _:
                await self._later(effect, now)

    async def _later(self, effect: Effect, now: datetime) -> None:
        await self._store.apply(
            LookedUp(
                effect=effect.id,
                attempt=effect.attempt,
                look_at=now + _look_wait(effect, now),
                at=now,
            )
        )

    async def _observed(self, effect: Effect) -> bool:
        """Has the other half of the effect's counterfoil been seen? That proves that it was done."""
        loaded = await self._store.load(effect.run)
        assert loaded is not None
        return any(f.effect == effect.id and f.state is FoilState.MATCHED for f in loaded.foils)

    async def _find(self, effect: Effect, operation: OperationDefinition) -> Finding:
        connector = self._connectors.get(effect.system)
        if connector is None:
            return Unknown(f"{effect.system} has no connector")
        if operation.executor == "external":
            return Unknown("another integration acts")
        if not operation.writes:
            return Absent()
        request = Request(operation=effect.operation, key=effect.id, body=effect.request)
        async with self._slot(effect.system):
            return await connector.find(request, operation.timeout)

    async def _resend(self, context: _Context, effect: Effect, now: datetime) -> None:
        operation = context.operation
        async with self._slot(effect.system):
            send = times(
                effect.id, effect.attempt + 1, self._worker, now, operation.timeout, operation.horizon
            )
            intended = await self._store.apply(Resend(send=send, at=now, actor=f"worker:{self._worker}"))
            if intended.verdict == "sending":
                await self._call(context, effect, send)

    async def conclude_by_person(self, effect: Effect, done: bool, person: str, now: datetime) -> None:
        """A person looked where no look-up can, and says what became of an unknown effect."""
        context = await self._context(effect)
        outcome: Outcome | Absent = Confirmed({}) if done else Absent()
        await self._conclude(context, effect, effect.attempt, outcome, now, f"person:{person}")

    async def _context(self, effect: Effect) -> _Context:
        loaded = await self._store.load(effect.run)
        assert loaded is not None
        model = await self._releases.model(loaded.run.pin)
        definition = model.workflow(loaded.run.workflow)
        return _Context(model, definition, definition.operations[effect.operation])


def _look_wait(effect: Effect, now: datetime) -> timedelta:
    """Doubling waits; never past the moment at which a look-up may conclude."""
    wait = timedelta(seconds=min(LOOK_CAP, 2.0 ** min(effect.looks, 12)))
    if effect.conclude_at is not None and now < effect.conclude_at:
        return min(wait, effect.conclude_at - now + timedelta(milliseconds=50))
    return wait


async def _read(connector: Connector, effect: Effect, operation: OperationDefinition) -> Outcome:
    """A read as an outcome; reads have no effect, so whatever failed was not done."""
    try:
        result = await connector.read(effect.operation, wire.read_json(effect.request), operation.timeout)
    except TryAgain as error:
        return Rejected(ErrorClass.TRANSIENT, str(error), retry_after=error.after)
    except Refused as error:
        return Rejected(error.error_class, str(error), error.code)
    except Misconfigured as error:
        return Rejected(ErrorClass.UNAUTHORIZED, str(error))
    return Confirmed(result if isinstance(result, dict) else {"items": result})
