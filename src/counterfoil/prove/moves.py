"""The possible next moves of a World: answers of systems, decisions of persons, events, time, and their faults.

A move that goes wrong is a fault and costs one of the budget. While a call is in progress, only its outcome and events
are moves: anything else has the same effect after the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import EffectState
from counterfoil.core.money import Money
from counterfoil.core.run import Direction
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.prove.arrivals import PossibleEvents
from counterfoil.prove.observations import Observations
from counterfoil.prove.outcomes import PossibleOutcomes
from counterfoil.prove.persons import PossibleDecisions
from counterfoil.prove.timing import Timing
from counterfoil.prove.world import Move, ProofContext, World


class Moves:
    """Yields the moves of one workflow. `ends`: the workflow's own invariants also check ended Runs."""

    def __init__(self, context: ProofContext, ends: bool = False) -> None:
        self.context = context
        self.definition = context.definition
        self.arrivals = PossibleEvents(context)
        self.observations = Observations(context)
        self.timing = Timing(context, self.arrivals, self.observations)
        self.outcomes = PossibleOutcomes(context, self.timing)
        self.observations.confirm = partial(self.outcomes.confirm, now=True)
        self.persons = PossibleDecisions(context, self.outcomes, self.observations, ends)
        steps = (step for block in blocks_of(self.definition).values() for step in block.steps)
        self._posting = any(isinstance(s, d.Call) and s.posting is not None for s in steps)

    def of(self, w: World, faulty: bool = True) -> Iterator[Move]:
        """Yield the moves of a World. Without `faulty`, the only faults are missed deadlines."""
        if w.over:
            return
        planned = next((e for e in w.effects if e.state is EffectState.PLANNED), None)
        if planned is not None:
            yield from self.outcomes.sent(w, planned, faulty)
            yield from self.arrivals.of(w, faulty)
            return
        unknown = [e for e in w.effects if e.state is EffectState.UNKNOWN]
        for effect in unknown:
            yield from self.outcomes.looked_up(w, effect, faulty)
        for case in w.cases:
            if case.foil is not None and w.run.direction is Direction.UNDO:
                continue  # a counterfoil of a call that is being undone
            yield from self.persons.decide(w, case)
        for approval in w.approvals:
            if approval.state is ApprovalState.OPEN:
                yield from self.persons.vote(w, approval)
        if not unknown and w.run.direction is Direction.FORWARD:
            yield from self.arrivals.of(w, faulty)
            yield from self.observations.of(w, self.timing.deadlines(w), faulty)
            yield from self._changed(w, faulty)
        yield from self.timing.of(w)

    def _changed(self, w: World, faulty: bool) -> Iterator[Move]:
        if faulty and self._posting and not w.closed and not w.state.confirmed:
            yield Move("late", "outside", "the current period is locked", partial(self._lock, w, True), False)
        if self._posting and w.closed:
            yield Move("", "outside", "the current period is opened again", partial(self._lock, w, False))
        if not faulty or w.state.confirmed or not w.state.started:
            return
        for fact in self.definition.facts:
            state = w.heads.get(fact.target)
            if fact.recheck and fact.source == "head" and state is not None and w.changed < 2:
                other = {k: _smaller(v) for k, v in state.items()}
                if other != state:
                    yield Move(
                        "stale", "outside", f"{fact.target} changes: its amounts are halved",
                        partial(_change, w, fact.target, other),
                        False,
                    )  # fmt: skip

    def _lock(self, w: World, closed: bool) -> World:
        w = msgspec.structs.replace(w, closed=closed)
        topics = {st.topic for st in w.state.steps.values() if st.phase == "queued" and st.topic}
        events = [
            ("event", f"{t}#{len(w.arrived)}", self.arrivals.body(t, {}, len(w.arrived)))
            for t in sorted(topics)
        ]
        return w if closed else self.context.turn(w, *events)


def _change(w: World, object_: str, state: dict[str, Any]) -> World:
    return msgspec.structs.replace(w, heads={**w.heads, object_: state}, changed=w.changed + 1)


def _smaller(value: Any) -> Any:
    return Money(value.minor // 2, value.currency) if isinstance(value, Money) else value
