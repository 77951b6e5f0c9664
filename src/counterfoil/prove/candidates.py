"""The formulas that influence a Run, and the start values that may change their results.

Values come from schemas, and from the literals and limits that formulas and approval matrices compare them with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from counterfoil.core.money import Money
from counterfoil.expr import Expression
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.model.fields import object_schema
from counterfoil.prove.input_values import (
    ABSENT,
    Leaf,
    LeafResolver,
    both_sides,
    get,
    neighbours,
    plain_value,
    unique,
)
from counterfoil.prove.start_names import start_roots

DEFAULT_MINOR_UNITS = 10_000
"""Minor units of an amount without any known limit."""

StepT = TypeVar("StepT", d.Check, d.Approve, d.Each)
Goal: TypeAlias = tuple[Expression, bool]
"""A formula and the result that it should have."""


class Candidates:
    """The influential formulas of one workflow, and the candidate values of the leaves that they read."""

    def __init__(self, model: Model, definition: d.Definition, watched: tuple[Expression, ...] = ()) -> None:
        self.model = model
        self.definition = definition
        self.watched = watched
        """Formulas of the workflow's own invariants."""
        self.currency = next((p.currency for p in definition.approvals.values()), "USD")
        self.amount = max(
            [t.up_to * 2 for p in definition.approvals.values() for t in p.tiers if t.up_to],
            default=DEFAULT_MINOR_UNITS,
        )
        self.roots = start_roots(definition)
        self.lets = {name: e.ast for name, e in definition.let}
        self.reader = LeafResolver(self.roots, self.lets)
        self.predicates: list[tuple[str, Expression]] = []
        """Formulas that decide on the Run's path, with their place."""
        self.musts: list[Expression] = []
        """Formulas that hold in the plain start values."""
        self.amount_pairs: list[tuple[Leaf, Leaf, str]] = []
        """Amounts whose order is part of the signature."""
        self.goals: list[list[Goal]] = []
        """Results that some start values must produce: each `when` both ways, each branch taken."""
        self.approves = self._steps_of(d.Approve)
        self.eaches = self._steps_of(d.Each)
        self._gather()

    # ------------------------------------------------------------------ influential formulas

    def _gather(self) -> None:
        for address, block in blocks_of(self.definition).items():
            for step in block.steps:
                if step.when is not None:
                    self.predicates.append((f"{step.path} when", step.when))
                    self.goals += [[(step.when, True)], [(step.when, False)]]
                self._gather_step(step, in_main=address == "")
        begins = _beginning(self.definition.start)
        if begins is not None:
            self.musts.append(begins)
        for expression in [
            *self._expressions(),
            *(e for _, e in self.predicates),
            *self.musts,
            *self.watched,
        ]:
            self.reader.look(expression.ast)
        self._pair_amounts()

    def _gather_step(self, step: d.Step, in_main: bool) -> None:
        match step:
            case d.Check():
                self.predicates.append((step.path, step.check))
                if in_main:
                    self.musts.append(step.check)
            case d.Choose():
                before: list[Goal] = []
                for n, (when, _) in enumerate(step.branches):
                    self.predicates.append((f"{step.path} {n}", when))
                    self.goals.append([*before, (when, True)])
                    before.append((when, False))
            case d.Call():
                self.predicates += [(f"{step.path} undo", c.when) for c in step.undo if c.when is not None]

    def _pair_amounts(self) -> None:
        """Pair the amounts that the workflow's own invariants read with every other amount."""
        reader = LeafResolver(self.roots, self.lets)
        for expression in self.watched:
            reader.look(expression.ast)
        if not reader.read.leaves:
            return
        values = self.plain_values()
        inputs = [(root, name) for root in ("event", "input") for name in values.get(root, {})]
        others = unique([*self.reader.read.leaves, *inputs])
        for leaf in reader.read.leaves:
            for other in others:
                pair = (get(values, leaf), get(values, other))
                if leaf != other and all(isinstance(v, Money) for v in pair):
                    self.reader.read.pairs.append((leaf, other, "<"))
                    self.amount_pairs.append((leaf, other, "<"))

    def _expressions(self) -> Iterator[Expression]:
        for _, expression in self.definition.let:
            yield expression
        for step in self.approves:
            if step.amount is not None:
                yield step.amount
            yield from step.covers
        for each in self.eaches:
            if isinstance(each.items, d.Formula):
                yield each.items.expression
        for check in self._steps_of(d.Check):
            if check.reserve is not None:
                yield from (check.reserve.amount, check.reserve.at_most)

    def _steps_of(self, kind: type[StepT]) -> list[StepT]:
        return [s for b in blocks_of(self.definition).values() for s in b.steps if isinstance(s, kind)]

    # ------------------------------------------------------------------ values

    def plain_values(self) -> dict[str, Any]:
        """Return one plain value for everything that the Run can read, by root."""
        values: dict[str, Any] = {}
        start = self.definition.start
        if start.event is not None:
            values["event"] = self._of(self.model.schema_of_event(start.event))
        if start.operation is not None:
            values["input"] = self._of(self.model.schema_of_operation(start.operation, "input"))
        for name, kind in self.model.objects.items():
            values[f"head:{name}"] = self._of(object_schema(kind.fields))
        values["run"] = {"generation": 0}
        for fact in self.definition.facts:
            if fact.source == "read":
                values[f"read:{fact.target}"] = self._of(
                    self.model.schema_of_operation(fact.target, "output")
                )
        return values

    def _of(self, schema: Mapping[str, Any]) -> Any:
        return plain_value(dict(schema), "", self.currency, self.amount)

    def by_leaf(self, values: dict[str, Any]) -> dict[Leaf, list[Any]]:
        """Return the values, by leaf, that may change the result of a formula."""
        candidates: dict[Leaf, list[Any]] = {}
        self._from_comparisons(values, candidates)
        for leaf in self.reader.read.leaves:
            candidates.setdefault(leaf, []).extend(self._from_type(leaf, get(values, leaf)))
            if leaf in self.reader.read.maybe:
                candidates[leaf].append(ABSENT)
        return {
            leaf: unique(v for v in options if v != get(values, leaf))
            for leaf, options in candidates.items()
            if options
        }

    def _from_comparisons(self, values: dict[str, Any], candidates: dict[Leaf, list[Any]]) -> None:
        read = self.reader.read
        for leaf, literals in read.literals.items():
            value = get(values, leaf)
            for literal in literals:
                candidates.setdefault(leaf, []).extend(v for v in both_sides(value, literal) if v is not None)
        for a, b, how in read.pairs:
            for leaf, other in ((a, b), (b, a)):
                value = get(values, other)
                if value is ABSENT:
                    continue
                if how == "==":
                    candidates.setdefault(leaf, []).extend([value, *_unlike(value)])
                else:
                    candidates.setdefault(leaf, []).extend(neighbours(value))

    def _from_type(self, leaf: Leaf, value: Any) -> list[Any]:
        options: list[Any] = []
        if isinstance(value, bool):
            options += [True, False]
        if isinstance(value, Money):
            if self._is_approved_amount(leaf):
                tiers = (t for p in self.definition.approvals.values() for t in p.tiers)
                bounds = [t.up_to for t in tiers if t.up_to is not None]
                bounds += [x.at_most for x in self.definition.limits.values() if x.at_most is not None]
                options += [Money(n, value.currency) for b in bounds for n in (b, b + 1)]
                if any(p.negative for p in self.definition.approvals.values()):
                    options += [Money(-n, value.currency) for b in bounds for n in (b, b + 1)]
            options += [Money(n, value.currency) for n in (0, 1, -1)]
        if isinstance(value, list) and value and any(leaf == self._items(e) for e in self.eaches):
            options += [[], [value[0], _second_item(value[0])]]
        return options

    def _is_approved_amount(self, leaf: Leaf) -> bool:
        """Return True if the amount of an approval is computed from this leaf."""
        for step in self.approves:
            if step.amount is not None:
                reader = LeafResolver(self.roots, self.lets)
                reader.look(step.amount.ast)
                if leaf in reader.read.leaves:
                    return True
        return False

    def _items(self, each: d.Each) -> Leaf | None:
        return self.reader.leaf(each.items.expression.ast) if isinstance(each.items, d.Formula) else None


def _beginning(start: d.Start) -> Expression | None:
    """Return the condition of a Run: that of its successors, where a constant `when` leaves all Runs to them."""
    if start.generation_event == start.event and start.when is not None and not start.when.names:
        where = start.generation_where
        return where if where is not None and where.names else None
    return start.when


def _unlike(value: Any) -> list[Any]:
    if isinstance(value, str):
        return ["EUR" if value == "USD" else "USD" if value == "EUR" else f"other-{value}"]
    return neighbours(value)[1:]


def _second_item(item: Any) -> Any:
    if isinstance(item, str):
        return item.removesuffix("-1") + "-2"
    if isinstance(item, dict):
        return {k: _second_item(v) if isinstance(v, str) and v.endswith("-1") else v for k, v in item.items()}
    return item
