"""Templates: trees of literals and formulas, compiled for definitions and read by checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from counterfoil import expr
from counterfoil.expr import Expression
from counterfoil.model.definition import Formula, Items, Literal, Record, Repeated, Template, Until
from counterfoil.model.kinds import seconds
from counterfoil.model.source import Path

_DURATION = re.compile(r"\+?\d+(ms|s|m|h|d)")
_REPEATED = frozenset({"each", "as", "data"})


def text_of(formula: str) -> str:
    """Return the expression text of a formula, without the leading `=`."""
    return formula.removeprefix("=")


@lru_cache(maxsize=16_384)
def _compiled(text: str) -> Expression:
    return expr.compile(text)


def formula(text: str) -> Expression:
    """Return a compiled formula; equal texts share one."""
    return _compiled(text_of(text))


def optional(text: str | None) -> Expression | None:
    return None if text is None else formula(text)


def is_formula(value: object) -> bool:
    return isinstance(value, str) and value.startswith("=")


def is_repeated(value: object) -> bool:
    """Return True for a mapping of exactly each/as/data, with or without `when`."""
    return isinstance(value, dict) and (value.keys() == _REPEATED or value.keys() == _REPEATED | {"when"})


def compile_template(value: Any) -> Template:
    """Compile a template from its plain form."""
    if is_formula(value):
        return Formula(formula(value))
    if is_repeated(value):
        items, data = compile_each(value["each"]), compile_template(value["data"])
        return Repeated(items, value["as"], data, optional(value.get("when")))
    if isinstance(value, dict):
        return record(value)
    if isinstance(value, list):
        return Items(tuple(compile_template(item) for item in value))
    return Literal(value)


def record(fields: Mapping[str, Any]) -> Record:
    return Record({name: compile_template(value) for name, value in fields.items()})


def compile_each(value: Any) -> Template:
    """Compile the value of `each`: text is always a formula, a list is a template."""
    return Formula(formula(value)) if isinstance(value, str) else compile_template(value)


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
