"""Functions that generated code calls: roots, look-ups, macros, and CEL's absorption of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import DecimalException
from typing import Any

from counterfoil.core.money import Money, MoneyError
from counterfoil.expr import values
from counterfoil.expr.errors import Fault, LookupNeeded
from counterfoil.expr.functions import FUNCTIONS
from counterfoil.expr.table_rows import missing_row
from counterfoil.expr.values import Budget, Value, charge, kind, kind_with_article

# Errors that && || first and the macros absorb. Never among them: BudgetExceeded, LookupNeeded, LookupFailure.
ABSORBED_ERRORS = (
    Fault, MoneyError, DecimalException, TypeError, ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError,
)  # fmt: skip


class LookupFailure(Exception):
    """Wrapper that carries an exception of a look-up callback through the evaluation unchanged."""

    def __init__(self, original: Exception) -> None:
        super().__init__(original)
        self.original = original


def _lookup(
    lookup: Callable[[str, tuple[object, ...]], object] | None, name: str, args: tuple[Value, ...]
) -> Value:
    if lookup is None:
        raise LookupFailure(Fault(f"{name}() is a look-up, and look-ups are not available here"))
    try:
        return lookup(name, args)
    except LookupNeeded:
        raise
    except Exception as error:
        raise LookupFailure(error) from error


def _row(
    lookup: Callable[[str, tuple[object, ...]], object] | None, name: str, args: tuple[Value, ...]
) -> Value:
    """Return the row of a look-up whose null is an error in its place."""
    value = _lookup(lookup, name, args)
    if value is None:
        raise Fault(missing_row(name, args))
    return value


def _root(bindings: Mapping[str, object], name: str) -> Value:
    try:
        return bindings[name]  # it may be computed now
    except KeyError:
        raise Fault(f"the name {name!r} is not available here") from None


def _items(value: Value, budget: Budget, weight: int) -> Any:
    if type(value) is not list and kind(value) not in ("list", "map"):
        raise Fault(f"cannot iterate over {kind_with_article(value)}; use a list or a map")
    charge(budget, 1 + len(value) * weight)
    return value


def _search(items: Iterable[Any], test: Callable[[Any], bool], sought: bool) -> bool:
    """Return `sought` if the test gives it for an item; otherwise raise the first absorbed error, or return the opposite."""
    problem: Exception | None = None
    for item in items:
        try:
            if test(item) is sought:
                return sought
        except ABSORBED_ERRORS as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return not sought


def _exists_one(items: Iterable[Value], test: Callable[[Value], bool]) -> bool:
    return sum([test(item) for item in items]) == 1


def _filter(items: Iterable[Value], test: Callable[[Value], bool]) -> list[Value]:
    return [item for item in items if test(item)]


def _map(items: Iterable[Value], body: Callable[[Value], Value]) -> list[Value]:
    return [body(item) for item in items]


def _map_some(
    items: Iterable[Value], test: Callable[[Value], bool], body: Callable[[Value], Value]
) -> list[Value]:
    return [body(item) for item in items if test(item)]


def _and(*terms: Callable[[], bool]) -> bool:
    return _search(terms, lambda term: term(), False)


def _or(*terms: Callable[[], bool]) -> bool:
    return _search(terms, lambda term: term(), True)


def _measured(value: Value, budget: Budget) -> Value:
    """Return the value if its elements, counted with repetitions, fit the budget: shared lists are small only in memory."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, list | dict):
            charge(budget, 1 + len(part))
            stack.extend(part if isinstance(part, list) else part.values())
    return value


def _first(*choices: Callable[[], Value]) -> Value:
    for choice in choices:
        try:
            value = choice()
        except Fault as fault:
            if not fault.absent:
                raise
        else:
            if value is not None:
                return value
    return None


_OPERATORS = (
    "add", "subtract", "multiply", "divide", "remainder", "negate", "truth", "less", "less_or_equal", "greater",
    "greater_or_equal", "equal", "contains", "select", "has", "index", "map_of", "round_factors",
)  # fmt: skip
"""Functions of `values` that generated code calls by their own names."""
# All names available to generated code; it has no builtins.
GLOBALS: dict[str, Any] = {
    "__builtins__": {},
    "type": type,
    "int": int,
    "Money": Money,
    "scalars": values.SCALARS,
    "lookup_": _lookup,
    "row_": _row,
    "root": _root,
    "items": _items,
    "search": _search,
    "exists_one": _exists_one,
    "filter_": _filter,
    "map_": _map,
    "map_some": _map_some,
    "measured": _measured,
    "and_": _and,
    "or_": _or,
    "first_": _first,
    **{name: getattr(values, name) for name in _OPERATORS},
} | {f"f_{name}": function.compute for name, function in FUNCTIONS.items()}
