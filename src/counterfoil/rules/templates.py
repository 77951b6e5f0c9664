"""Values of templates: literals stay, formulas are evaluated, `each` repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from counterfoil.core.errors import CounterfoilError
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression
from counterfoil.model.definition import Formula, Items, Literal, Record, Repeated, Template


class UnusableValue(CounterfoilError):
    """A formula gave a value that cannot be used in its place."""


FAULTS = (EvaluationError, BudgetExceeded, UnusableValue)
"""Errors of a formula that has no value in its place."""
Lookup = Callable[[str, tuple[Any, ...]], Any]


class Names(dict[str, Any]):
    """Names of formulas. A name without a value is computed when a formula reads it first."""

    __slots__ = ("compute",)

    def __init__(self, values: Mapping[str, Any], compute: Callable[[str], Any]) -> None:
        """`compute` raises KeyError for an unknown name."""
        super().__init__(values)
        self.compute = compute

    def __missing__(self, name: str) -> Any:
        value = self[name] = self.compute(name)
        return value


def names_with(names: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the names with more values, which hide those of the same name. What is computed when it is read stays so."""
    values = {**names, **more}
    return Names(values, names.compute) if isinstance(names, Names) else values


def fill(template: Template, names: Mapping[str, Any], lookup: Lookup | None = None) -> Any:
    """Return the template's value over these names. Raises what its formulas raise."""
    if type(template) is Formula:  # the usual case, and a type check is cheaper than matching
        return template.expression(names, lookup)
    match template:
        case Literal(value):
            return value
        case Record(fields):
            return {
                name: part.expression(names, lookup) if type(part) is Formula else fill(part, names, lookup)
                for name, part in fields.items()
            }
        case Items(items):
            return [fill(part, names, lookup) for part in items]
        case Repeated(each, name, data, when):
            out = []
            for element in fill(each, names, lookup):
                inner = names_with(names, {name: element})
                if when is None or when(inner, lookup) is True:
                    out.append(fill(data, inner, lookup))
            return out
    raise TypeError(f"not a template: {template!r}")


def truth(expression: Expression | None, names: Mapping[str, Any], lookup: Lookup | None = None) -> bool:
    """Return a predicate's value; an absent one is true. Any value but true is false."""
    return expression is None or expression(names, lookup) is True


def key(expression: Expression, names: Mapping[str, Any], lookup: Lookup | None = None) -> str:
    """Return a formula's value as the text of a key. Raises UnusableValue for null and empty text, lists and maps.

    Objects without a value would otherwise all share one key.
    """
    value = expression(names, lookup)
    if value is None or value == "" or isinstance(value, list | dict):
        raise UnusableValue(f"{expression.text} gives {value!r}, which is no key")
    return str(value)
