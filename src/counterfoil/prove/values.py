"""What a Run begins with: one representative for each way in which the workflow's formulas may come out.

Values come from schemas, and from what formulas and matrices compare them with. Two beginnings on which every check,
`when`, branch, tier and list comes out alike are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.money import Money, MoneyError
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression, LookupNeeded
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.model.fields import object_schema
from counterfoil.prove.input_values import (
    ABSENT,
    LIKE,
    Leaf,
    LeafResolver,
    base,
    beside,
    get,
    near,
    put,
    unique,
)
from counterfoil.prove.lookup_model import BEGIN, LookupModel
from counterfoil.rules import approval as matrix
from counterfoil.rules.ownership import REQUESTED_BY
from counterfoil.rules.templates import UnusableValue, fill
from counterfoil.rules.values import event_names
from counterfoil.rules.workflow.context import blocks_of

FAULTS = (EvaluationError, BudgetExceeded, LookupNeeded, UnusableValue, MoneyError)
MOST = 16
"""Beginnings that are explored."""
TRIED = 6_000
"""Combinations of values that are looked at for them."""
AMOUNT = 10_000
"""Minor units of an amount of which nothing is known."""


Goal = tuple[Expression, bool]
"""A formula, and how it is to come out."""


@dataclass(frozen=True)
class StartValues:
    """One way in which a Run may begin. `values` by root: `event`, `input`, `head:<object>`, `read:<operation>`."""

    number: int
    values: Mapping[str, Any]
    told: str
    """The values that tell it from the plain one, in words."""

    @property
    def heads(self) -> dict[str, Any]:
        return {root[5:]: state for root, state in self.values.items() if root.startswith("head:")}


class StartValueFinder:
    """Finds the beginnings of one workflow."""

    def __init__(self, model: Model, definition: d.Definition, watched: tuple[Expression, ...] = ()) -> None:
        self.model = model
        self.definition = definition
        self.watched = watched
        self.currency = next((p.currency for p in definition.approvals.values()), "USD")
        self.amount = max(
            [t.up_to * 2 for p in definition.approvals.values() for t in p.tiers if t.up_to], default=AMOUNT
        )
        self.roots = _roots(definition)
        self.lets = {name: e.ast for name, e in definition.let}
        self.reader = LeafResolver(self.roots, self.lets)
        self.predicates: list[tuple[str, Expression]] = []
        """Formulas that lead the Run, with what makes the plain one `must` hold."""
        self.musts: list[Expression] = []
        self.weighed: list[tuple[Leaf, Leaf, str]] = []
        """Amounts whose order counts, whatever else comes out."""
        self.goals: list[list[Goal]] = []
        """What is to come out in some beginning: each `when` both ways, each branch taken."""
        self._gather()

    # ------------------------------------------------------------------ what matters

    def _gather(self) -> None:
        for address, block in blocks_of(self.definition).items():
            for step in block.steps:
                if step.when is not None:
                    self.predicates.append((f"{step.path} when", step.when))
                    self.goals += [[(step.when, True)], [(step.when, False)]]
                match step:
                    case d.Check():
                        self.predicates.append((step.path, step.check))
                        if address == "":
                            self.musts.append(step.check)
                    case d.Choose():
                        before: list[Goal] = []
                        for n, (when, _) in enumerate(step.branches):
                            self.predicates.append((f"{step.path} {n}", when))
                            self.goals.append([*before, (when, True)])
                            before.append((when, False))
                    case d.Call():
                        self.predicates += [
                            (f"{step.path} undo", c.when) for c in step.undo if c.when is not None
                        ]
        if self.definition.start.when is not None:
            self.musts.append(self.definition.start.when)
        for expression in [
            *self._expressions(),
            *(e for _, e in self.predicates),
            *self.musts,
            *self.watched,
        ]:
            self.reader.look(expression.ast)

        self._weigh()

    def _weigh(self) -> None:
        """Amounts that the workflow's own invariants read are compared with every other."""
        reader = LeafResolver(self.roots, self.lets)
        for expression in self.watched:
            reader.look(expression.ast)
        if not reader.read.leaves:
            return
        values = self._base()
        begun = [(root, name) for root in ("event", "input") for name in values.get(root, {})]
        others = unique([*self.reader.read.leaves, *begun])
        for leaf in reader.read.leaves:
            for other in others:
                both = (get(values, leaf), get(values, other))
                if leaf != other and all(isinstance(v, Money) for v in both):
                    self.reader.read.pairs.append((leaf, other, "<"))
                    self.weighed.append((leaf, other, "<"))

    def _expressions(self) -> Iterator[Expression]:
        for _, expression in self.definition.let:
            yield expression
        for step in self._approves():
            if step.amount is not None:
                yield step.amount
            yield from step.covers
        for each in self._eaches():
            if isinstance(each.items, d.Formula):
                yield each.items.expression

    def _approves(self) -> list[d.Approve]:
        return [s for b in blocks_of(self.definition).values() for s in b.steps if isinstance(s, d.Approve)]

    def _eaches(self) -> list[d.Each]:
        return [s for b in blocks_of(self.definition).values() for s in b.steps if isinstance(s, d.Each)]

    # ------------------------------------------------------------------ the plain one

    def _base(self) -> dict[str, Any]:
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
        return base(dict(schema), "", self.currency, self.amount)

    def _candidates(self, values: dict[str, Any]) -> dict[Leaf, list[Any]]:
        """Values by leaf that may lead elsewhere."""
        read = self.reader.read
        found: dict[Leaf, list[Any]] = {}
        for leaf, literals in read.literals.items():
            here = get(values, leaf)
            for literal in literals:
                found.setdefault(leaf, []).extend(v for v in beside(here, literal) if v is not None)
        for a, b, how in read.pairs:
            for one, other in ((a, b), (b, a)):
                value = get(values, other)
                if value is ABSENT:
                    continue
                if how == "==":
                    found.setdefault(one, []).extend([value, *_unlike(value)])
                else:
                    found.setdefault(one, []).extend(near(value))
        for leaf in read.leaves:
            here = get(values, leaf)
            if isinstance(here, bool):
                found.setdefault(leaf, []).extend([True, False])
            if isinstance(here, Money) and self._amounts(leaf):
                tiers = (t for p in self.definition.approvals.values() for t in p.tiers)
                bounds = [t.up_to for t in tiers if t.up_to is not None]
                bounds += [x.at_most for x in self.definition.limits.values() if x.at_most is not None]
                found.setdefault(leaf, []).extend(Money(n, here.currency) for b in bounds for n in (b, b + 1))
            if isinstance(here, Money):
                found.setdefault(leaf, []).extend(Money(n, here.currency) for n in (0, 1, -1))
            if isinstance(here, list) and here and any(leaf == self._items(e) for e in self._eaches()):
                found.setdefault(leaf, []).extend([[], [here[0], _another(here[0])]])
            if leaf in read.maybe:
                found.setdefault(leaf, []).append(ABSENT)
        return {leaf: unique(v for v in all_ if v != get(values, leaf)) for leaf, all_ in found.items()}

    def _amounts(self, leaf: Leaf) -> bool:
        """Does an approval's amount rest on this leaf?"""
        for step in self._approves():
            if step.amount is not None:
                reader = LeafResolver(self.roots, self.lets)
                reader.look(step.amount.ast)
                if leaf in reader.read.leaves:
                    return True
        return False

    def _items(self, each: d.Each) -> Leaf | None:
        return self.reader.leaf(each.items.expression.ast) if isinstance(each.items, d.Formula) else None

    # ------------------------------------------------------------------ finding them

    def find(self) -> list[StartValues]:
        goals: list[Goal] = [(must, True) for must in self.musts]
        plain = self._climb(self._base(), goals)
        kept: dict[tuple[Any, ...], tuple[dict[str, Any], str]] = {self.signature(plain): (plain, "")}
        singles = self._singles(plain)
        tried = 0
        for size in (1, 2):
            for change in combinations(singles, size):
                if len({leaf for leaf, _ in change}) < size:
                    continue
                tried += 1
                if tried > TRIED or len(kept) >= MOST:
                    break
                values = _with(plain, change)
                kept.setdefault(self.signature(values), (values, _told(change)))
        for wanted in self.goals:
            if not any(self._score(values, wanted)[0] == 0 for values, _ in kept.values()):
                values = self._climb(plain, [*goals, *wanted])
                kept.setdefault(self.signature(values), (values, _told(_changes(plain, values))))
        return [StartValues(n, values, told) for n, (values, told) in enumerate(kept.values())]

    def _singles(self, values: dict[str, Any]) -> list[tuple[Leaf, Any]]:
        return [(leaf, v) for leaf, all_ in self._candidates(values).items() for v in all_]

    def _climb(self, values: dict[str, Any], goals: list[Goal]) -> dict[str, Any]:
        """Values on which the goals are met, as far as changing one or two of them at a time leads there."""
        score = self._score(values, goals)
        for _ in range(6):
            if score[0] == 0:
                break
            best = (score, values)
            singles = self._singles(values)
            for size in (1, 2):
                for change in islice(combinations(singles, size), TRIED):
                    tried = _with(values, change)
                    found = self._score(tried, goals)
                    if found < best[0]:
                        best = (found, tried)
                    if found[0] == 0:
                        break
                if best[0] < score:
                    break
            if best[0] >= score:
                break
            score, values = best
        return values

    def _score(self, values: dict[str, Any], goals: list[Goal]) -> tuple[int, int]:
        """Goals that are not met; and how many of the conjuncts of those that are to hold do not."""
        names, outside = self.names(values), self._outside(values)
        wrong = parts = 0
        for goal, wanted in goals:
            if _value(goal, names, outside) is not wanted:
                wrong += 1
                if wanted:
                    parts += sum(_value(e, names, outside) is not True for e in _conjuncts(goal))
        return wrong, parts

    def signature(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """How everything comes out that leads the Run."""
        names, outside = self.names(values), self._outside(values)
        for n, must in enumerate(self.musts):
            came_out = _value(must, names, outside)
            if came_out is not True:  # what would come behind it does not come
                return (n, _kind(came_out), *(_kind(_value(e, names, outside)) for e in self.watched))
        found: list[Any] = [_kind(_value(e, names, outside)) for _, e in self.predicates]
        found += [_kind(_value(e, names, outside)) for e in self.watched]
        for step in self._approves():
            amount = _value(step.amount, names, outside) if step.amount is not None else None
            if isinstance(amount, Money):
                policy = self.definition.approvals[step.policy]
                try:
                    worth = matrix.in_currency(amount, policy.currency, policy.rates, outside.ask)
                except FAULTS:
                    worth = None
                tier = matrix.tier_for(policy, worth) if worth is not None else None
                found.append(None if tier is None else (tier.automatic, tier.quorum))
                limit = self.definition.limits.get(step.reserve or "")
                if limit is not None and limit.at_most is not None:
                    found.append(amount.minor > limit.at_most)
            else:
                found.append(type(amount).__name__)
        for each in self._eaches():
            try:
                items = fill(each.items, names, outside.ask)
            except FAULTS:
                items = None
            found.append(min(len(items), 3) if isinstance(items, list) else -1)
        for a, b, how in self.weighed:
            found.append(_order(get(values, a), get(values, b), how))
        return tuple(found)

    def names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What formulas read before the first step, as far as it has a value."""
        names = begin(self.definition, values)
        outside = self._outside(values)
        for fact in self.definition.facts:
            try:
                names[fact.name] = self._fact(fact, names, values, outside)
            except FAULTS:
                continue
        for name, expression in self.definition.let:
            value = _value(expression, names, outside)
            if not isinstance(value, Exception):
                names[name] = value
        return names

    def _fact(
        self, fact: d.Fact, names: Mapping[str, Any], values: Mapping[str, Any], outside: LookupModel
    ) -> Any:
        if fact.source == "read":
            return values[f"read:{fact.target}"]
        if fact.source == "limit":
            return Money(0, self.definition.limits[fact.target].currency)
        key = str(fact.of(names, outside.ask)) if fact.of is not None else "key"
        return outside.ask("xref" if fact.source == "xref" else "head", (fact.target, key))

    def _outside(self, values: Mapping[str, Any]) -> LookupModel:
        heads = {root[5:]: state for root, state in values.items() if root.startswith("head:")}
        return LookupModel(self.model, heads, BEGIN)


def begin(definition: d.Definition, values: Mapping[str, Any]) -> dict[str, Any]:
    """The names with which a Run is begun: `event`, or `object` with its key, or `input`."""
    start = definition.start
    names: dict[str, Any] = {
        "run": {
            "id": "run-1", "key": "key-1", "generation": values["run"]["generation"], "state": "started",
            "workflow": definition.name, "direction": "forward", "started": BEGIN,
        }
    }  # fmt: skip
    if start.event is not None:
        names["event"] = event_names(event_of(start.event, values["event"], 0))
    elif start.due_object is not None:
        state = values[f"head:{start.due_object}"]
        key = f"{start.due_object}-1"
        names["object"] = {"version": 1, "effective_at": BEGIN, "recorded_at": BEGIN, **state, "id": key}
        names["object_key"] = key
    else:
        names["input"] = values["input"]
        # As the gateway tells of a call: its data is the input, and who called.
        called = {**values["input"], REQUESTED_BY: "caller"}
        names["event"] = event_names(event_of(f"{start.operation}.called", called, 0))
    return names


def event_of(type_: str, data: dict[str, Any], number: int) -> CanonicalEvent:
    return CanonicalEvent(
        id=f"{type_}#{number}",
        type=type_,
        system="outside",
        object="",
        key=f"{type_}#{number}",
        version=number,
        data=data,
        occurred_at=BEGIN,
        effective_at=BEGIN,
        received_at=BEGIN,
    )


def _roots(definition: d.Definition) -> dict[str, Leaf]:
    start = definition.start
    again = start.generation is not None or start.generation_event is not None
    roots: dict[str, Leaf] = {"run": ("run",)} if again else {}
    if start.event is not None:
        roots["event"] = ("event",)
    if start.due_object is not None:
        roots["object"] = (f"head:{start.due_object}",)
    if start.operation is not None:
        roots["input"] = ("input",)
    for fact in definition.facts:
        if fact.source in ("head", "read"):
            roots[fact.name] = (f"{fact.source}:{fact.target}",)
    return roots


def _conjuncts(expression: Expression) -> list[Expression]:
    from counterfoil.expr import compile, conjuncts

    parts = conjuncts(expression.ast)
    return [compile(expression.text[p.start : p.end]) for p in parts] if len(parts) > 1 else [expression]


def _value(expression: Expression, names: Mapping[str, Any], outside: LookupModel) -> Any:
    try:
        return expression(names, outside.ask)
    except FAULTS as error:
        return error


def _kind(value: Any) -> Any:
    return (
        value
        if isinstance(value, bool)
        else type(value).__name__
        if isinstance(value, Exception)
        else "value"
    )


def _order(a: Any, b: Any, how: str) -> Any:
    try:
        if how == "==":
            return bool(a == b)
        return (a > b) - (a < b)
    except (TypeError, MoneyError):
        return LIKE


def _unlike(value: Any) -> list[Any]:
    if isinstance(value, str):
        return ["EUR" if value == "USD" else "USD" if value == "EUR" else f"other-{value}"]
    return near(value)[1:]


def _another(item: Any) -> Any:
    if isinstance(item, str):
        return item.removesuffix("-1") + "-2"
    if isinstance(item, dict):
        return {k: _another(v) if isinstance(v, str) and v.endswith("-1") else v for k, v in item.items()}
    return item


def _with(values: dict[str, Any], change: Iterable[tuple[Leaf, Any]]) -> dict[str, Any]:
    for leaf, value in change:
        values = put(values, leaf, value)
    return values


def _changes(before: Any, after: Any, path: Leaf = ()) -> list[tuple[Leaf, Any]]:
    """Leaves whose values differ."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [(path, after)]
    found = []
    for name in {**before, **after}:
        found += _changes(before.get(name, ABSENT), after.get(name, ABSENT), (*path, name))
    return found


def _told(change: Iterable[tuple[Leaf, Any]]) -> str:
    return ", ".join(f"{'.'.join(_shown_root(leaf))} {shown(value)}" for leaf, value in change)


def _shown_root(leaf: Leaf) -> tuple[str, ...]:
    root = leaf[0].partition(":")[2] or leaf[0]
    return (root, *leaf[1:])


def shown(value: Any) -> str:
    """A value in words."""
    if value is ABSENT:
        return "is absent"
    if isinstance(value, list):
        return f"has {len(value)} items"
    return f"is {value}"
