"""Values of templates: literals stay, formulas are evaluated, `each` repeats."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from counterfoil.core.errors import CounterfoilError
from counterfoil.expr import (
    ROW_LOOKUPS,
    BudgetExceeded,
    EvaluationError,
    Expression,
    compile,
    decides,
    deciding_nodes,
    missing_row,
)
from counterfoil.expr.tree import LiteralNode as NullNode
from counterfoil.expr.tree import NameNode
from counterfoil.model.definition import Formula, Items, Literal, Record, Repeated, Template


class UnusableValue(CounterfoilError):
    """A formula gave a value that cannot be used in its place."""


FAULTS = (EvaluationError, BudgetExceeded, UnusableValue)
"""Errors of a formula that has no value in its place."""
Lookup = Callable[[str, tuple[Any, ...]], Any]


class LazyNames(dict[str, Any]):
    """Names of formulas. A name without a value is computed when a formula reads it first."""

    __slots__ = ("compute",)
    compute: Callable[[str], Any]
    """Raises KeyError for an unknown name."""

    def __missing__(self, name: str) -> Any:
        value = self[name] = self.compute(name)
        return value


def names_with(names: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the names with more values, which hide those of the same name. What is computed when it is read stays so."""
    if not isinstance(names, LazyNames):
        return {**names, **more}
    values = LazyNames(names)
    values.update(more)
    values.compute = names.compute
    return values


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


# ------------------------------------------------------------------ what is known


LASTING_LOOKUPS = frozenset({"table", "fx", "period", "cutoff"})
"""Look-ups whose answers do not depend on what a Run does."""


def expressions_of(template: Template) -> Iterator[Expression]:
    """Yield the formulas of a template."""
    match template:
        case Formula(expression):
            yield expression
        case Record(fields):
            for part in fields.values():
                yield from expressions_of(part)
        case Items(items):
            for part in items:
                yield from expressions_of(part)
        case Repeated(each, _, data, when):
            yield from expressions_of(each)
            yield from expressions_of(data)
            if when is not None:
                yield when


def depends_on(
    expression: Expression, unknown: Collection[str], lasting: frozenset[str] = LASTING_LOOKUPS
) -> bool:
    """Return True if a formula reads one of these names or dotted paths, or looks up what is not lasting."""
    if not expression.lookup_calls <= lasting:
        return True
    if not expression.paths_and_parents.isdisjoint(unknown):
        return True
    return any(name.startswith(f"{path}.") for name in unknown if "." in name for path in expression.paths)


def known_part(
    template: Template,
    unknown: Collection[str],
    missing: set[str],
    place: str = "",
    lasting: frozenset[str] = LASTING_LOOKUPS,
) -> Template | None:
    """Return the part of a template that does not depend on unknown names, or None.

    The places of what is left out, as dotted paths, are added to `missing`. A list is known as a whole or left out, but
    its known part is returned, so that it can be tried.
    """
    match template:
        case Formula(expression):
            if not depends_on(expression, unknown, lasting):
                return template
            missing.add(place)
            return None
        case Record(fields):
            parts = {
                name: known_part(part, unknown, missing, f"{place}.{name}" if place else name, lasting)
                for name, part in fields.items()
            }
            return Record({name: part for name, part in parts.items() if part is not None})
        case Items(items):
            inner: set[str] = set()
            elements = [known_part(part, unknown, inner, place, lasting) for part in items]
            missing |= {place} if inner else set()
            return Items(tuple(part for part in elements if part is not None))
        case Repeated(each, name, data, when):
            inner = set()
            source = known_part(each, unknown, inner, place, lasting)
            below = {u for u in unknown if u.partition(".")[0] != name}
            if inner or source is None or (when is not None and depends_on(when, below, lasting)):
                missing.add(place)
                return None
            part = known_part(data, below, inner, place, lasting)
            missing |= {place} if inner else set()
            return None if part is None else Repeated(source, name, part, when)
    return template


def says_null(expression: Expression, names: Mapping[str, Any], lookup: Lookup | None) -> bool:
    """Return True if a formula that is null says `null` itself, in the branch that counts or as the last choice."""
    other = _without_null(expression)
    return other is not None and other(names, lookup) is not None


@lru_cache(maxsize=256)
def _without_null(expression: Expression) -> Expression | None:
    """Return the formula with a text for each `null` that may be its value; None if it has none."""
    text, nodes = expression.text, list(deciding_nodes(expression.ast))
    nulls = [node for node in nodes if isinstance(node, NullNode) and node.value is None]
    for node in sorted(nulls, key=lambda node: -node.start):
        text = f"{text[: node.start]}'?'{text[node.end :]}"
    return compile(text, units=expression.units) if nulls else None


def may_be_null_by(expression: Expression, name: str) -> bool:
    """Return True if the value of this name may be that of the whole formula."""
    nodes = deciding_nodes(expression.ast)
    return any(isinstance(node, NameNode) and node.name == name for node in nodes)


def row_not_found(expression: Expression, names: Mapping[str, Any], lookup: Lookup | None) -> str:
    """Return the message about the row of a table without which a formula is null; empty if no row is missing.

    A formula that says `null` itself is null by its own will. The formula is evaluated again, so this is called for formulas
    that are null only.
    """
    if lookup is None or expression.lookup_calls.isdisjoint(ROW_LOOKUPS):
        return ""
    if says_null(expression, names, lookup):
        return ""
    message = ""

    def recorded(name: str, args: tuple[Any, ...]) -> Any:
        nonlocal message
        value = lookup(name, args)
        if value is None and name in ROW_LOOKUPS and decides(expression.ast, name, args):
            message = missing_row(name, args)
        return value

    expression(names, recorded)
    return message


def names_place(error: EvaluationError, name: str) -> bool:
    """Return True if the part of the formula that an error is about reads this name."""
    place = error.text[error.offset : error.offset + error.length]
    return re.search(rf"\b{re.escape(name)}\b", place) is not None


# ------------------------------------------------------------------ predicates and keys


def truth(expression: Expression | None, names: Mapping[str, Any], lookup: Lookup | None = None) -> bool:
    """Return a predicate's value; an absent one is true. Any value but true is false."""
    return expression is None or expression(names, lookup) is True


def key(expression: Expression, names: Mapping[str, Any], lookup: Lookup | None = None) -> str:
    """Return a formula's value as the text of a key. Raises UnusableValue for null and empty text, lists and maps.

    Objects without a value would otherwise all share one key.
    """
    value = expression(names, lookup)
    if value is None and (missing := row_not_found(expression, names, lookup)):
        raise UnusableValue(missing)
    if value is None or value == "" or isinstance(value, list | dict):
        raise UnusableValue(f"{expression.text} gives {value!r}, which is no key")
    return str(value)
