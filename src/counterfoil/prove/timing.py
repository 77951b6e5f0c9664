"""Time in a proof: the moments that are to come, and what happens when they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import msgspec

from counterfoil.core.effect import EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.run import Direction
from counterfoil.model import definition as d
from counterfoil.prove.arrivals import Arrivals
from counterfoil.prove.move import Move
from counterfoil.prove.observations import Observations, moved
from counterfoil.prove.world import ProofContext, World
from counterfoil.rules.workflow.context import blocks_of
from counterfoil.rules.workflow.state import StepState

MOST_TICKS = 40


@dataclass(frozen=True)
class NextMoment:
    at: datetime
    fault: str
    """Empty where the moment simply comes."""
    what: str


class Timing:
    """Tells of moments and lets them come."""

    def __init__(self, company: ProofContext, arrivals: Arrivals, shown: Observations) -> None:
        self.company = company
        self.arrivals = arrivals
        self.shown = shown
        self.steps = {s.path: s for block in blocks_of(company.definition).values() for s in block.steps}

    def deadlines(self, w: World) -> list[NextMoment]:
        """Every moment that is to come and changes something, with what it means that it comes."""
        found = []
        for key, st in w.state.steps.items():
            if st.phase == "done":
                continue
            if st.retry_at is not None and st.phase in ("backoff", "queued"):
                found.append(NextMoment(st.retry_at, "", f"{_place(key)} is tried again"))
            if st.queue_until is not None and st.phase == "queued":
                found.append(
                    NextMoment(st.queue_until, "late", f"{_place(key)} has queued for as long as it may")
                )
            if st.until is not None and st.phase in ("waiting", "planned", "unlinked"):
                found.append(self._until(w, key, st, st.until))
        if not w.state.started and w.state.starts_at is not None:
            found.append(NextMoment(w.state.starts_at, "", "the date comes on which the Run begins"))
        for foil in w.foils if w.run.direction is Direction.FORWARD else ():
            if foil.state in (FoilState.OPEN, FoilState.PARTLY):
                fault = "late" if self.shown.showable(w, foil) else ""
                what = f"{foil.rule} is past due: {foil.right} has not shown it"
                found.append(NextMoment(foil.due, fault, what))
        return sorted((f for f in found if f.at > w.now), key=lambda f: f.at)

    def _until(self, w: World, key: str, st: StepState, at: datetime) -> NextMoment:
        step = self.steps.get(_path(key))
        if st.outcome == "unknown" or key.startswith("unknown:"):
            return NextMoment(at, "timeout", f"{_place(key)}: no look-up can tell in time")
        if isinstance(step, d.Approve):
            return NextMoment(at, "timeout", f"nobody decides on {_place(key)} in time")
        if isinstance(step, d.Wait) and step.event is not None:
            fault = "timeout" if self.arrivals.fitting(w, step) is not None else ""
            return NextMoment(at, fault, f"no {step.event} has come: the time of {_place(key)} is over")
        if isinstance(step, d.Wait) and step.foils is not None:
            open_ = [f for f in w.foils if f.state in (FoilState.OPEN, FoilState.PARTLY)]
            fault = "timeout" if any(self.shown.showable(w, f) for f in open_) else ""
            return NextMoment(at, fault, f"counterfoils are not settled: the time of {_place(key)} is over")
        return NextMoment(at, "", f"the time of {_place(key)} has come")

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
    def _passable(deadlines: list[NextMoment], target: NextMoment) -> bool:
        """Nothing that simply comes is passed by, but tries that are made in vain while an obstacle lasts."""
        before = [x for x in deadlines if x.at < target.at]
        return all(x.fault for x in before) or "queued" in target.what

    def tick(self, w: World, until: datetime) -> World:
        """Time passes; whatever falls due on the way happens in its order. Stops where a call is to be made."""
        waits = any("queued" in x.what and x.at == until for x in self.deadlines(w))
        for _ in range(MOST_TICKS):
            coming = [x.at for x in self.deadlines(w) if x.at <= until and not (waits and not x.fault)]
            w = msgspec.structs.replace(w, now=min(coming, default=until))
            for foil in w.foils:
                if foil.state in (FoilState.OPEN, FoilState.PARTLY) and foil.due <= w.now:
                    w = moved(w, foil, FoilState.BROKEN)
            w = self.company.turn(w)
            if w.over or w.now >= until or any(e.state is EffectState.PLANNED for e in w.effects):
                return w
        return w


def _path(key: str) -> str:
    return key.partition("~")[0].partition("[")[0].removeprefix("undo:")


def _place(key: str) -> str:
    return key.replace("~", " round ") if not key.startswith("unknown:") else "the call"
