"""Time in a proof: the coming deadlines, and what happens when they are due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import msgspec

from counterfoil.core.effect import EffectState
from counterfoil.core.foil import UNFINISHED_FOILS
from counterfoil.core.run import Direction
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.prove.arrivals import PossibleEvents
from counterfoil.prove.observations import Observations, judged
from counterfoil.prove.world import Move, ProofContext, World
from counterfoil.rules.workflow.state import StepState

MAX_TICKS = 40


@dataclass(frozen=True)
class ProofDeadline:
    at: datetime
    fault: str
    """Empty if the time simply comes."""
    what: str
    ends_queue: bool = False
    """True if a queue's time limit ends."""


class Timing:
    """Yields the coming deadlines as moves, and advances the time."""

    def __init__(self, context: ProofContext, arrivals: PossibleEvents, observations: Observations) -> None:
        self.context = context
        self.arrivals = arrivals
        self.observations = observations
        self.steps = {s.path: s for block in blocks_of(context.definition).values() for s in block.steps}

    def deadlines(self, w: World) -> list[ProofDeadline]:
        """Return the future times at which something changes, each with its effect in words."""
        deadlines = []
        for key, st in w.state.steps.items():
            if st.phase == "done":
                continue
            if st.retry_at is not None and st.phase in ("backoff", "queued"):
                deadlines.append(ProofDeadline(st.retry_at, "", f"{_place(key)} is tried again"))
            if st.queue_until is not None and st.phase == "queued":
                text = f"the queue time of {_place(key)} is over"
                deadlines.append(ProofDeadline(st.queue_until, "late", text, ends_queue=True))
            if st.until is not None and st.phase in ("waiting", "planned", "unlinked"):
                deadlines.append(self._until(w, key, st, st.until))
        if not w.state.started and w.state.starts_at is not None:
            deadlines.append(ProofDeadline(w.state.starts_at, "", "the start date of the Run comes"))
        for foil in w.foils if w.run.direction is Direction.FORWARD else ():
            if foil.state in UNFINISHED_FOILS:
                fault = "late" if self.observations.showable(w, foil) else ""
                what = f"{foil.rule} is past due: {foil.right} has not shown it"
                deadlines.append(ProofDeadline(foil.due, fault, what))
        return sorted((f for f in deadlines if f.at > w.now), key=lambda f: f.at)

    def _until(self, w: World, key: str, st: StepState, at: datetime) -> ProofDeadline:
        step = self.steps.get(_path(key))
        if st.outcome == "unknown" or key.startswith("unknown:"):
            return ProofDeadline(at, "timeout", f"{_place(key)}: no look-up finds the outcome in time")
        if isinstance(step, d.Approve):
            return ProofDeadline(at, "timeout", f"no person decides on {_place(key)} in time")
        if isinstance(step, d.Wait) and step.event is not None:
            fault = "timeout" if self.arrivals.matching_data(w, step) is not None else ""
            return ProofDeadline(at, fault, f"no {step.event} has arrived: the time of {_place(key)} is over")
        if isinstance(step, d.Wait) and step.foils is not None:
            open_ = [f for f in w.foils if f.state in UNFINISHED_FOILS]
            fault = "timeout" if any(self.observations.showable(w, f) for f in open_) else ""
            return ProofDeadline(
                at, fault, f"counterfoils are not settled: the time of {_place(key)} is over"
            )
        return ProofDeadline(at, "", f"the time of {_place(key)} has come")

    def of(self, w: World) -> Iterator[Move]:
        deadlines = self.deadlines(w)
        if not deadlines:
            return
        first = deadlines[0]
        yield Move(first.fault, "time", first.what, partial(self.tick, w, first.at))
        for later in deadlines[1:]:
            if later.fault and later.at > first.at and self._passable(deadlines, later):
                yield Move(later.fault, "time", later.what, partial(self.tick, w, later.at))

    @staticmethod
    def _passable(deadlines: list[ProofDeadline], target: ProofDeadline) -> bool:
        """Return True if the earlier deadlines can pass before the target: only faults and retries in a queue can."""
        before = [x for x in deadlines if x.at < target.at]
        return all(x.fault for x in before) or target.ends_queue

    def tick(self, w: World, until: datetime) -> World:
        """Advance the time to `until`; everything due on the way happens in order. Stops when a call is planned."""
        in_queue = any(x.ends_queue and x.at == until for x in self.deadlines(w))
        for _ in range(MAX_TICKS):
            coming = [x.at for x in self.deadlines(w) if x.at <= until and not (in_queue and not x.fault)]
            w = msgspec.structs.replace(w, now=min(coming, default=until))
            for foil in w.foils:
                if foil.state in UNFINISHED_FOILS and foil.due <= w.now:
                    w = judged(w, foil, ())
            w = self.context.turn(w)
            if w.over or w.now >= until or any(e.state is EffectState.PLANNED for e in w.effects):
                return w
        return w


def _path(key: str) -> str:
    return key.partition("~")[0].partition("[")[0].removeprefix("undo:")


def _place(key: str) -> str:
    return key.replace("~", " round ") if not key.startswith("unknown:") else "the call"
