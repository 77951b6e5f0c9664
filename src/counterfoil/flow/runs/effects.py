"""act: the outward call of an effect. The intent is committed before a byte leaves, the outcome after.

Also carries what a restarted process finds: a row that says `sending` may have been sent, so it is looked
up, never sent again blindly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from counterfoil.connectors.sdk import (
    Absent,
    Accepted,
    Confirmed,
    Connector,
    Finding,
    OperationSpec,
    Outcome,
    Rejected,
    Repeat,
    Request,
    Unknown,
)
from counterfoil.contracts.versions import known_as
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass, TryAgain
from counterfoil.core.foil import FoilState
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch import read
from counterfoil.flow.dispatch.batching import LimiterSlotRequest, RequestBatcher
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot
from counterfoil.flow.runs import scope
from counterfoil.flow.runs.outcomes import LOOK_CAP, NOT_SENT, EffectContext, OutcomeRecorder
from counterfoil.flow.runs.turn_rows import MAX_SEND_DELAY_SECONDS, next_send
from counterfoil.model import Model
from counterfoil.model.definition import OperationDefinition
from counterfoil.store.port.effects import Conclude, Intent, LookedUp, Resend, Send
from counterfoil.store.port.store import (
    Store,
)

T = TypeVar("T")

TELL_AGAIN = (0.1, 0.3, 1.0, 3.0, 6.0, *(10.0,) * 5)
"""Seconds between tries to record what a call has brought: a minute in all, as a primary's replacement may take."""


class EffectSender:
    """Sends effects and records what became of them; every call takes its slot at the gate."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        worker: str,
        gate: ConcurrencyLimiter,
        steady: JumpDetector | None = None,
    ) -> None:
        self._store = store
        self._releases = releases
        self._connectors = connectors
        self._worker = worker
        self._gate = gate
        self.steady = steady or JumpDetector(_longest(releases.present))
        """Whether the clock can be believed where it says that a horizon has passed."""
        self._witness = OutcomeRecorder(store, worker)
        self._bulk = RequestBatcher(store.now)
        self._seats: dict[tuple[str, str], asyncio.Semaphore] = {}

    def take_up(self, model: Model) -> None:
        """After a jump of the clock the longest horizon of any Release that is gone by is waited for."""
        self.steady.settle = max(self.steady.settle, _longest(model))

    # ------------------------------------------------------------------ sending

    def gathers(self, system: str, operation: str) -> bool:
        """Whether calls of this operation go together where that is possible."""
        return self._spec(system, operation).bulk > 1

    def _spec(self, system: str, operation: str) -> OperationSpec:
        connector = self._connectors.get(system)
        if connector is None:
            return OperationSpec(operation, Repeat.BLIND)
        name = known_as(operation, connector.operations)
        return connector.operations.get(name) or OperationSpec(operation, Repeat.BLIND)

    def _times(self, context: EffectContext, effect: Effect, now: datetime) -> Send:
        """The next attempt's."""
        operation = context.operation
        return next_send(
            effect.id, effect.attempt + 1, self._worker, now, operation.timeout, operation.horizon
        )

    async def send(self, context: EffectContext, effect: Effect) -> tuple[Send, Outcome] | None:
        """Wait for a slot of its system, commit the intent of a planned effect, make the call. None when it is not
        to be sent (any more). Raises Closed when this worker is being stopped: another one sends it."""
        again = effect.attempt > 0
        lane = Lane(max(effect.lane, Lane.RETRY) if again else effect.lane)
        if self.gathers(effect.system, effect.operation):
            return await self._ride(
                context, effect, LimiterSlotRequest(self._gate, effect.system, lane, again)
            )
        ticket = await self._gate.enter(effect.system, lane, again)
        outcome: Outcome | None = None
        try:
            send = await self._intend(context, effect)
            if send is not None:
                outcome = await self.call(context, effect, send, ticket)
        finally:
            self.leave(ticket, outcome)
        return None if send is None or outcome is None else (send, outcome)

    async def _ride(
        self, context: EffectContext, effect: Effect, slot: LimiterSlotRequest
    ) -> tuple[Send, Outcome] | None:
        """The same along with others of its operation. Intents are not written long before there is a place."""
        spec = self._spec(effect.system, effect.operation)
        seats = self._seats.setdefault((effect.system, effect.operation), asyncio.Semaphore(2 * spec.bulk))
        async with seats:
            send = await self._intend(context, effect)
            if send is None:
                return None
            outcome = await self._bulk.send(
                effect.system,
                self._connectors[effect.system],
                spec,
                _request(self._connectors[effect.system], effect),
                context.operation.timeout,
                send.send_by,
                slot,
            )
            return send, outcome

    async def _intend(self, context: EffectContext, effect: Effect) -> Send | None:
        now = await self._store.now()
        send = self._times(context, effect, now)
        intended = await self._store.apply(Intent(send=send, at=now, actor=f"worker:{self._worker}"))
        return send if intended.verdict == "sending" else None

    async def send_planned(self, effect: Effect) -> None:
        """Make the call of a planned effect, and record what became of it."""
        context = await self.context(effect)
        sent = await self.send(context, effect)
        if sent is not None:
            await self._record(context, effect, sent[0].attempt, sent[1], "answer")

    async def call(self, context: EffectContext, effect: Effect, send: Send, ticket: Slot) -> Outcome:
        """Make the call of a committed intent, once, in a slot that the caller gives back."""
        # A process may be stopped between the reading of a clock and its use, so the time since the question is
        # added, and nothing is awaited between this look and the first byte.
        loop = asyncio.get_running_loop()
        asked = loop.time()
        now = await self._store.now()
        late = now + timedelta(seconds=loop.time() - asked) >= send.send_by
        if late or not self._gate.holds(ticket):
            # Nothing left this process: a look-up will say so once the horizon has passed.
            return NOT_SENT
        return await self._outcome(effect, context.operation)

    def leave(self, ticket: Slot, outcome: Outcome | None) -> None:
        """Give a call's slot back. What was not sent tells nothing of the system."""
        self._gate.leave(ticket, None if outcome is NOT_SENT else outcome)

    async def _outcome(self, effect: Effect, operation: OperationDefinition) -> Outcome:
        if operation.executor == "external":
            return Accepted("another integration acts; an observation decides")
        connector = self._connectors.get(effect.system)
        if connector is None:
            return Rejected(ErrorClass.UNAUTHORIZED, f"{effect.system} has no connector", "no_connector")
        if not operation.writes:
            return await read.read(connector, effect.operation, effect.request, operation.timeout)
        request = _request(connector, effect)
        return await connector.send(request, operation.timeout)

    # ------------------------------------------------------------------ outcomes

    async def _record(
        self, context: EffectContext, effect: Effect, attempt: int, outcome: Outcome | Absent, evidence: str
    ) -> str:
        """Record an outcome; the verdict of the store."""
        conclude, _ = await self.evidence(context, effect, attempt, outcome, evidence)
        return await self.tell(conclude)

    async def tell(self, conclude: Conclude) -> str:
        """Record evidence; twice is once. What cannot be told at all is found by look-ups, or by a person."""
        return (await _insist(lambda: self._store.apply(conclude))).verdict

    async def evidence(
        self, context: EffectContext, effect: Effect, attempt: int, outcome: Outcome | Absent, evidence: str
    ) -> tuple[Conclude, Any]:
        """An outcome as a transition, and the value of its result."""
        return await _insist(lambda: self._witness.conclude(context, effect, attempt, outcome, evidence))

    # ------------------------------------------------------------------ look-ups

    async def overdue(self, effect: Effect) -> None:
        """A call that never came back, or whose process is gone: unknown, to be looked up."""
        context = await self.context(effect)
        outcome = Unknown("no outcome was recorded")
        await self._record(context, effect, effect.attempt, outcome, "time-out")

    async def look_up(self, effect: Effect) -> None:
        """Find out what became of an unknown effect; send again only where the vendor dedupes."""
        context = await self.context(effect)
        operation = context.operation
        if effect.state is EffectState.ACCEPTED and await self._observed(effect):
            await self._record(context, effect, effect.attempt, Confirmed({}), "observation")
            return
        now = await self._store.now()
        found = await self._find(effect, operation)
        match found:
            case Confirmed():
                await self._record(context, effect, effect.attempt, found, "look-up")
            case Rejected(error_class) if error_class is ErrorClass.TRANSIENT and operation.writes:
                await self._record(context, effect, effect.attempt, found, "look-up")
            case Absent() if effect.state is EffectState.ACCEPTED:
                await self._later(effect, now)  # a job may still be on its way: only what is seen decides
            case Absent():
                if _recognised(effect, operation, now) and await self._resend(context, effect):
                    return
                if self._final(effect, now):
                    await self._record(context, effect, effect.attempt, found, "look-up")
                else:
                    await self._later(effect, now)
            case _:
                await self._later(effect, now)

    def _final(self, effect: Effect, now: datetime) -> bool:
        """Whether what a look-up that began at `now` did not find can never be there any more."""
        return self.steady.is_reliable(now) and (effect.conclude_at is None or now >= effect.conclude_at)

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
        request = _request(connector, effect)
        ticket = await self._gate.enter(effect.system, Lane(effect.lane))
        found: Finding | None = None
        try:
            found = await connector.find(request, operation.timeout)
        finally:
            # "Begun, not finished" is an answer, and no failure of the system.
            self._gate.leave(ticket, Absent() if isinstance(found, Rejected) else found)
        return found

    async def _resend(self, context: EffectContext, effect: Effect) -> bool:
        """The same bytes under the same key. False when an approval that it rests on does not hold any more."""
        ticket = await self._gate.enter(effect.system, Lane(max(effect.lane, Lane.RETRY)), retry=True)
        outcome: Outcome | None = None
        try:
            now = await self._store.now()
            send = self._times(context, effect, now)
            intended = await self._store.apply(Resend(send=send, at=now, actor=f"worker:{self._worker}"))
            if intended.verdict == "sending":
                outcome = await self.call(context, effect, send, ticket)
        finally:
            self.leave(ticket, outcome)
        if outcome is not None:
            await self._record(context, effect, send.attempt, outcome, "answer")
        return intended.verdict != "stale"

    async def word_of(self, effect: Effect, done: bool, person: str) -> Conclude:
        """A person looked where no look-up can, and says what became of an unknown effect."""
        context = await self.context(effect)
        outcome: Outcome | Absent = Confirmed({}) if done else Absent()
        conclude, _ = await self.evidence(context, effect, effect.attempt, outcome, f"person:{person}")
        return conclude

    async def context(self, effect: Effect) -> EffectContext:
        """Read from the store: for an effect whose Run is not at hand."""
        loaded = await self._store.load(effect.run)
        assert loaded is not None
        run = loaded.run
        model = scope.model_of(run, await self._releases.model(run.pin))
        definition = model.workflow(run.workflow)
        return EffectContext(model, definition, definition.operations[effect.operation])


async def _insist(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, and again while the store is away: an answer that is forgotten costs a look-up, or a person."""
    for wait in TELL_AGAIN:
        try:
            return await work()
        except TryAgain:
            await asyncio.sleep(wait)
    return await work()


def _recognised(effect: Effect, operation: OperationDefinition, now: datetime) -> bool:
    """Whether the same call again would do nothing twice: a vendor knows a key for its `retention` only, from its first
    arrival on. When that was nobody knows who had no answer, but it was not before the effect was planned."""
    if operation.repeat == "key":
        arrives_by = now + timedelta(seconds=operation.timeout + MAX_SEND_DELAY_SECONDS)
        return arrives_by <= effect.created_at + timedelta(seconds=operation.retention)
    return operation.repeat in ("unique", "read")


def _look_wait(effect: Effect, now: datetime) -> timedelta:
    """Doubling waits; never past the moment at which a look-up may conclude."""
    wait = timedelta(seconds=min(LOOK_CAP, 2.0 ** min(effect.looks, 12)))
    if effect.conclude_at is not None and now < effect.conclude_at:
        return min(wait, effect.conclude_at - now + timedelta(milliseconds=50))
    return wait


def _request(connector: Connector, effect: Effect) -> Request:
    return Request(
        operation=known_as(effect.operation, connector.operations), key=effect.id, body=effect.request
    )


def _longest(model: Model) -> float:
    """Seconds after which no request that was under way can take effect any more, whatever operation it is of."""
    spans = [
        o.horizon + 2 * o.timeout
        for name in model.workflows
        for o in model.workflow(name).operations.values()
    ]
    return max(spans, default=0.0)
