"""Statements about instances of one type, joined by and, or, and exactly-one; each has an opposite.

A formula is True, False, `("and", parts)`, `("or", parts)`, `("one", parts)` for exactly one of them, `("notone", parts)`,
`("lit", positive, number)` for another schema at the same instance, or a statement `(name, ...)`. `opposite` lists the
statements of each type and their opposites.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, TypeAlias

Formula: TypeAlias = Any
Literal: TypeAlias = tuple[bool, int]
"""True and the number of a schema for instances in it; false for instances outside it."""

TYPES = ("string", "object", "number", "array", "boolean", "null")


def all_of(parts: Iterable[Formula]) -> Formula:
    """Return the conjunction, simplified."""
    return _join("and", parts, unit=True)


def any_of(parts: Iterable[Formula]) -> Formula:
    """Return the disjunction, simplified."""
    return _join("or", parts, unit=False)


def _join(kind: str, parts: Iterable[Formula], *, unit: bool) -> Formula:
    simplified: list[Formula] = []
    for part in parts:
        if part is unit:
            continue
        if isinstance(part, bool):
            return part
        simplified.extend(part[1] if part[0] == kind else [part])
    if len(simplified) == 1:
        return simplified[0]
    return (kind, tuple(dict.fromkeys(simplified))) if simplified else unit


def negate(formula: Formula) -> Formula:
    """Return the negation of a formula."""
    if isinstance(formula, bool):
        return not formula
    if formula[0] == "and":
        return any_of(negate(part) for part in formula[1])
    if formula[0] == "or":
        return all_of(negate(part) for part in formula[1])
    if formula[0] == "lit":
        return ("lit", not formula[1], formula[2])
    return opposite(formula)


def _not(literal: Literal) -> Literal:
    return (not literal[0], literal[1])


PAIRS = {"oneof": "noneof", "multiple": "nomultiple", "integer": "fraction", "pattern": "nopattern"}
PAIRS |= {"format": "noformat", "opaque": "noopaque", "required": "absent", "unique": "repeats"}
PAIRS |= {"one": "notone"}
PAIRS |= {negative: positive for positive, negative in PAIRS.items()}


def opposite(atom: Formula) -> Formula:
    """Return the formula that holds exactly if the statement does not, for instances of its type."""
    name, *rest = atom
    match name:
        case "min" | "max":
            return ("max" if name == "min" else "min", rest[0], not rest[1])
        case "minlen" | "minprops" | "minitems":
            return ("max" + name[3:], rest[0] - 1)
        case "maxlen" | "maxprops" | "maxitems":
            return ("min" + name[3:], rest[0] + 1)
        case "prop":
            return all_of([("required", rest[0]), ("prop", rest[0], _not(rest[1]))])
        case "every":
            return ("some", *rest[:3], _not(rest[3]))
        case "some":
            return ("every", *rest[:3], _not(rest[3]))
        case "names" | "somename":
            return ("somename" if name == "names" else "names", _not(rest[0]))
        case "item":
            return all_of([("minitems", rest[0] + 1), ("item", rest[0], _not(rest[1]))])
        case "rest" | "somerest":
            return ("somerest" if name == "rest" else "rest", rest[0], _not(rest[1]))
        case "contains":
            literal, low, high = rest
            few = ("contains", literal, 0, low - 1) if low > 0 else False
            many = ("contains", literal, high + 1, None) if high is not None else False
            return any_of([few, many])
        case _:
            return (PAIRS[name], *rest)


def number(value: Any) -> Fraction | None:
    """Return the exact number; `0.1` is one tenth. None if the value is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except ValueError:
        return None


def count(value: Any) -> int | None:
    """Return the value as an int if it is whole."""
    exact = number(value)
    return int(exact) if exact is not None and exact.denominator == 1 else None
