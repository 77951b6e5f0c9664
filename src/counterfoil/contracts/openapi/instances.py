"""Check of an example against a schema, so that only examples that show the change are shown.

The answer has three values: None if a keyword is not read here, or if it takes too many steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from counterfoil.contracts.json_parts import as_list
from counterfoil.contracts.jsonschema.values import SAMPLES, has_format, pattern_matches
from counterfoil.contracts.openapi.document import ApiDescription
from counterfoil.contracts.openapi.view import Union, View, has, json_type, tighter, view_of

MAX_NESTING_DEPTH = 12
MAX_STEPS = 200
"""Limit of schemas that one check reads."""
_UNREAD = ("not", "if", "contains", "propertyNames", "unevaluatedProperties", "unevaluatedItems", "prefixItems",
           "contentEncoding", "contentMediaType", "contentSchema")  # fmt: skip


def accepts(schema: Any, value: Any, document: ApiDescription) -> bool | None:
    """Return whether a value is an instance of a schema; None if undecided or if it takes too many steps."""
    return _Check(document).accepts(schema, value)


class _Check:
    """One check, with a limit of steps: schemas may refer to each other without end."""

    def __init__(self, document: ApiDescription) -> None:
        self.document = document
        self.steps = MAX_STEPS
        self.depth = 0

    def accepts(self, schema: Any, value: Any) -> bool | None:
        self.steps -= 1
        if self.steps < 0 or self.depth >= MAX_NESTING_DEPTH:
            return None
        self.depth += 1
        try:
            return _all(_verdicts(view_of(schema, self.document), value, self))
        finally:
            self.depth -= 1


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    outcome: bool | None = True
    for verdict in verdicts:
        if verdict is False:
            return False
        outcome = None if verdict is None else outcome
    return outcome


def _verdicts(view: View, value: Any, check: _Check) -> Iterator[bool | None]:
    if view.unresolved or view.maps or any(key in view.carried for key in _UNREAD):
        yield None
    kind = json_type(value)
    if value is None:
        yield view.null is not False and not (view.types == frozenset() and not view.null)
    else:
        yield view.admits(kind)
        yield view.enum is None or has(view.enum, value)
    if kind in ("integer", "number"):
        yield from _number(view, value)
    elif kind == "string":
        yield from _text(view, value)
    elif kind == "object":
        yield from _object(view, value, check)
    elif kind == "array":
        yield _has_size(view, len(value), "Items")
        yield None if view.carried.get("uniqueItems") else True
        items = view.carried.get("items", True)
        for item in value:
            yield check.accepts(items, item)
    for union in view.unions:
        yield _union(union, value, check)


def _number(view: View, value: Any) -> Iterator[bool | None]:
    yield view.low is None or not tighter(view.low, (value, False), low=True)
    yield view.high is None or not tighter(view.high, (value, False), low=False)
    yield None if view.carried.get("multipleOf") else True


def _text(view: View, value: str) -> Iterator[bool | None]:
    yield _has_size(view, len(value), "Length")
    for pattern in view.patterns:
        yield pattern_matches(pattern, value)
    name = str(view.carried.get("format", ""))
    yield has_format(value, name) if name in SAMPLES else True


def _object(view: View, value: dict[str, Any], check: _Check) -> Iterator[bool | None]:
    yield view.required <= value.keys()
    yield _has_size(view, len(value), "Properties")
    for name, inner in value.items():
        schema = view.properties.get(name, view.additional)
        yield schema is not False and check.accepts(schema, inner)


def _has_size(view: View, size: int, what: str) -> bool:
    return view.sizes.get(f"min{what}", 0) <= size <= view.sizes.get(f"max{what}", size)


def _union(union: Union, value: Any, check: _Check) -> bool | None:
    verdicts = [check.accepts(variant, value) for variant in as_list(union.variants)]
    if union.null:
        verdicts.append(value is None)
    certain, possible = verdicts.count(True), verdicts.count(True) + verdicts.count(None)
    if union.keyword == "oneOf" and certain > 1:
        return False
    if possible == certain:
        return certain > 0
    return True if certain and union.keyword == "anyOf" else None
