"""A look ahead before a Run's first write: what later calls will send is rendered dry, and their facts are read.

From the first write on, the Run's own writes change what it reads, and a fault costs an undo. So a later call whose
request cannot be rendered opens its Case before. What depends on results of earlier calls is left out. Nothing behind a
false guard is evaluated. Behind a guard without a value yet, facts are read from the store, and no fault is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

from counterfoil.core import ids
from counterfoil.core.case_choices import FACT_CHOICES
from counterfoil.core.effect import UNFINISHED
from counterfoil.expr import Expression
from counterfoil.model import definition as d
from counterfoil.rules.amount_signs import refused_sign
from counterfoil.rules.matching import try_fields
from counterfoil.rules.posting_date import date_of
from counterfoil.rules.templates import (
    FAULTS,
    depends_on,
    expressions_of,
    fill,
    known_part,
    names_with,
)
from counterfoil.rules.workflow.commands import AheadCall, Unrendered
from counterfoil.rules.workflow.context import (
    DecisionContext,
    FactPending,
    NeedsPerson,
    StepOutcome,
    StepResult,
)
from counterfoil.rules.workflow.missing_rows import explained, required_field

MAX_CALLS = 50
"""Later calls that are rendered dry, so that long lists cost no more than short ones."""
LATER = frozenset({"run.state", "run.direction"})
"""Names whose values change with the Run."""
_PARTS: dict[tuple[str, str, frozenset[str]], tuple[d.Template, frozenset[str]]] = {}
"""The known part of a call's input and the fields that are not known, by workflow, step and unknown names."""
MAX_CACHED_PARTS = 1_024
_HANDLED = frozenset({"continue", "stop", "again"})
"""Reactions by which a workflow itself says how it goes on after a call that cannot be rendered."""


def look_ahead(context: DecisionContext, step: d.Call) -> StepResult | Unrendered | None:
    """Look at the calls after `step`, which is about to be planned.

    Return what happens instead of it, if anything: a result, or the missing Link that it must wait for.
    """
    if not is_first_write(context, step):
        return None
    walk = _Walk(context, step)
    walk.rest()
    for call, later in walk.calls:
        unrendered = context.live.unrendered.get(call.name)
        if unrendered is not None and unrendered.unresolved:
            return unrendered
        if unrendered is not None:
            walk.fail(later, unrendered.message)
    if walk.fault is not None:
        return _outcome(context, *walk.fault)
    context.ahead = [call for call, _ in walk.calls if call.name not in context.live.unrendered]
    return None


def is_first_write(context: DecisionContext, step: d.Call) -> bool:
    """Return True if no call of the Run before this one may have changed anything."""
    if context.state.confirmed or context.planned or not context.definition.operations[step.operation].writes:
        return False
    return not any(e.state in UNFINISHED and e.repeat != "read" for e in context.effects.values())


def _outcome(context: DecisionContext, later: d.Call, message: str) -> StepResult:
    detail = f"Nothing was sent, because {later.operation} could not be sent after it: {message}"
    own = later.outcomes.get("invalid")
    if isinstance(own, d.Verb) and own.name == "undo":
        return StepOutcome("invalid", detail, reacting=later)
    return NeedsPerson("invalid", detail, FACT_CHOICES)


class _Walk:
    """One walk over the steps after the present one, in the order in which they will be executed."""

    def __init__(self, context: DecisionContext, step: d.Call) -> None:
        self.context = context
        self.calls: list[tuple[AheadCall, d.Call]] = []
        self.fault: tuple[d.Call, str] | None = None
        self.certain = True
        """False behind a guard whose value is not known yet."""
        self.unknown = set(LATER)
        """Names and paths whose values are not known yet."""
        self.items: dict[str, Any] = {}
        """Values of the lists that the walk is in."""
        self.keys: list[str] = [context.item()] if context.item() else []
        self.systems: set[str] = set()
        """Systems to which an earlier call writes: it may create Links there."""
        definition = context.definition
        unbound = {name for name, _ in definition.let} | {
            f.name for f in definition.facts if f.source != "read"
        }
        self.unbound = unbound - context.state.names.keys()
        self._pass(step)

    # ------------------------------------------------------------------ order

    def rest(self) -> None:
        """Walk from the step after the present one to the end of the workflow, then over what may interrupt it."""
        self._rest()
        if not self.unbound:
            return
        self.certain = False
        for signal in self.context.definition.signals:
            self._bind(*(e for _, e in signal.keys), *_present(signal.where))
            self._block(signal.do)
        for reaction in self.context.definition.failure.reactions.values():
            self._block(reaction)

    def _rest(self) -> None:
        above = ""
        frames = self.context.state.frames
        for depth in range(len(frames) - 1, -1, -1):
            frame = frames[depth]
            block = self.context.block(frame.block)
            begin = frame.index + (
                0 if above == "signal" else 1
            )  # an interrupted step is still to be executed
            if not self._steps(block.steps[begin:]) or _leaves(block):
                return
            if frame.kind == "item":
                each = self.context.step_at(frames[depth - 1])
                assert isinstance(each, d.Each)
                st = self.context.state.steps[frame.step]
                position, items, keys = st.position + 1, st.items or [], st.item_keys or []
                self._items(each, items[position:], keys[position:])
            above = frame.kind

    def _items(self, each: d.Each, items: Sequence[Any], keys: Sequence[str]) -> None:
        """Walk over items of a list. Where a list may end early, or goes on without an item, a fault is not certain."""
        certain, before = self.certain, self.items
        if each.until is not None:
            self._touch(each.until)
        if each.until is not None or each.on_item != "park":
            self.certain = False
        for name, item in zip(keys, items, strict=True):
            if len(self.calls) >= MAX_CALLS:
                break
            self.items = {**before, each.name: item}
            self.keys.append(name)
            self._block(each.do)
            self.keys.pop()
        self.certain, self.items = certain, before

    def _steps(self, steps: Sequence[d.Step]) -> bool:
        """Walk over steps. False: the Run does not come to what follows them."""
        return all(self._step(step) for step in steps)

    def _block(self, block: d.Reaction | None) -> bool:
        """Walk over a block. False: the Run does not come to what follows it."""
        return not isinstance(block, d.Block) or (self._steps(block.steps) and not _leaves(block))

    def _perhaps(self, *blocks: d.Reaction | None) -> None:
        """Walk over blocks of which it is not known whether they are executed."""
        certain, self.certain = self.certain, False
        for block in blocks:
            self._block(block)
        self.certain = certain

    # ------------------------------------------------------------------ steps

    def _step(self, step: d.Step) -> bool:
        certain = self.certain
        when = self._truth(step.when)
        if when is False:
            self._pass(step)
            return True
        if when is None:
            self.certain = False
        goes_on = self._execute(step)
        if when is None:
            self.certain = certain and not isinstance(step, d.Check | d.Choose)
            goes_on = True
        if self.unbound:
            self._perhaps(*step.outcomes.values())
        self._pass(step)
        return goes_on

    def _pass(self, step: d.Step) -> None:
        if step.id is not None:
            self.unknown.add(step.id)
        if isinstance(step, d.Call):
            operation = self.context.definition.operations[step.operation]
            if operation.writes:
                self.systems.add(operation.system)
            for choice in step.undo:
                self._bind(*expressions_of(choice.input), *_present(choice.when))

    def _execute(self, step: d.Step) -> bool:
        match step:
            case d.Check():
                holds = self._truth(step.check)
                if holds is None:
                    self.certain = False
                self._touch(*_present(step.once))
                if step.reserve is not None:
                    self._touch(step.reserve.amount, step.reserve.at_most)
                return holds is not False
            case d.Call():
                self._call(step)
            case d.Approve():
                self._touch(*step.covers, step.requester, *_present(step.amount))
            case d.Wait():
                self._bind(*(e for _, e in step.keys), *_present(step.where))
                self._touch(*_present(step.until.at if step.until is not None else None))
            case d.Emit():
                self._touch(*expressions_of(step.data))
            case d.Choose():
                return self._choose(step)
            case d.Each():
                self._each(step)
        return True

    def _choose(self, step: d.Choose) -> bool:
        for n, (when, block) in enumerate(step.branches):
            holds = self._truth(when)
            if holds is None:
                self._perhaps(*(block for _, block in step.branches[n:]), step.otherwise)
                self.certain = False
                return True
            if holds:
                return self._block(block)
        return self._block(step.otherwise)

    def _each(self, step: d.Each) -> None:
        if self.certain and not self._depends(step.items):
            try:
                items = fill(step.items, self._names(), self.context.lookup)
                keys = [str(n) for n in range(len(items))]
            except (TypeError, *FAULTS):
                return
            self._items(step, items, keys)
            return
        self._touch(*expressions_of(step.items), *_present(step.key, step.until))
        self.unknown.add(step.name)
        self._perhaps(step.do)
        self.unknown.discard(step.name)

    def _call(self, step: d.Call) -> None:
        templates = [t for t in (step.input, step.document, step.posting, step.revenue) if t is not None]
        if not self.certain or len(self.calls) >= MAX_CALLS:
            self._touch(*(e for t in templates for e in expressions_of(t)))
            return
        part, missing = self._known_part(step)
        try:
            value = fill(part, self._names(), self.context.lookup)
            days, unknown_days = self._dates(step)
            self._foils(step, value, missing)
        except FAULTS as error:
            self.fail(step, str(explained(self.context, error)))
            return
        operation = self.context.definition.operations[step.operation]
        rowless = required_field(self.context, step, part, value, self._names())
        message = rowless or refused_sign(operation, value)
        if message:
            self.fail(step, message)
            return
        effect = ids.effect_id(self.context.run.id, step.path, "/".join(self.keys), 0)
        name = f"ahead:{step.path}[{'/'.join(self.keys)}]"
        unknown = LATER | missing | {f"dates.{day}" for day in unknown_days}
        system = self.context.definition.operations[step.operation].system
        call = AheadCall(
            name=name,
            effect=effect,
            operation=step.operation,
            input=value,
            dates=days,
            unknown=unknown,
            links=system not in self.systems,
        )
        self.calls.append((call, step))
        rest = [e for t in templates for e in expressions_of(t) if depends_on(e, self.unknown)]
        self._touch(*rest)

    def fail(self, step: d.Call, message: str) -> None:
        """Note that a later call cannot be rendered, unless the workflow itself goes on from there."""
        reaction = step.outcomes.get("invalid") or self.context.definition.failure.reactions.get("invalid")
        handled = isinstance(reaction, d.Block) or (reaction is not None and reaction.name in _HANDLED)
        if not handled and self.fault is None:
            self.fault = (step, message)

    def _known_part(self, step: d.Call) -> tuple[d.Template, frozenset[str]]:
        key = (self.context.definition.digest, step.path, frozenset(self.unknown))
        cached = _PARTS.get(key)
        if cached is None:
            places: set[str] = set()
            part = known_part(step.input, self.unknown, places) or d.Record({})
            missing = {f"input.{place}" if place else "input" for place in places}
            if len(_PARTS) > MAX_CACHED_PARTS:
                _PARTS.clear()
            cached = _PARTS[key] = (part, frozenset(missing))
        return cached

    def _dates(self, step: d.Call) -> tuple[dict[str, Any], set[str]]:
        """Return the dates that do not depend on the day of the call, and the names of the others."""
        posting = step.posting
        if isinstance(posting, d.Literal) and isinstance(posting.value, str):
            return {}, {"document", "posting", "revenue"}
        templates = {
            "document": step.document,
            "posting": posting or step.document,
            "revenue": step.revenue or step.document,
        }
        certain = {name for name, t in templates.items() if t is None or not self._depends(t)}
        days = {name: self._day(templates[name]) for name in certain}
        return days, templates.keys() - certain

    def _day(self, template: d.Template | None) -> date | None:
        return None if template is None else date_of(fill(template, self._names(), self.context.lookup))

    def _foils(self, step: d.Call, value: Any, missing: frozenset[str]) -> None:
        """Evaluate the formulas of the counterfoils that the call will write. Raises what they raise."""
        unknown = self.unknown | missing
        names = names_with(self._names(), {"input": value})
        for foil in self.context.definition.foils:
            if foil.operation != step.operation:
                continue
            if foil.when is not None and (
                depends_on(foil.when, unknown) or foil.when(names, self.context.lookup) is not True
            ):
                continue
            try_fields(foil, names, self.context.lookup, unknown)

    # ------------------------------------------------------------------ formulas

    def _names(self) -> Mapping[str, Any]:
        names = self.context.names()
        return names_with(names, self.items) if self.items else names

    def _depends(self, template: d.Template) -> bool:
        return any(depends_on(e, self.unknown) for e in expressions_of(template))

    def _truth(self, expression: Expression | None) -> bool | None:
        """Return a guard's value; None if it is not known yet, or has none."""
        if expression is None:
            return True
        if depends_on(expression, self.unknown):
            self._touch(expression)
            return None
        try:
            return expression(self._names(), self.context.lookup) is True
        except FactPending:
            if self.certain:
                raise
        except FAULTS:
            pass
        return None

    def _touch(self, *expressions: Expression) -> None:
        """Bind the facts and lets that formulas use, as far as they have a value and only the store is read."""
        for expression in expressions:
            if self.unbound.isdisjoint(expression.names):
                continue
            if depends_on(expression, self.unknown):
                self._bind(expression)
                continue
            with suppress(FactPending, *FAULTS):
                expression(self._names(), None)
            self.unbound -= self.context.state.names.keys()

    def _bind(self, *expressions: Expression) -> None:
        """Bind all facts and lets that formulas name: their values decide later what is used."""
        for expression in expressions:
            if not self.unbound.isdisjoint(expression.names):
                self.context.try_names(expression.names)
                self.unbound -= self.context.state.names.keys()


def _present(*expressions: Expression | None) -> Iterator[Expression]:
    return (e for e in expressions if e is not None)


def _leaves(block: d.Block) -> bool:
    """Return True if the Run does not go on after the block."""
    return block.verb is not None and block.verb.name != "continue"
