"""prove: explore every interleaving of a workflow up to a number of faults, with the real `decide`.

Worlds are visited by number of faults, then by number of moves. So the first counterexample has the fewest faults and
the shortest path. Each canonical form is visited once. The search reads no store and no system.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import zip_longest
from typing import Any, NamedTuple

from counterfoil.core.finding import Finding
from counterfoil.model import Model
from counterfoil.model.walk import steps
from counterfoil.prove.canonical import canonical
from counterfoil.prove.coverage import Coverage
from counterfoil.prove.invariant_checker import InvariantChecker
from counterfoil.prove.invariants import INVARIANTS, ProvenInvariant
from counterfoil.prove.lookup_model import BEGIN
from counterfoil.prove.moves import Moves
from counterfoil.prove.start_values import StartValueFinder
from counterfoil.prove.timeline import Counterexample, TimelineEntry
from counterfoil.prove.world import Move, ProofContext, World

MAX_STATES = 200_000
"""A state takes up to 10 kB until the proof ends: 2 GB at most."""
MAX_COUNTEREXAMPLES = 25


@dataclass(frozen=True)
class ProofLimits:
    """Limits of a proof. If one is reached, the proof is incomplete and reports what it covered."""

    states: int = MAX_STATES
    seconds: float | None = None
    """Processor time."""


@dataclass(frozen=True)
class Proof:
    """The result of a proof: its coverage and counterexamples."""

    workflow: str
    faults: int
    states: tuple[int, ...]
    """Covered states, by the number of faults needed to reach them."""
    moves: int
    beginnings: int
    complete: bool
    """False: a limit was reached before everything was covered."""
    broken: tuple[Counterexample, ...]
    dead: tuple[tuple[str, str], ...]
    """Steps that never ran and business states that were never reached, as (step, description)."""
    seconds: float
    decisions: int
    entities: tuple[str, ...] = ()
    """Legal entities in whose Runs it was explored, one for each set of overlays."""

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
            "seconds": round(self.seconds, 3), "decisions": self.decisions, "legal_entities": list(self.entities),
        }  # fmt: skip


class _Origin(NamedTuple):
    """The move that reached a World, and the index of the World before."""

    before: int
    line: TimelineEntry


@dataclass
class _Search:
    context: ProofContext
    moves: Moves
    checker: InvariantChecker
    coverage: Coverage
    faults: int
    limits: ProofLimits
    whole: bool = False
    """True if the workflow has its own invariants: Worlds then differ by everything that a formula may read."""
    faults_by_form: dict[bytes, int] = field(default_factory=dict)
    """Number of faults needed to reach a World, by its form."""
    origins: list[_Origin] = field(default_factory=list)
    counterexamples: dict[tuple[str, str], Counterexample] = field(default_factory=dict)
    states: list[int] = field(default_factory=list)
    move_count: int = 0
    cut: bool = False

    def run(self, worlds: list[tuple[World, TimelineEntry]]) -> None:
        started = time.process_time()
        levels: list[deque[tuple[World, bytes, int]]] = [deque() for _ in range(self.faults + 1)]
        for world, line in worlds:
            used = int(bool(line.fault))
            if used <= self.faults:
                self._visit(world, _Origin(-1, line), used, levels)
        for used, level in enumerate(levels):
            self.states.append(0)
            while level:
                if self._limit_reached(started):
                    self.cut = True
                    return
                world, key, at = level.popleft()
                if self.faults_by_form[key] < used:
                    continue  # reached with fewer faults meanwhile
                self.states[used] += 1
                self._expand(world, at, used, levels)

    def _visit(
        self, world: World, origin: _Origin, used: int, levels: list[deque[tuple[World, bytes, int]]]
    ) -> None:
        """Enqueue a World unless its form was already reached with as few faults."""
        self.coverage.record(world, used)
        key = canonical(world, self.whole)
        if self.faults_by_form.get(key, len(levels)) <= used:
            return
        self.faults_by_form[key] = used
        self.origins.append(origin)
        levels[used].append((world, key, len(self.origins) - 1))

    def _limit_reached(self, started: float) -> bool:
        if sum(self.states) >= self.limits.states or len(self.counterexamples) >= MAX_COUNTEREXAMPLES:
            return True
        seconds = self.limits.seconds
        return seconds is not None and sum(self.states) % 32 == 0 and time.process_time() - started > seconds

    def _expand(
        self, world: World, at: int, used: int, levels: list[deque[tuple[World, bytes, int]]]
    ) -> None:
        moves = list(self.moves.of(world, faulty=used < self.faults))
        if self._report_broken(world, moves, at, used):
            return
        for move in moves:
            cost = used + bool(move.fault)
            if cost > self.faults:
                continue
            self.move_count += 1
            after = move.make()
            line = TimelineEntry(after.now - BEGIN, move.who, move.what, move.fault)
            self._visit(after, _Origin(at, line), cost, levels)

    def _report_broken(self, world: World, moves: list[Move], at: int, used: int) -> bool:
        """Record a counterexample for each broken invariant of a World. Returns True if there is one."""
        any_broken = False
        for broken in self.checker.broken(world, quiet=not any(m.counts for m in moves)):
            any_broken = True
            key = (broken.invariant, broken.step)
            if key not in self.counterexamples:
                invariant = INVARIANTS.get(broken.invariant) or ProvenInvariant(
                    "an invariant of the workflow's own file is broken",
                    "change the workflow, or the invariant",
                )
                self.counterexamples[key] = Counterexample(
                    broken.invariant,
                    broken.step,
                    broken.words,
                    invariant.meaning,
                    invariant.fix,
                    used,
                    self._timeline(at),
                )
        return any_broken

    def _timeline(self, at: int) -> tuple[TimelineEntry, ...]:
        lines = []
        while at >= 0:
            origin = self.origins[at]
            lines.append(origin.line)
            at = origin.before
        return tuple(reversed(lines))


def prove(model: Model, workflow: str, faults: int = 1, bounds: ProofLimits | None = None) -> Proof:
    """Explore a workflow under up to `faults` faults, in a legal entity of each set of overlays.

    Raises KeyError for an unknown name, and Misconfigured if findings of `check` forbid compiling it.
    """
    limits = bounds or ProofLimits()
    proofs: list[Proof] = []
    for entity, own in model.variants(BEGIN.date()).items():
        proofs.append(_prove(own, entity, workflow, faults, _rest_of(limits, proofs)))
    return proofs[0] if len(proofs) == 1 else _together(proofs)


def _rest_of(limits: ProofLimits, used: Sequence[Proof]) -> ProofLimits:
    seconds = None if limits.seconds is None else max(limits.seconds - sum(p.seconds for p in used), 0.1)
    return ProofLimits(max(limits.states - sum(p.covered for p in used), 1), seconds)


def _together(proofs: Sequence[Proof]) -> Proof:
    """Return several proofs of one workflow as one. A step is dead if no legal entity runs it."""
    broken = {
        (example.invariant, example.step): example for proof in reversed(proofs) for example in proof.broken
    }
    return replace(
        proofs[0],
        states=tuple(map(sum, zip_longest(*(p.states for p in proofs), fillvalue=0))),
        moves=sum(p.moves for p in proofs),
        beginnings=sum(p.beginnings for p in proofs),
        complete=all(p.complete for p in proofs),
        broken=tuple(broken.values()),
        dead=tuple(step for step in proofs[0].dead if all(step in p.dead for p in proofs)),
        seconds=sum(p.seconds for p in proofs),
        decisions=sum(p.decisions for p in proofs),
        entities=tuple(entity for p in proofs for entity in p.entities),
    )


def _prove(model: Model, entity: str, workflow: str, faults: int, limits: ProofLimits) -> Proof:
    started = time.process_time()
    definition = model.workflow(workflow)
    coverage = Coverage(definition)
    context = ProofContext(model, coverage.watched, entity)
    invariants = context.definition.invariants
    starts = StartValueFinder(model, context.definition, tuple(i.formula for i in invariants), entity).find()
    coverage.reset()
    search = _Search(
        context=context,
        moves=Moves(context, bool(invariants)),
        checker=InvariantChecker(context, invariants),
        coverage=coverage,
        faults=faults,
        limits=limits,
        whole=bool(invariants),
    )
    worlds = []
    for start in starts:
        what = definition.start.event or definition.start.due_object or definition.start.operation or ""
        of = f" of {entity}" if entity else ""
        text = f"{what} starts the run{of}" + (f"; {start.text}" if start.text else "")
        worlds.append((context.start(start), TimelineEntry(timedelta(0), "counterfoil", text)))
        for table in context.misses.tables if faults else ():
            missing = f"{text}; no row of the table {table} covers its values"
            world = context.start(start, frozenset({table}))
            worlds.append((world, TimelineEntry(timedelta(0), "counterfoil", missing, "table")))
    collects = gc.isenabled()
    gc.disable()  # many objects and almost no reference cycles: collecting costs time and frees nothing
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
        moves=search.move_count,
        beginnings=len(starts),
        complete=complete,
        broken=tuple(search.counterexamples.values()),
        dead=coverage.dead(search.moves.arrivals.fitted) if complete and not search.counterexamples else (),
        seconds=time.process_time() - started,
        decisions=context.decisions,
        entities=(entity,) if entity else (),
    )


# ------------------------------------------------------------------ findings

WARNINGS_ONLY = frozenset({"foil-unmatched"})
"""Invariants that are only warnings in `check`: an unmatched counterfoil still opens a Case when it is past due."""


def findings(model: Model, proof: Proof) -> list[Finding]:
    """Return the results of a proof as findings at the steps of the workflow's file."""
    document = model.document("workflow", proof.workflow)
    if document is None:
        return []
    paths = {place.name: place.path for place in steps(model.workflows[proof.workflow])}
    results = []
    for broken in proof.broken:
        path_text = "; ".join(
            f"{n}. {line.who}: {line.what}" for n, line in enumerate(broken.timeline, start=1)
        )
        results.append(
            document.finding(
                broken.invariant,
                f"{broken.words}: {broken.meaning} ({path_text})",
                paths.get(broken.step, ("name",)),
                severity="warning" if broken.invariant in WARNINGS_ONLY else "error",
                fix=f"{broken.fix}; `counterfoil prove {proof.workflow}` prints the path",
            )
        )
    for step, words in proof.dead:
        results.append(
            document.finding("dead-step", words, paths.get(step, ("name",)), severity="warning", fix="remove the step, or correct the conditions before it")
        )  # fmt: skip
    if not proof.complete:
        results.append(
            document.finding(
                "prove-cut",
                f"the proof is incomplete: {proof.covered} states were covered with up to {proof.faults} faults",
                ("name",),
                severity="warning",
                fix=f"run `counterfoil prove {proof.workflow}`, which has no time limit",
            )
        )
    return results


CHECK_STATES = 20_000
CHECK_SECONDS = 15.0
"""Processor time for all workflows together: `check` runs at each save."""


def proven(model: Model, faults: int = 1) -> list[Finding]:
    """Prove every workflow within the time limit of `check`. An incomplete proof is a warning."""
    remaining, results = CHECK_SECONDS, []
    for name in sorted(model.workflows):
        proof = prove(model, name, faults, ProofLimits(CHECK_STATES, max(remaining, 0.1)))
        remaining -= proof.seconds
        results += findings(model, proof)
    return sorted(set(results))
