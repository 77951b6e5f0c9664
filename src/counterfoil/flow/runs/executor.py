"""carry: one worker goes on with a Run from turn to turn for as long as it alone has something to tell it.

A turn is committed with the intent of its call; the call is made; its outcome and the next turn are one commit.
Whatever comes between (another stimulus, another worker, a guard) is found by the store's guards, and the Run is
left to whoever claims it next: carrying saves reads and commits and guards nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec

from counterfoil.connectors.sdk import Outcome
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import TryAgain
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot
from counterfoil.flow.runs import snapshot as known_
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.runs.turn import MAX_ROUNDS, PlannedTurn, TurnPlanner
from counterfoil.store.port.store import Store
from counterfoil.store.port.transitions import Advance, Conclude, Send, Turn, Turned

Begin = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], bool]
"""Start work on something beside this; False when somebody here works on it already."""


class _Call(NamedTuple):
    """A call whose intent is committed and whose slot is in hand."""

    effect: Effect
    send: Send
    ticket: Slot


class _Sent(NamedTuple):
    effect: Effect
    send: Send
    outcome: Outcome


class RunExecutor:
    """Carries Runs. Calls beside the one that a Run waits for are begun by `begin`."""

    def __init__(
        self, store: Store, turner: TurnPlanner, actor: EffectSender, gate: ConcurrencyLimiter, begin: Begin
    ) -> None:
        self._store = store
        self._turner = turner
        self._actor = actor
        self._gate = gate
        self._begin = begin
        self.calling = 0
        """Runs carried here whose call is under way: they cost nothing but memory."""

    async def claimed(self, run: str, now: datetime) -> None:
        """Go on with a Run that was claimed."""
        held = await self._store.load(run)
        if held is not None:
            await self.carry(known_.loaded(held), now)

    async def carry(self, known: RunSnapshot, now: datetime) -> None:
        """Turn the Run; make its call; turn it with the outcome; until it waits, or somebody else goes on."""
        told: Conclude | None = None
        refused = 0
        while True:
            taken: list[Slot] = []
            try:
                proposal = await self._turner.propose(known, now, partial(self._slot, taken), told)
            except Exception:
                for ticket in taken:
                    self._gate.leave(ticket, None)
                if told is not None:
                    await self._actor.tell(told)
                raise
            if told is not None and (proposal.transition.reserve or proposal.transition.release):
                # A turn that touches guards may be refused and taken back whole; evidence may not.
                self._give_back(proposal, ())
                await self._actor.tell(told)
                known, told = await self._again(known), None
                continue
            turned = await self._commit(proposal, told)
            if turned.verdict == "limited" and refused < MAX_ROUNDS:
                refused += 1
                known, now = await self._again(known), max(now, await self._store.now())
                continue
            if turned.verdict != "done":
                return
            after = known_.turned(known, proposal.transition, turned, proposal.after)
            calls = self._calls(known, proposal, turned)
            waiting = self._waiting(known, proposal.transition, turned)
            if after is None or len(calls) + len(waiting) != 1:
                self._beside(known, calls, waiting)
                return
            sent = await (self._sent(after, waiting[0]) if waiting else self._called(after, calls[0]))
            if sent is None:
                return
            effect, send, outcome = sent
            if waiting:
                after = known_.sent(after, send)
            context = await self._actor.context_in(known.run, effect.operation)
            told, result = await self._actor.evidence(context, effect, send.attempt, outcome, "answer")
            known, now = known_.told(after, told, result), max(now, told.at)

    async def _again(self, known: RunSnapshot) -> RunSnapshot:
        held = await self._store.load(known.run.id)
        assert held is not None
        return known_.loaded(held)

    def _slot(self, taken: list[Slot], system: str, operation: str, lane: int, retry: bool) -> Slot | None:
        if self._actor.gathers(system, operation):
            return None
        ticket = self._gate.try_enter(system, Lane(lane), retry)
        taken += [] if ticket is None else [ticket]
        return ticket

    async def _commit(self, proposal: PlannedTurn, told: Conclude | None) -> Turned:
        """Commit the turn, with the outcome that it rests on; slots of calls that did not start are free again."""
        turned = Turned(verdict="stale")
        try:
            if told is None:
                turned = await self._store.apply(proposal.transition)
            else:
                turned = await self._told(told, proposal)
        finally:
            self._give_back(proposal, turned.started)
        return turned

    async def _told(self, told: Conclude, proposal: PlannedTurn) -> Turned:
        try:
            return (await self._store.apply(Advance(conclude=told, turn=proposal.transition))).turned
        except TryAgain:
            await self._actor.tell(told)
            return Turned(verdict="stale")
        except Exception:
            # Whatever is wrong with the turn, what the other system did is not forgotten for it.
            await self._actor.tell(told)
            raise

    def _give_back(self, proposal: PlannedTurn, started: tuple[str, ...]) -> None:
        for effect, ticket in proposal.tickets.items():
            if effect not in started:
                self._gate.leave(ticket, None)

    def _calls(self, known: RunSnapshot, proposal: PlannedTurn, turned: Turned) -> list[_Call]:
        """The calls that the turn started: effects as they were before, with their intents and slots."""
        effects = {e.id: e for e in (*known.effects, *proposal.transition.plan)}
        return [
            _Call(effects[s.effect], s, proposal.tickets[s.effect])
            for s in proposal.transition.send
            if s.effect in turned.started
        ]

    def _waiting(self, known: RunSnapshot, turn: Turn, turned: Turned) -> list[Effect]:
        """Calls that the turn planned and that have no slot yet."""
        again = [
            msgspec.structs.replace(e, state=EffectState.PLANNED) for e in known.effects if e.id in turn.again
        ]
        return [e for e in (*turn.plan, *again) if e.id not in turned.started]

    async def _sent(self, known: RunSnapshot, effect: Effect) -> _Sent | None:
        """A call that waits for its slot. None when another worker or an approval was in the way."""
        self.calling += 1
        try:
            context = await self._actor.context_in(known.run, effect.operation)
            sent = await self._actor.send(context, effect)
        finally:
            self.calling -= 1
        return None if sent is None else _Sent(effect, *sent)

    async def _called(self, known: RunSnapshot, call: _Call) -> _Sent:
        """Make the call in its slot; what became of it."""
        outcome = None
        self.calling += 1
        try:
            context = await self._actor.context_in(known.run, call.effect.operation)
            outcome = await self._actor.call(context, call.effect, call.send, call.ticket)
        finally:
            self.calling -= 1
            self._actor.leave(call.ticket, outcome)
        return _Sent(call.effect, call.send, outcome)

    def _beside(self, known: RunSnapshot, calls: list[_Call], waiting: list[Effect]) -> None:
        """Several calls at once, or a Run that others have told something: each call by itself."""

        async def one(call: _Call) -> None:
            effect, send, outcome = await self._called(known, call)
            context = await self._actor.context_in(known.run, effect.operation)
            told, _ = await self._actor.evidence(context, effect, send.attempt, outcome, "answer")
            await self._actor.tell(told)

        for call in calls:
            if not self._begin(f"effect:{call.effect.id}", partial(one, call)):
                self._gate.leave(call.ticket, None)
        for effect in waiting:
            self._begin(f"effect:{effect.id}", partial(self._actor.send_planned, effect))
