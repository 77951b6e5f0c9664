"""Executes a Run's turns and calls back to back while no other writer appends to its inbox.

A turn is committed together with the intent of its call. The outcome of the call and the next turn are one commit.
The store's guards detect another writer; the Run is then left to the worker that claims it next. This saves reads and
commits, and guards nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from counterfoil.connectors.sdk import Outcome
from counterfoil.core.effect import Effect, planned_again
from counterfoil.core.errors import TryAgain
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.outcomes import EffectContext, OutcomeRecorder
from counterfoil.flow.runs.snapshot import RunSnapshot, after_intent, after_outcome, after_turn, from_rows
from counterfoil.flow.runs.turn import MAX_ROUNDS, PlannedTurn, TurnPlanner
from counterfoil.store.port.effects import Conclude, SendAttempt
from counterfoil.store.port.store import Store
from counterfoil.store.port.turns import ConcludeAndTurn, Turn, TurnResult

Begin = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], bool]
"""Starts a task under a key. False if a task of this worker runs under that key already."""


class _Call(NamedTuple):
    """A call whose intent is committed and that has its slot."""

    effect: Effect
    context: EffectContext
    send: SendAttempt
    slot: Slot


class _CallOutcome(NamedTuple):
    effect: Effect
    context: EffectContext
    send: SendAttempt
    outcome: Outcome


class RunExecutor:
    """Executes Runs. `begin` starts the calls that run in parallel to a Run's own."""

    def __init__(
        self,
        store: Store,
        planner: TurnPlanner,
        sender: EffectSender,
        recorder: OutcomeRecorder,
        limiter: ConcurrencyLimiter,
        begin: Begin,
    ) -> None:
        self._store, self._limiter = store, limiter
        self._planner, self._sender, self._recorder = planner, sender, recorder
        self._begin = begin
        self.calling = 0
        """Runs executed here whose call is in progress: they cost only memory."""

    async def execute_claimed(self, run: str, now: datetime) -> None:
        """Execute a Run that this worker has claimed."""
        rows = await self._store.load(run)
        if rows is not None:
            await self.execute(from_rows(rows), now)

    async def execute(self, snapshot: RunSnapshot, now: datetime) -> None:
        """Turn the Run, make its call, turn it with the outcome; until it waits, or another writer is found."""
        outcome: Conclude | None = None
        refusals = 0
        while True:
            planned = await self._plan(snapshot, now, outcome)
            if outcome is not None and (planned.transition.reserve or planned.transition.release):
                # A turn that touches guards may be refused as a whole; evidence may not be refused with it.
                self._free(planned, ())
                await self._recorder.commit(outcome)
                snapshot, outcome = await self._reload(snapshot), None
                continue
            turned = await self._commit(planned, outcome)
            if turned.verdict == "limited" and refusals < MAX_ROUNDS:
                refusals += 1
                snapshot, now = await self._reload(snapshot), max(now, await self._store.now())
                continue
            if turned.verdict != "done":
                return
            after = after_turn(snapshot, planned.transition, turned, planned.state, planned.scope)
            calls = self._calls(snapshot, planned, turned)
            waiting = self._waiting(snapshot, planned.transition, turned)
            if after is None or len(calls) + len(waiting) != 1:
                self._start_all(calls, waiting)
                return
            if waiting:
                sent = await self._send(planned, waiting[0])
                if sent is None:
                    return
                after = after_intent(after, sent.send)
            else:
                sent = await self._call(calls[0])
            outcome, result = await self._evidence(sent)
            snapshot, now = after_outcome(after, outcome, result), max(now, outcome.at)

    async def _plan(self, snapshot: RunSnapshot, now: datetime, outcome: Conclude | None) -> PlannedTurn:
        """Plan the next turn. If planning fails, slots are freed and the outcome is recorded on its own."""
        slots: list[Slot] = []
        try:
            return await self._planner.propose(snapshot, now, partial(self._slot, slots), outcome)
        except Exception:
            for slot in slots:
                self._limiter.leave(slot, None)
            if outcome is not None:
                await self._recorder.commit(outcome)
            raise

    async def _reload(self, snapshot: RunSnapshot) -> RunSnapshot:
        rows = await self._store.load(snapshot.run.id)
        assert rows is not None
        return from_rows(rows)

    def _slot(self, slots: list[Slot], system: str, operation: str, lane: int, retry: bool) -> Slot | None:
        if self._sender.is_batched(system, operation):
            return None
        slot = self._limiter.try_enter(system, Lane(lane), retry)
        slots += [] if slot is None else [slot]
        return slot

    async def _commit(self, planned: PlannedTurn, outcome: Conclude | None) -> TurnResult:
        """Commit the turn with the outcome that it rests on; free the slots of calls that did not start."""
        turned = TurnResult(verdict="stale")
        try:
            if outcome is None:
                turned = await self._store.apply(planned.transition)
            else:
                turned = await self._advance(outcome, planned)
        finally:
            self._free(planned, turned.started)
        return turned

    async def _advance(self, outcome: Conclude, planned: PlannedTurn) -> TurnResult:
        try:
            both = ConcludeAndTurn(conclude=outcome, turn=planned.transition)
            return (await self._store.apply(both)).turned
        except TryAgain:
            await self._recorder.commit(outcome)
            return TurnResult(verdict="stale")
        except Exception:
            # Whatever is wrong with the turn: the outcome in the other system must not be lost.
            await self._recorder.commit(outcome)
            raise

    def _free(self, planned: PlannedTurn, started: tuple[str, ...]) -> None:
        for effect, slot in planned.slots.items():
            if effect not in started:
                self._limiter.leave(slot, None)

    def _calls(self, snapshot: RunSnapshot, planned: PlannedTurn, turned: TurnResult) -> list[_Call]:
        """Return the calls that the turn started: effects as before the turn, with their intents and slots."""
        effects = {e.id: e for e in (*snapshot.effects, *planned.transition.plan)}
        return [
            _Call(effect, planned.context(effect.operation), send, planned.slots[effect.id])
            for send in planned.transition.send
            if send.effect in turned.started and (effect := effects[send.effect])
        ]

    def _waiting(self, snapshot: RunSnapshot, turn: Turn, turned: TurnResult) -> list[Effect]:
        """Return the calls that the turn planned and that have no slot yet."""
        again = [planned_again(e) for e in snapshot.effects if e.id in turn.again]
        return [e for e in (*turn.plan, *again) if e.id not in turned.started]

    async def _send(self, planned: PlannedTurn, effect: Effect) -> _CallOutcome | None:
        """Wait for a slot and make the call. None if another worker sends it, or an approval is not valid."""
        context = planned.context(effect.operation)
        self.calling += 1
        try:
            sent = await self._sender.send(context, effect)
        finally:
            self.calling -= 1
        return None if sent is None else _CallOutcome(effect, context, *sent)

    async def _call(self, call: _Call) -> _CallOutcome:
        outcome = None
        self.calling += 1
        try:
            outcome = await self._sender.call(call.context, call.effect, call.send, call.slot)
        finally:
            self.calling -= 1
            self._sender.leave(call.slot, outcome)
        return _CallOutcome(call.effect, call.context, call.send, outcome)

    async def _evidence(self, sent: _CallOutcome) -> tuple[Conclude, Any]:
        attempt = sent.send.attempt
        return await self._recorder.conclude(sent.context, sent.effect, attempt, sent.outcome, "answer")

    def _start_all(self, calls: list[_Call], waiting: list[Effect]) -> None:
        """Start each call as a task of its own: several at once, or of a Run with new stimuli."""

        async def call_and_record(call: _Call) -> None:
            outcome, _ = await self._evidence(await self._call(call))
            await self._recorder.commit(outcome)

        for call in calls:
            if not self._begin(f"effect:{call.effect.id}", partial(call_and_record, call)):
                self._limiter.leave(call.slot, None)
        for effect in waiting:
            self._begin(f"effect:{effect.id}", partial(self._sender.send_planned, effect))
