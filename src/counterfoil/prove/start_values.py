"""The start values of a Run: one representative for each way in which the workflow's formulas can come out.

Two sets of values are the same if every check, `when`, branch, tier and list comes out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations, islice
from typing import Any, TypeAlias

from counterfoil.core.money import Money, MoneyError
from counterfoil.expr import Expression
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.prove.candidates import Candidates, Goal
from counterfoil.prove.input_values import ABSENT, LIKE, Leaf, get, put
from counterfoil.prove.lookup_model import BEGIN, FORMULA_ERRORS, LookupModel, conjuncts_of, evaluate
from counterfoil.prove.start_names import start_names
from counterfoil.rules import approval_matrix as matrix
from counterfoil.rules.envelope import entity_of_start
from counterfoil.rules.templates import LazyNames, fill

MAX_STARTS = 16
"""Sets of start values that are explored."""
MAX_COMBINATIONS = 6_000
"""Combinations of candidate values that are tried."""
MAX_CLIMBS = 6

ValueChange: TypeAlias = tuple[Leaf, Any]


@dataclass(frozen=True)
class StartValues:
    """The values of one start. `values` by root: `event`, `input`, `head:<object>`, `read:<operation>`."""

    number: int
    values: Mapping[str, Any]
    text: str
    """The values that differ from the plain ones, for people."""

    @property
    def heads(self) -> dict[str, Any]:
        return {root[5:]: state for root, state in self.values.items() if root.startswith("head:")}


class StartValueFinder:
    """Finds the start values of one workflow."""

    def __init__(
        self, model: Model, definition: d.Definition, watched: tuple[Expression, ...] = (), entity: str = ""
    ) -> None:
        self.model = model
        self.entity = entity
        self.definition = definition
        self.candidates = Candidates(model, definition, watched)
        self._computed: dict[str, Callable[[LazyNames, LookupModel, Mapping[str, Any]], Any]] = {
            **{fact.name: partial(self._fact, fact) for fact in definition.facts},
            **{name: partial(_let, expression) for name, expression in definition.let},
        }
        """Names that are computed when a formula reads them."""

    def find(self) -> list[StartValues]:
        """Return the plain values first, then those that differ by one or two values, then those of unmet goals."""
        goals: list[Goal] = [(must, True) for must in self.candidates.musts]
        plain = self._climb(self.candidates.plain_values(), goals)
        starts: dict[tuple[Any, ...], tuple[dict[str, Any], str]] = {self.signature(plain): (plain, "")}
        singles = self._singles(plain)
        tried = 0
        for size in (1, 2):
            for changes in combinations(singles, size):
                if len({leaf for leaf, _ in changes}) < size:
                    continue
                tried += 1
                if tried > MAX_COMBINATIONS or len(starts) >= MAX_STARTS:
                    break
                values = _with(plain, changes)
                starts.setdefault(self.signature(values), (values, _describe(changes)))
        for goal in self.candidates.goals:
            if not any(self.score(values, goal)[0] == 0 for values, _ in starts.values()):
                values = self._climb(plain, [*goals, *goal])
                starts.setdefault(self.signature(values), (values, _describe(_changes(plain, values))))
        return [StartValues(n, values, text) for n, (values, text) in enumerate(starts.values())]

    def _singles(self, values: dict[str, Any]) -> list[ValueChange]:
        return [(leaf, v) for leaf, options in self.candidates.by_leaf(values).items() for v in options]

    def _climb(self, values: dict[str, Any], goals: list[Goal]) -> dict[str, Any]:
        """Return values that meet the goals, as far as changing one or two values at a time leads there."""
        score = self.score(values, goals)
        for _ in range(MAX_CLIMBS):
            if score[0] == 0:
                break
            best = (score, values)
            singles = self._singles(values)
            for size in (1, 2):
                for changes in islice(combinations(singles, size), MAX_COMBINATIONS):
                    changed = _with(values, changes)
                    changed_score = self.score(changed, goals)
                    if changed_score < best[0]:
                        best = (changed_score, changed)
                    if changed_score[0] == 0:
                        break
                if best[0] < score:
                    break
            if best[0] >= score:
                break
            score, values = best
        return values

    def score(self, values: dict[str, Any], goals: list[Goal]) -> tuple[int, int]:
        """Return the number of unmet goals, and the number of failing conjuncts of those that should hold."""
        names, lookups = self.names(values), self._lookups(values)
        unmet = failing = 0
        for formula, expected in goals:
            if evaluate(formula, names, lookups) is not expected:
                unmet += 1
                if expected:
                    failing += sum(evaluate(e, names, lookups) is not True for e in conjuncts_of(formula))
        return unmet, failing

    def signature(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """Return the results of everything that decides on the Run's path."""
        names, lookups = self.names(values), self._lookups(values)
        watched = self.candidates.watched
        for n, must in enumerate(self.candidates.musts):
            result = evaluate(must, names, lookups)
            if result is not True:  # the Run stops here
                return (n, _kind(result), *(_kind(evaluate(e, names, lookups)) for e in watched))
        results: list[Any] = [_kind(evaluate(e, names, lookups)) for _, e in self.candidates.predicates]
        results += [_kind(evaluate(e, names, lookups)) for e in watched]
        for step in self.candidates.approves:
            results += self._approval_results(step, names, lookups)
        for each in self.candidates.eaches:
            try:
                items = fill(each.items, names, lookups.ask)
            except FORMULA_ERRORS:
                items = None
            results.append(min(len(items), 3) if isinstance(items, list) else -1)
        for a, b, how in self.candidates.amount_pairs:
            results.append(_order(get(values, a), get(values, b), how))
        return tuple(results)

    def _approval_results(self, step: d.Approve, names: Mapping[str, Any], lookups: LookupModel) -> list[Any]:
        amount = evaluate(step.amount, names, lookups) if step.amount is not None else None
        if not isinstance(amount, Money):
            return [type(amount).__name__]
        policy = self.definition.approvals[step.policy]
        limit = self.definition.limits.get(step.reserve or "")
        if matrix.refused_sign(policy, amount) or (limit is not None and matrix.refused_sign(limit, amount)):
            return ["refused"]
        try:
            worth = matrix.in_currency(amount, policy.currency, policy.rates, lookups.ask)
        except FORMULA_ERRORS:
            worth = None
        tier = matrix.tier_for(policy, worth) if worth is not None else None
        results: list[Any] = [None if tier is None else (tier.automatic, tier.quorum), amount.minor < 0]
        if limit is not None and limit.at_most is not None:
            results.append(abs(amount.minor) > limit.at_most)
        return results

    # ------------------------------------------------------------------ names

    def names(self, values: Mapping[str, Any]) -> LazyNames:
        """Return the names that formulas read before the first step, as far as they have a value."""
        names = LazyNames(start_names(self.definition, values, self.entity))
        entity = self.definition.envelope.entity(entity_of_start(names))
        if entity is not None:
            names["entity"] = dict(entity)
        lookups = self._lookups(values)
        without_value = set[str]()

        def compute(name: str) -> Any:
            if name not in without_value and name in self._computed:
                without_value.add(name)  # also while it is computed: a let that reads itself has no value
                try:
                    value = self._computed[name](names, lookups, values)
                except FORMULA_ERRORS:
                    raise KeyError(name) from None
                without_value.discard(name)
                return value
            raise KeyError(name)

        names.compute = compute
        return names

    def _fact(
        self, fact: d.Fact, names: Mapping[str, Any], lookups: LookupModel, values: Mapping[str, Any]
    ) -> Any:
        if fact.source == "read":
            return values[f"read:{fact.target}"]
        if fact.source == "limit":
            currency = self.definition.limits[fact.target].currency
            if currency == d.OF_AMOUNT and fact.of is not None:
                currency = str(fact.of(names, lookups.ask))
            return Money(0, currency)
        key = str(fact.of(names, lookups.ask)) if fact.of is not None else "key"
        return lookups.ask("xref" if fact.source == "xref" else "head", (fact.target, key))

    def _lookups(self, values: Mapping[str, Any]) -> LookupModel:
        heads = {root[5:]: state for root, state in values.items() if root.startswith("head:")}
        return LookupModel(self.model, heads, BEGIN)


def _let(
    expression: Expression, names: Mapping[str, Any], lookups: LookupModel, _values: Mapping[str, Any]
) -> Any:
    return expression(names, lookups.ask)


def _kind(value: Any) -> Any:
    """Return a bool itself, the name of an error's type, or `value`."""
    if isinstance(value, bool):
        return value
    return type(value).__name__ if isinstance(value, Exception) else "value"


def _order(a: Any, b: Any, how: str) -> Any:
    try:
        if how == "==":
            return bool(a == b)
        return (a > b) - (a < b)
    except (TypeError, MoneyError):
        return LIKE


def _with(values: dict[str, Any], changes: Iterable[ValueChange]) -> dict[str, Any]:
    for leaf, value in changes:
        values = put(values, leaf, value)
    return values


def _changes(before: Any, after: Any, path: Leaf = ()) -> list[ValueChange]:
    """Return the leaves whose values differ, with the new values."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [(path, after)]
    changes = []
    for name in {**before, **after}:
        changes += _changes(before.get(name, ABSENT), after.get(name, ABSENT), (*path, name))
    return changes


def _describe(changes: Iterable[ValueChange]) -> str:
    return ", ".join(f"{'.'.join(_visible_path(leaf))} {_describe_value(value)}" for leaf, value in changes)


def _visible_path(leaf: Leaf) -> tuple[str, ...]:
    root = leaf[0].partition(":")[2] or leaf[0]
    return (root, *leaf[1:])


def _describe_value(value: Any) -> str:
    if value is ABSENT:
        return "is absent"
    if isinstance(value, list):
        return f"has {len(value)} items"
    return f"is {value}"
