"""Working state of one decision: the Run's state while it changes, the commands so far, and the names of formulas.

`decide` creates it, the other modules of the interpreter change it. They read nothing else. The handler of a step changes
the step's state and returns a StepResult, which `reactions` carries out.

Facts and lets are computed here, when a formula reads them first. A formula may be left at any name: a read of another
system comes between. So handlers evaluate first and change state afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import msgspec

from counterfoil.core.case import Choice
from counterfoil.core.case_choices import STEP_CHOICES
from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState
from counterfoil.core.money import Money, MoneyError
from counterfoil.core.run import Direction, Run, RunStatus
from counterfoil.expr import BudgetExceeded, EvaluationError, LookupNeeded
from counterfoil.expr.errors import Fault
from counterfoil.expr.runtime import LookupFailure
from counterfoil.model.blocks import blocks_of
from counterfoil.model.definition import OF_AMOUNT, Block, Definition, Fact, LimitPolicy, RetryPolicy, Step
from counterfoil.rules import approval_matrix as matrix
from counterfoil.rules.envelope import complete, entity_of_start
from counterfoil.rules.json_values import run_names
from counterfoil.rules.lookup import Answers
from counterfoil.rules.templates import FAULTS, LazyNames, UnusableValue, key, names_with
from counterfoil.rules.workflow.backoff import next_try
from counterfoil.rules.workflow.commands import (
    AheadCall,
    Command,
    DropEffect,
    LateBoundInput,
    ReserveGuard,
)
from counterfoil.rules.workflow.state import BlockFrame, RunState, StepState

MAX_NESTED_NAMES = 20
"""Facts and lets that are computed within one another."""


class StepProgress(Enum):
    """Progress of a step that needs no reaction."""

    DONE = "done"
    MOVED = "moved"
    """State or position has changed: go on with the step that is up now."""
    WAITING = "waiting"
    """Nothing more can be done in this turn."""


class StepOutcome(NamedTuple):
    """An outcome whose reaction the workflow defines."""

    name: str
    detail: str
    reacting: Step | None = None
    """Another step whose reaction to this outcome comes before the step's own."""


class NeedsPerson(NamedTuple):
    """An outcome that opens a Case, without a look at the workflow's reactions."""

    name: str
    detail: str
    choices: tuple[Choice, ...] = STEP_CHOICES


StepResult: TypeAlias = StepProgress | StepOutcome | NeedsPerson


class FactPending(LookupNeeded):
    """A formula reads a fact that another system must answer first. Passes through the evaluation like a look-up."""

    def __init__(self, fact: Fact) -> None:
        super().__init__("read", (fact.target,))
        self.fact = fact


class _ComputeFirst(LookupNeeded):
    """A name that must be computed before the names that lead to it: the chain is too long for one evaluation."""

    def __init__(self, name: str) -> None:
        super().__init__(name, ())


class _UnknownName(KeyError):
    """A name that is neither a fact nor a let."""


class NameFault(Fault):
    """A fact or let that a formula reads has no value."""


DONE, MOVED, WAITING = StepProgress.DONE, StepProgress.MOVED, StepProgress.WAITING


class DecisionContext:
    def __init__(
        self, definition: Definition, run: Run, state: RunState, now: datetime, live: LateBoundInput
    ) -> None:
        self.definition, self.run, self.state = definition, run, state
        self.now, self.live = now, live
        self.effects: dict[str, Effect] = {e.id: e for e in live.effects}
        self.approvals = {a.id: a for a in live.approvals}
        self.commands: list[Command] = []
        self.status = RunStatus.READY
        self.direction = run.direction
        self.business = run.state
        self.ignored: list[str] = []
        self.planned: set[str] = set()
        """Effects that this decision plans or sends again."""
        self.ahead: list[AheadCall] = []
        """Later calls that are rendered dry before this decision is committed."""
        self.rechecked = False
        self.pause = False
        """Commit what is decided so far and continue in the next turn."""
        self.blocks = blocks_of(definition)
        self._run_names: dict[str, Any] | None = None
        self._events: dict[str, tuple[Any, dict[str, Any]]] = {}
        """Events by name: as stored, and with their whole envelope."""
        self._faults: dict[str, str] = {}
        """Facts and lets without a value, with the reason."""
        self._computing: list[str] = []
        """Facts and lets that are being computed, each for the one before it."""
        self._outermost = 0
        """Where in `_computing` the present part of a long chain begins."""

    # ------------------------------------------------------------------ names and look-ups

    def names(self) -> LazyNames:
        run = self._run_names
        if run is None or run["state"] != self.business or run["direction"] != self.direction:
            run = self._run_names = run_names(self.run, self.business, self.direction)
        names = LazyNames(self.state.names)
        names.compute = self._for_formula
        for name in self.definition.events:
            if isinstance(names.get(name), dict):
                names[name] = self._complete(name, names[name])
        if self.state.items:
            names.update(self.state.items)
        names["run"] = run
        return names

    def _complete(self, name: str, stored: Any) -> Any:
        """Return an event with its whole envelope, which is not stored. Cached for one decision."""
        cached = self._events.get(name)
        if cached is None or cached[0] is not stored:
            cached = self._events[name] = (stored, complete(stored, self.definition.envelope))
        return cached[1]

    def _for_formula(self, name: str) -> Any:
        """Compute a fact or let inside a formula. A failed look-up ends the formula, whatever its operators absorb."""
        try:
            return self._compute(name)
        except (NameFault, LookupNeeded, BudgetExceeded, _UnknownName):
            raise
        except Exception as error:
            raise LookupFailure(error) from error

    def _compute(self, name: str) -> Any:
        """Compute a fact or let and bind it. Raises NameFault, FactPending and LookupNeeded."""
        if name in self.state.names:
            return self.state.names[name]  # another formula has bound it meanwhile
        if name in self._faults:
            raise NameFault(self._faults[name])
        if name in self._computing:
            raise NameFault(f"{name} is defined by itself")
        if len(self._computing) - self._outermost >= MAX_NESTED_NAMES:
            raise _ComputeFirst(name)
        self._computing.append(name)
        try:
            value = self._value_or_deeper(name)
        except (EvaluationError, UnusableValue) as error:
            self._faults[name] = message = _reason(name, error)
            raise NameFault(message) from None
        finally:
            self._computing.pop()
        self.state.names[name] = value
        return value

    def _value_or_deeper(self, name: str) -> Any:
        """Compute a name. A long chain of names is computed in parts, from its far end: Python's stack is limited."""
        while True:
            try:
                return self._value_of(name)
            except _ComputeFirst as deeper:
                before = self._outermost
                if len(self._computing) - before > 1:
                    raise
                self._outermost = len(self._computing)
                try:
                    with suppress(NameFault):  # it is remembered
                        self._compute(deeper.name)
                finally:
                    self._outermost = before

    def _value_of(self, name: str) -> Any:
        for let, expression in self.definition.let:
            if let == name:
                return self.value(expression)
        for fact in self.definition.facts:
            if fact.name == name:
                return self._from_system(fact) if fact.source == "read" else self._from_store(fact)
        if name == "entity" and self.definition.envelope.entities:
            return self._entity()
        raise _UnknownName(name)

    def _entity(self) -> Any:
        legal_entity = entity_of_start(self.state.names)
        entity = self.definition.envelope.entity(legal_entity)
        if entity is None:
            raise UnusableValue(f"No document declares the legal entity {legal_entity}")
        return dict(entity)

    def limit_key(self, policy: LimitPolicy, currency: str = "") -> str:
        """Return the key of the guard row of a limit for this Run; `currency` is that of the amount."""
        key = self.own_guard_key(matrix.guard_key(policy, self.names(), self.today, self.lookup))
        return f"{key}/{currency}" if policy.currency == OF_AMOUNT else key

    def used_by_others(self, scope: str, key: str) -> int:
        """Return the usage of a guard row without this Run's own reservations. Those of this turn are not on the row yet."""
        new = {c.path for c in self.commands if isinstance(c, ReserveGuard)}
        mine = self.state.reserved.items()
        own = sum(r.amount for path, r in mine if (r.scope, r.key) == (scope, key) and path not in new)
        return int(self.lookup("guard", (scope, key))) - own

    def own_guard_key(self, key: str) -> str:
        """Return a guard row's key for this Run: entities other than the default one have rows of their own."""
        default, entity = self.definition.envelope.default, self.run.entity
        return "/".join(filter(None, (entity, key))) if default and entity not in ("", default) else key

    def _from_store(self, fact: Fact) -> Any:
        if fact.source == "limit":
            policy = self.definition.limits[fact.target]
            currency = policy.currency
            if currency == OF_AMOUNT:
                currency = str(self.value(fact.of)) if fact.of is not None else ""
            used = self.used_by_others(policy.name, self.limit_key(policy, currency))
            try:
                return Money(used, currency)
            except MoneyError as error:
                raise UnusableValue(f"{fact.name}: {error}") from None
        key = str(self.value(fact.of)) if fact.of is not None else self.run.bkey
        value = self.lookup("xref" if fact.source == "xref" else "head", (fact.target, key))
        if value is None and fact.source != "period":
            raise UnusableValue(f"No {fact.target} {key} is on record")
        return value

    def _from_system(self, fact: Fact) -> Any:
        st = self.state.steps.get(self.place_of(fact))
        if st is None or st.outcome != "confirmed":
            raise FactPending(fact)
        st.phase = "done"
        return self.state.results.get(st.effect or "")

    def place_of(self, fact: Fact) -> str:
        """Return the state key of a fact's read."""
        return f"fact:{fact.name}" + (f"~{self.state.reads}" if self.state.reads else "")

    def forget(self, only_recheck: bool) -> None:
        """Forget the values of facts and lets: what is used again is computed again.

        With `only_recheck`, forget of the facts only those with `recheck` that come from the store.
        """
        for fact in self.definition.facts:
            if not only_recheck or (fact.recheck and fact.source != "read"):
                self.state.names.pop(fact.name, None)
        for name, _ in self.definition.let:
            self.state.names.pop(name, None)
        self._faults.clear()

    def recheck(self) -> None:
        """Compute facts with `recheck` again, once in a decision, as long as no call is confirmed."""
        if not self.state.confirmed and not self.rechecked:
            self.rechecked = True
            self.forget(only_recheck=True)

    def try_names(self, names: Iterable[str]) -> None:
        """Compute these facts and lets if they have a value and need no read of another system."""
        for name in names:
            if name not in self.state.names:
                with suppress(NameFault, _UnknownName, FactPending, *FAULTS):
                    self._compute(name)

    def lookup(self, name: str, args: tuple[Any, ...]) -> Any:
        """Answer a look-up of a formula. Raises LookupNeeded if the answer is not there yet."""
        if name == "head" and len(args) == 1:
            args = (args[0], self._instance(str(args[0])))
        if (name, args) in self.live.answers:
            return self.live.answers[name, args]
        raise LookupNeeded(name, args)

    def _instance(self, object_: str) -> str:
        """Return the Run's object of a kind: `<object>_id` of its newest result, or of its event."""
        field = f"{object_}_id"
        for effect in reversed(self.state.confirmed):
            for values in (self.state.results.get(effect.effect), self.state.inputs.get(effect.effect)):
                if isinstance(values, dict) and field in values:
                    return str(values[field])
        return str(self.state.names.get("event", {}).get("data", {}).get(field, self.run.bkey))

    def value(self, expression: Any, extra: Mapping[str, Any] | None = None) -> Any:
        names = self.names()
        return expression(names_with(names, extra) if extra else names, self.lookup)

    def key_of(self, expression: Any, extra: Mapping[str, Any] | None = None) -> str:
        names = self.names()
        return key(expression, names_with(names, extra) if extra else names, self.lookup)

    def holds(self, expression: Any, extra: Mapping[str, Any] | None = None) -> bool:
        return expression is None or self.value(expression, extra) is True

    # ------------------------------------------------------------------ places

    def block(self, address: str) -> Block:
        return self.blocks[address]

    def step_at(self, frame: BlockFrame) -> Step | None:
        """Return the step at which a frame stands; None at the end of its block."""
        steps = self.blocks[frame.block].steps
        return steps[frame.index] if frame.index < len(steps) else None

    def key(self, step: Step, depth: int | None = None, round_: int | None = None) -> str:
        """Return the state key of a step's execution: path, item and round.

        `depth`: number of frames to count. `round_`: a former round.
        """
        item = self.item(depth)
        round_ = self.state.round if round_ is None else round_
        suffix = f"~{round_}" if round_ else ""
        return f"{step.path}{suffix}" + (f"[{item}]" if item else "")

    def effect_path(self, step: Step) -> str:
        return f"{step.path}~{self.state.round}" if self.state.round else step.path

    def item(self, depth: int | None = None) -> str:
        """Return the keys of the current list items, outermost first."""
        keys = []
        for frame in self.state.frames[:depth]:
            if frame.tag:
                keys.append(frame.tag)
            if frame.kind == "item":
                each = self.state.steps[frame.step]
                if each.item_keys is not None:
                    keys.append(each.item_keys[each.position])
        return "/".join(keys)

    def state_of(self, step: Step) -> StepState:
        key = self.key(step)
        if key not in self.state.steps:
            self.state.steps[key] = StepState(entered=self.now)
        return self.state.steps[key]

    def push(self, block: str, kind: str, step_key: str, tag: str = "") -> None:
        self.state.frames.append(BlockFrame(block=block, kind=kind, step=step_key, tag=tag))

    # ------------------------------------------------------------------ effects

    def effect_in_flight(self) -> bool:
        """Return True if any call is planned, possibly sent, or of unknown outcome."""
        if self.planned or self.under_way():
            return True
        dropped = {c.effect for c in self.commands if isinstance(c, DropEffect)}
        return any(e.state is EffectState.PLANNED and e.id not in dropped for e in self.effects.values())

    def under_way(self) -> bool:
        """Return True if any call may have been sent whose outcome is not known."""
        return any(e.state in IN_FLIGHT for e in self.effects.values())

    def step_of_effect(self, effect: str) -> tuple[str, StepState] | None:
        return next(((k, s) for k, s in self.state.steps.items() if s.effect == effect), None)

    # ------------------------------------------------------------------ cases

    def next_try(self, policy: RetryPolicy, st: StepState, key: str) -> datetime | None:
        return next_try(policy, st.tries, f"{self.run.id}/{key}", self.now, st.retry_after)

    @property
    def today(self) -> date:
        return self.definition.envelope.day(self.run.entity, self.now)

    def finish(self, status: RunStatus, state: str) -> None:
        self.status = status
        self.business = state

    @property
    def terminal(self) -> bool:
        return self.status in (RunStatus.DONE, RunStatus.UNDONE, RunStatus.CLOSED)

    @property
    def undoing(self) -> bool:
        return self.direction is Direction.UNDO


def names_at(definition: Definition, run: Run, state: RunState, now: datetime, answers: Answers) -> LazyNames:
    """Return the names that formulas read in a state, which stays as it is. Facts and lets are computed when read."""
    copy = msgspec.structs.replace(state, names=dict(state.names))
    return DecisionContext(definition, run, copy, now, LateBoundInput(answers=answers)).names()


def _reason(name: str, error: Exception) -> str:
    match error:
        case UnusableValue():
            return str(error)
        case EvaluationError():
            return (
                error.message
                if isinstance(error.__cause__, NameFault)
                else f"{name} has no value: {error.message}"
            )
    return f"{name} has no value: lets are nested too deep"
