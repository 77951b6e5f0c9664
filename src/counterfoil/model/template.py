"""Templates: trees of literals and formulas, compiled for definitions and read by checks; and lets and facts in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from counterfoil import expr
from counterfoil.core.minor_units import MinorUnits
from counterfoil.expr import Expression, ExpressionError
from counterfoil.model import kinds
from counterfoil.model.definition import Formula, Items, Literal, Record, Repeated, Template, Until
from counterfoil.model.kinds import seconds
from counterfoil.model.source import Path

T = TypeVar("T")

_DURATION = re.compile(r"\+?\d+(ms|s|m|h|d)")
_REPEATED = frozenset({"each", "as", "data"})


def text_of(formula: str) -> str:
    """Return the expression text of a formula, without the leading `=`."""
    return formula.removeprefix("=")


@lru_cache(maxsize=16_384)
def _compiled(text: str, units: MinorUnits | None) -> Expression:
    return expr.compile(text, units=units)


def formula(text: str, units: MinorUnits | None = None) -> Expression:
    """Return a compiled formula; equal texts share one. `units`: the system of the mapping that the formula is in."""
    return _compiled(text_of(text), units)


def optional(text: str | None, units: MinorUnits | None = None) -> Expression | None:
    return None if text is None else formula(text, units)


def is_formula(value: object) -> bool:
    return isinstance(value, str) and value.startswith("=")


def is_repeated(value: object) -> bool:
    """Return True for a mapping of exactly each/as/data, with or without `when`."""
    return isinstance(value, dict) and (value.keys() == _REPEATED or value.keys() == _REPEATED | {"when"})


def compile_template(value: Any, units: MinorUnits | None = None) -> Template:
    """Compile a template from its plain form."""
    if is_formula(value):
        return Formula(formula(value, units))
    if is_repeated(value):
        items, data = compile_each(value["each"], units), compile_template(value["data"], units)
        return Repeated(items, value["as"], data, optional(value.get("when"), units))
    if isinstance(value, dict):
        return record(value, units)
    if isinstance(value, list):
        return Items(tuple(compile_template(item, units) for item in value))
    return Literal(value)


def record(fields: Mapping[str, Any], units: MinorUnits | None = None) -> Record:
    return Record({name: compile_template(value, units) for name, value in fields.items()})


def compile_each(value: Any, units: MinorUnits | None = None) -> Template:
    """Compile the value of `each`: text is always a formula, a list is a template."""
    return Formula(formula(value, units)) if isinstance(value, str) else compile_template(value, units)


def is_duration(value: object) -> bool:
    return isinstance(value, str) and _DURATION.fullmatch(value) is not None


def until(value: Any) -> Until | None:
    """Compile the value of `until`: `+2d` counts from the start of the wait, every other text is a formula."""
    if value is None:
        return None
    if is_duration(value):
        return Until(after=seconds(value))
    return Until(at=formula(str(value)))


def formulas(value: Any, path: Path = ()) -> Iterator[tuple[str, Path]]:
    """Yield every formula of a plain template, with its place."""
    if is_formula(value):
        yield value, path
    elif isinstance(value, dict):
        repeated = is_repeated(value)
        for key, inner in value.items():
            if repeated and key in ("each", "when") and isinstance(inner, str):
                yield inner, (*path, key)
            else:
                yield from formulas(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from formulas(inner, (*path, position))


# ------------------------------------------------------------------ names that build on each other


def in_order(
    things: Iterable[T], name: Callable[[T], str], reads: Callable[[T], Collection[str]]
) -> tuple[T, ...]:
    """Sort things so that each comes after those that it reads; otherwise keep their order.

    The canonical form of a document sorts its keys, so a definition must not depend on the written order of keys.
    """
    pending = {name(thing): thing for thing in things}
    ordered: list[T] = []
    while pending:
        ready = [n for n, thing in pending.items() if not any(r in pending and r != n for r in reads(thing))]
        for n in ready[:1] or list(pending):  # a cycle keeps its order: no order satisfies it
            ordered.append(pending.pop(n))
    return tuple(ordered)


def lets_in_order(lets: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Sort lets by what they read. A let that does not parse reads nothing; `check` reports it."""
    return in_order(lets, lambda let: let[0], lambda let: _names(let[1]))


def facts_in_order(facts: Iterable[tuple[str, kinds.Fact]]) -> tuple[tuple[str, kinds.Fact], ...]:
    """Sort facts by what they read."""

    def reads(fact: tuple[str, kinds.Fact]) -> set[str]:
        texts = [text for text, _ in formulas(fact[1].with_)]
        return {name for text in (*texts, fact[1].of or "") for name in _names(text)}

    return in_order(facts, lambda fact: fact[0], reads)


def _names(text: str) -> Collection[str]:
    try:
        return formula(text).names if text else ()
    except ExpressionError:
        return ()


def compile_lets(
    lets: Iterable[tuple[str, str]], units: MinorUnits | None = None
) -> tuple[tuple[str, Expression], ...]:
    compiled = [(name, formula(text, units)) for name, text in lets]
    return in_order(compiled, lambda let: let[0], lambda let: let[1].names)
