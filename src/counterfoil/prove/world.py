"""The state of a proof: a Run with its rows, and what the other systems have really done.

A World is an immutable value. `ProofContext.turn` calls the real `decide` and applies its commands as the store would.
`prove.moves` lists the possible next moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.effect import (
    IN_FLIGHT,
    UNSETTLED,
    Effect,
    EffectState,
    concluded,
    outcome_body,
    outcome_ref,
)
from counterfoil.core.errors import ErrorClass
from counterfoil.core.foil import Foil
from counterfoil.core.run import TERMINAL, Run
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.model.document_definition import FoilDefinition
from counterfoil.model.fields import is_money
from counterfoil.prove.bounded_definition import bounded_definition
from counterfoil.prove.lookup_model import BEGIN, FORMULA_ERRORS, LookupModel
from counterfoil.prove.start_names import build_event, start_names
from counterfoil.prove.start_values import StartValues
from counterfoil.prove.table_misses import TableMisses
from counterfoil.rules import matching
from counterfoil.rules.templates import LazyNames
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.apply import RunRows, apply, changes_of, conclude, run_after
from counterfoil.rules.workflow.context import names_at
from counterfoil.rules.workflow.decide import decide
from counterfoil.rules.workflow.records import case_of
from counterfoil.rules.workflow.state import RunState, load

_LIVE = IN_FLIGHT | {EffectState.PLANNED, EffectState.CONFIRMED}
MAX_TURNS = 60
"""Consecutive turns after which the Run counts as one that never waits."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable snapshot of a Run under proof and its surroundings."""

    run: Run
    state: RunState
    """The decoded `run.ctx`. Never changed in place."""
    now: datetime = BEGIN
    beginning: int = 0
    """Number of the start values."""
    effects: tuple[Effect, ...] = ()
    done: Mapping[str, int] = {}
    """How often the other system has really done an effect, by effect id."""
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()
    cases: tuple[Case, ...] = ()
    """Open Cases."""
    emitted: tuple[tuple[str, str], ...] = ()
    """Type and data digest of each emitted event."""
    heads: Mapping[str, Mapping[str, Any]] = {}
    changed: int = 0
    """Number of changes of facts."""
    closed: bool = False
    """True if the current period is locked."""
    rowless: frozenset[str] = frozenset()
    """Tables that have no row for the values of the start."""
    arrived: tuple[str, ...] = ()
    """Types of the events that have arrived, in order."""
    accepted: frozenset[str] = frozenset()
    """Keys of steps that a person declared as done."""
    blame: str = ""
    """A broken invariant that the state does not show, as `<invariant>:<step>:<description>`."""

    @property
    def rows(self) -> RunRows:
        return RunRows(self.effects, self.approvals, self.foils)

    @property
    def over(self) -> bool:
        return self.run.status in TERMINAL

    @property
    def exposed(self) -> frozenset[str]:
        return frozenset(e for e, n in self.done.items() if n)


class Move(NamedTuple):
    """A possible next event. `make` returns the World after it; `fault` is empty if nothing goes wrong."""

    fault: str
    who: str
    what: str
    make: Callable[[], World]
    counts: bool = True
    """False for events that may never happen: a Run cannot rely on them."""


class ProofContext:
    """The constant part of a proof: model, definition and answers of reads."""

    def __init__(self, model: Model, definition: d.Definition, entity: str = "") -> None:
        self.model = model
        self.entity = entity
        self.definition = bounded_definition(definition)
        self.posts = {
            name: any(is_money(spec) for spec in model.operations[name].input.values())
            for name in definition.operations
            if model.operations[name].repeat != "read"
        }
        """Writing operations. True if the operation moves money."""
        self.reads: dict[tuple[int, str], Any] = {}
        """Answers of reads, by number of the start values and operation."""
        self.misses = TableMisses(model, self.definition)
        self.decisions = 0

    # ------------------------------------------------------------------ start

    def start(self, values: StartValues, rowless: frozenset[str] = frozenset()) -> World:
        """Start a Run and execute its first turn. `rowless`: tables without a row for its values."""
        for root, value in values.values.items():
            if root.startswith("read:"):
                self.reads[values.number, root[5:]] = value
        names = start_names(self.definition, values.values, self.entity)
        generation = int(names.pop("run")["generation"])
        key = _key(self.definition, names)
        run = Run(
            id=ids.run_id(self.definition.name, key, generation),
            workflow=self.definition.name,
            bkey=key,
            generation=generation,
            pin="",
            arrival=1,
            created_at=BEGIN,
            due=BEGIN,
            entity=self.entity,
        )
        foils = []
        if self.definition.start.event is not None:
            event = build_event(self.definition.start.event, values.values["event"], 0, self.entity)
            for rule in self.model.foils_by_event(event.type):
                foils += self._start_foils(rule, event, run.id, values)
        world = World(
            run=run,
            state=load(run.ctx),
            beginning=values.number,
            heads=values.heads,
            foils=tuple(foils),
            rowless=rowless,
        )
        return self.turn(world, ("start", f"start#{values.number}", names))

    def _start_foils(self, rule: FoilDefinition, event: Any, run: str, values: StartValues) -> list[Foil]:
        try:
            owed = matching.owed(rule, event, LookupModel(self.model, values.heads, BEGIN).ask)
        except FORMULA_ERRORS:
            return []
        return [matching.foil_of(foil, run) for foil in owed]

    # ------------------------------------------------------------------ turns

    def lookups(self, w: World) -> LookupModel:
        """Return the answers to look-ups in a World."""
        used: dict[tuple[str, str], int] = {}
        for guard in w.state.reserved.values():
            used[guard.scope, guard.key] = used.get((guard.scope, guard.key), 0) + guard.amount
        return LookupModel(self.model, w.heads, w.now, used, w.closed, w.rowless)

    def names(self, w: World) -> LazyNames:
        """Return the names that formulas of the Run read in a World."""
        return names_at(self.definition, w.run, w.state, w.now, self.lookups(w))

    def turn(self, w: World, *inbox: tuple[str, str, Mapping[str, Any]]) -> World:
        """Deliver stimuli, as (kind, ref, body), and execute turns until the Run waits or ends."""
        seq = w.run.inbox_n
        stimuli: Sequence[c.Stimulus] = [
            c.Stimulus(kind=kind, ref=ref, seq=seq + n, at=w.now, body=body)
            for n, (kind, ref, body) in enumerate(inbox, start=1)
        ]
        run = msgspec.structs.replace(w.run, inbox_n=seq + len(inbox))
        w = msgspec.structs.replace(w, run=run)
        for _ in range(MAX_TURNS):
            decision, state = self._decide(w, stimuli)
            w = self._commit(w, decision, state)
            stimuli = ()
            if w.over or decision.due is None or decision.due > w.now:
                return w
        return msgspec.structs.replace(w, blame="restless::the run repeats turns without end")

    def _decide(self, w: World, stimuli: Sequence[c.Stimulus]) -> tuple[c.Decision, RunState]:
        """Decide until every call is rendered or known not to be. Return the decision and the state after it."""
        unrendered: dict[str, c.Unrendered] = {}
        while True:
            live = c.LateBoundInput(
                effects=w.effects,
                approvals=w.approvals,
                foils=w.foils,
                answers=self.lookups(w),
                unrendered=unrendered,
            )
            self.decisions += 1
            state = fork(w.state)  # `decide` changes it in place to the next state
            decision = decide(self.definition, w.run, stimuli, w.now, live, state)
            missing = self.misses.unrendered(decision, w.rowless) if w.rowless else {}
            if missing.keys() <= unrendered.keys():
                return decision, state
            unrendered |= missing

    def _commit(self, w: World, decision: c.Decision, state: RunState) -> World:
        changes = changes_of(decision.commands, self.definition, w.run.id, w.now)
        rows = apply(w.rows, changes, w.now)
        cases, emitted = w.cases, w.emitted
        for command in decision.commands:
            match command:
                case c.EmitEvent():
                    emitted = (*emitted, (command.type, wire.digest(dict(command.data))))
                case c.OpenCase():
                    cases = (*cases, case_of(command, w.run.id, w.now))
                case c.CloseCase(case=closed):
                    cases = tuple(k for k in cases if k.id != closed)
        return msgspec.structs.replace(
            w,
            run=run_after(w.run, decision, w.now, decision.due),
            state=state,
            effects=rows.effects,
            approvals=rows.approvals,
            foils=rows.foils,
            cases=cases,
            emitted=emitted,
            blame=_second_call(w.effects, changes.plan, rows.effects) or w.blame,
        )

    # ------------------------------------------------------------------ outcomes

    def conclude(
        self,
        w: World,
        effect: Effect,
        state: EffectState,
        *,
        result: Any = None,
        error_class: ErrorClass | None = None,
        error: str = "",
    ) -> World:
        """Record an outcome and turn the Run with it."""
        attempt = max(effect.attempt, 1)
        moved = concluded(effect, state, w.now, error_class=error_class, error=error)
        rows = conclude(w.rows, msgspec.structs.replace(moved, attempt=attempt), w.now)
        cases = w.cases
        if state not in UNSETTLED:  # the outcome answers the Cases that ask for it
            cases = tuple(
                k for k in cases if not (k.effect == effect.id and k.reason in ANSWERED_BY_EVIDENCE)
            )
        w = msgspec.structs.replace(w, effects=rows.effects, foils=rows.foils, cases=cases)
        body = outcome_body(
            effect.id,
            effect.path,
            effect.item,
            state,
            attempt,
            result=result,
            error_class=error_class,
            error=error,
        )
        return self.turn(w, ("outcome", outcome_ref(effect.id, attempt, state), body))


def _second_call(before: Sequence[Effect], planned: Sequence[Effect], after: Sequence[Effect]) -> str:
    """Return the blame if a call is planned although another call of its step may be done; else an empty text."""
    for new in planned:
        rivals = [e for e in after if (e.path, e.item) == (new.path, new.item) and e.id != new.id]
        if any(e.state in _LIVE for e in rivals) or any(e.id == new.id for e in before):
            return f"second-call:{new.path.partition('~')[0]}:{new.operation} is planned again"
    return ""


def fork(s: RunState) -> RunState:
    """Copy a state for a decision that changes it. Values never change in place, so the copies share them."""
    copy = msgspec.structs.replace
    return copy(
        s,
        frames=[copy(f) for f in s.frames],
        steps={key: copy(st) for key, st in s.steps.items()},
        undo=None if s.undo is None else copy(s.undo, queue=list(s.undo.queue)),
        names=dict(s.names),
        items=dict(s.items),
        agains=dict(s.agains),
        confirmed=list(s.confirmed),
        inputs=dict(s.inputs),
        results=dict(s.results),
        received=list(s.received),
        used=list(s.used),
        serials=list(s.serials),
        reserved=dict(s.reserved),
        scopes=dict(s.scopes),
        memo={field: dict(values) for field, values in s.memo.items()},
    )


def _key(definition: d.Definition, names: Mapping[str, Any]) -> str:
    try:
        return str(definition.start.key(names))
    except FORMULA_ERRORS:
        return "key-1"
