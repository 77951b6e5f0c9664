"""prove: every interleaving of a workflow up to a number of faults, with the real `decide`.

Worlds are visited by the number of faults, then by the number of moves, so what is found first is the shortest way
with the fewest faults. Each is looked at once, in its canonical form. Nothing here reads a store or a system.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from counterfoil.core.finding import Finding
from counterfoil.model import Model
from counterfoil.model.walk import steps
from counterfoil.prove.canonical import canonical
from counterfoil.prove.coverage import Coverage
from counterfoil.prove.invariants import INVARIANTS, InvariantChecker, ProvenInvariant
from counterfoil.prove.lookup_model import BEGIN
from counterfoil.prove.moves import Moves
from counterfoil.prove.start_values import StartValueFinder
from counterfoil.prove.timeline import Counterexample, TimelineEntry
from counterfoil.prove.world import ProofContext, World

MOST_STATES = 200_000
"""A state takes up to ten kilobytes until the proof is over: two gigabytes at the most."""
MOST_FOUND = 25
"""Counterexamples after which nobody reads on."""


@dataclass(frozen=True)
class ProofLimits:
    """Where a proof gives up: it says so, and what it covered."""

    states: int = MOST_STATES
    seconds: float | None = None
    """Of processor time."""


@dataclass(frozen=True)
class Proof:
    """What was covered, and what broke."""

    workflow: str
    faults: int
    states: tuple[int, ...]
    """States covered, by the faults that it takes to come there."""
    moves: int
    beginnings: int
    complete: bool
    """False: a bound was reached before everything was covered."""
    broken: tuple[Counterexample, ...]
    dead: tuple[tuple[str, str], ...]
    """Steps that never ran and business states that were never reached, as (step, words)."""
    seconds: float
    decisions: int

    @property
    def covered(self) -> int:
        return sum(self.states)

    @property
    def holds(self) -> bool:
        return not self.broken

    def data(self) -> dict[str, Any]:
        return {
            "workflow": self.workflow, "faults": self.faults, "states": self.covered,
            "states_by_faults": list(self.states), "moves": self.moves, "beginnings": self.beginnings,
            "complete": self.complete, "broken": [b.data() for b in self.broken],
            "dead": [{"step": step, "message": words} for step, words in self.dead],
            "seconds": round(self.seconds, 3), "decisions": self.decisions,
        }  # fmt: skip


class _Origin(NamedTuple):
    """How a World was reached: the move, and from where."""

    before: int
    line: TimelineEntry


@dataclass
class _Search:
    company: ProofContext
    moves: Moves
    judge: InvariantChecker
    coverage: Coverage
    faults: int
    bounds: ProofLimits
    seen: dict[bytes, int] = field(default_factory=dict)
    """Faults that it takes to come to a World, by its form."""
    whole: bool = False
    """Worlds differ by all that a formula may read: the workflow has invariants of its own."""
    came: list[_Origin] = field(default_factory=list)
    found: dict[tuple[str, str], Counterexample] = field(default_factory=dict)
    states: list[int] = field(default_factory=list)
    tried: int = 0
    cut: bool = False

    def run(self, worlds: list[tuple[World, TimelineEntry]]) -> None:
        began = time.process_time()
        levels: list[deque[tuple[World, bytes, int]]] = [deque() for _ in range(self.faults + 1)]
        for world, line in worlds:
            self._meet(world, _Origin(-1, line), 0, levels)
        for used, level in enumerate(levels):
            self.states.append(0)
            while level:
                if self._over(began):
                    self.cut = True
                    return
                world, key, at = level.popleft()
                if self.seen[key] < used:
                    continue  # it was come to with fewer faults since
                self.states[used] += 1
                self._expand(world, at, used, levels)

    def _meet(
        self, world: World, came: _Origin, used: int, levels: list[deque[tuple[World, bytes, int]]]
    ) -> None:
        """A World was come to; it is to be looked at, unless one of its form is, with no more faults."""
        self.coverage.saw(world, used)
        key = canonical(world, self.whole)
        if self.seen.get(key, len(levels)) <= used:
            return
        self.seen[key] = used
        self.came.append(came)
        levels[used].append((world, key, len(self.came) - 1))

    def _over(self, began: float) -> bool:
        if sum(self.states) >= self.bounds.states or len(self.found) >= MOST_FOUND:
            return True
        late = self.bounds.seconds
        return late is not None and sum(self.states) % 32 == 0 and time.process_time() - began > late

    def _expand(
        self, world: World, at: int, used: int, levels: list[deque[tuple[World, bytes, int]]]
    ) -> None:
        moves = list(self.moves.of(world, faulty=used < self.faults))
        wrong = False
        for broken in self.judge.broken(world, quiet=not any(m.counts for m in moves)):
            wrong = True
            key = (broken.invariant, broken.step)
            if key not in self.found:
                known = INVARIANTS.get(broken.invariant) or ProvenInvariant(
                    "an invariant of the workflow's own file is broken",
                    "change the workflow, or the invariant",
                )
                self.found[key] = Counterexample(
                    broken.invariant,
                    broken.step,
                    broken.words,
                    known.meaning,
                    known.fix,
                    used,
                    self._timeline(at),
                )
        if wrong:
            return
        for move in moves:
            cost = used + bool(move.fault)
            if cost > self.faults:
                continue
            self.tried += 1
            after = move.make()
            line = TimelineEntry(after.now - BEGIN, move.who, move.what, move.fault)
            self._meet(after, _Origin(at, line), cost, levels)

    def _timeline(self, at: int) -> tuple[TimelineEntry, ...]:
        lines = []
        while at >= 0:
            came = self.came[at]
            lines.append(came.line)
            at = came.before
        return tuple(reversed(lines))


def prove(model: Model, workflow: str, faults: int = 1, bounds: ProofLimits | None = None) -> Proof:
    """Explore a workflow under up to `faults` faults. Raises KeyError for a name that is not there and Misconfigured
    where `check` has findings that forbid compiling it."""
    began = time.process_time()
    definition = model.workflow(workflow)
    coverage = Coverage(definition)
    company = ProofContext(model, coverage.watched)
    own = company.definition.invariants
    beginnings = StartValueFinder(model, company.definition, tuple(i.formula for i in own)).find()
    coverage.forget()
    search = _Search(
        company=company,
        moves=Moves(company, bool(own)),
        judge=InvariantChecker(company, own),
        coverage=coverage,
        faults=faults,
        bounds=bounds or ProofLimits(),
        whole=bool(own),
    )
    worlds = []
    for beginning in beginnings:
        what = definition.start.event or definition.start.due_object or definition.start.operation or ""
        text = f"{what} begins the run" + (f"; {beginning.text}" if beginning.text else "")
        worlds.append((company.born(beginning), TimelineEntry(timedelta(0), "counterfoil", text)))
    collects = gc.isenabled()
    gc.disable()  # hardly anything here refers back to itself, and there is much of it
    try:
        search.run(worlds)
    finally:
        if collects:
            gc.enable()
    complete = not search.cut
    return Proof(
        workflow=workflow,
        faults=faults,
        states=tuple(search.states),
        moves=search.tried,
        beginnings=len(beginnings),
        complete=complete,
        broken=tuple(search.found.values()),
        dead=coverage.dead(search.moves.arrivals.fitted) if complete and not search.found else (),
        seconds=time.process_time() - began,
        decisions=company.decisions,
    )


# ------------------------------------------------------------------ what it says of the files

UNWATCHED = frozenset({"foil-unmatched"})
"""What `check` warns of only: a counterfoil that no run waits for still breaks when it is past due, with a Case."""


def findings(model: Model, proof: Proof) -> list[Finding]:
    """What a proof found, at the steps of the workflow's file."""
    document = model.document("workflow", proof.workflow)
    if document is None:
        return []
    paths = {place.name: place.path for place in steps(model.workflows[proof.workflow])}
    found = []
    for broken in proof.broken:
        way = "; ".join(f"{n}. {line.who}: {line.what}" for n, line in enumerate(broken.timeline, start=1))
        found.append(
            document.finding(
                broken.invariant,
                f"{broken.words}, where {broken.meaning} ({way})",
                paths.get(broken.step, ("name",)),
                severity="warning" if broken.invariant in UNWATCHED else "error",
                fix=f"{broken.fix}; `counterfoil prove {proof.workflow}` shows the way",
            )
        )
    for step, words in proof.dead:
        found.append(
            document.finding("dead-step", words, paths.get(step, ("name",)), severity="warning", fix="remove it, or correct what leads there")
        )  # fmt: skip
    if not proof.complete:
        found.append(
            document.finding(
                "prove-cut",
                f"{proof.covered} states were covered with up to {proof.faults} faults, and not all that there are",
                ("name",),
                severity="warning",
                fix=f"run `counterfoil prove {proof.workflow}`, which takes longer",
            )
        )
    return found


CHECK_STATES = 20_000
CHECK_SECONDS = 8.0
"""Of processor time, for all workflows together: `check` is run at each save."""


def proven(model: Model, faults: int = 1) -> list[Finding]:
    """What `check` says beyond the rules: every workflow proven in little time; a cut is told as a warning."""
    left, found = CHECK_SECONDS, []
    for name in sorted(model.workflows):
        proof = prove(model, name, faults, ProofLimits(CHECK_STATES, max(left, 0.1)))
        left -= proof.seconds
        found += findings(model, proof)
    return sorted(set(found))
