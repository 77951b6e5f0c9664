"""Small instances of schemas, as examples of breaking changes: only what the schema requires."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.contracts.openapi.document import ApiDescription
from counterfoil.contracts.openapi.view import View, view_of

_TEXTS = {
    "date": "2024-01-31", "date-time": "2024-01-31T12:00:00Z", "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "a@example.com", "uri": "https://example.com/", "ipv4": "192.0.2.1", "byte": "YQ==",
}  # fmt: skip
_MAX_SAMPLE_DEPTH = 6
_MAX_TEXT_LENGTH = 10_000


def sample(schema: Any, document: ApiDescription, depth: int = 0) -> Any:
    """Return an instance, or UNSET if none is built quickly. Patterns are not solved."""
    return sample_of(view_of(schema, document), document, depth)


def sample_of(view: View, document: ApiDescription, depth: int = 0, kind: str = "") -> Any:
    """Return an instance of a view, of one type if `kind` names it; UNSET if none is built quickly."""
    if depth > _MAX_SAMPLE_DEPTH or view.unresolved:
        return msgspec.UNSET
    if view.enum is not None:
        return view.enum[0] if view.enum else (None if view.null else msgspec.UNSET)
    if view.unions and view.types is None and not view.properties:
        return sample(view.unions[0].variants[0], document, depth + 1)
    kinds = [kind] if kind else sorted(view.types if view.types is not None else ("string",), key=_preference)
    if not kinds:
        return None if view.null else msgspec.UNSET
    return _of_kind(kinds[0], view, document, depth)


def _preference(kind: str) -> int:
    order = ("string", "integer", "number", "boolean", "object", "array")
    return order.index(kind) if kind in order else len(order)


def _of_kind(kind: str, view: View, document: ApiDescription, depth: int) -> Any:
    if kind == "string":
        return text(view)
    if kind in ("integer", "number"):
        return number(view, kind)
    if kind == "boolean":
        return True
    if kind == "array":
        count = min(view.sizes.get("minItems", 0), 5)
        item = sample(view.carried.get("items", True), document, depth + 1) if count else None
        return msgspec.UNSET if item is msgspec.UNSET else [item] * count
    instance = {}
    for name in sorted(view.required):
        value = sample(view.properties.get(name, True), document, depth + 1)
        if value is msgspec.UNSET:
            return msgspec.UNSET
        instance[name] = value
    return instance


def text(view: View, length: int | None = None) -> Any:
    """Return a text of a length, or of the minimum length; UNSET under a pattern."""
    if view.patterns:
        return msgspec.UNSET
    example = _TEXTS.get(str(view.carried.get("format", "")))
    if example is not None and length is None:
        return example
    size = length if length is not None else max(view.sizes.get("minLength", 0), 1)
    size = min(size, view.sizes.get("maxLength", size))
    return "a" * size if size <= _MAX_TEXT_LENGTH else msgspec.UNSET


def number(view: View, kind: str = "integer") -> Any:
    """Return a number inside the bounds; not a whole one if `kind` is `number` and the bounds allow it."""
    if view.carried.get("multipleOf"):
        step = view.carried["multipleOf"]
        return step if view.low is None and view.high is None else msgspec.UNSET
    shift: Any = 1 if kind == "integer" else Decimal("0.5")
    if any(isinstance(bound[0], float) for bound in (view.low, view.high) if bound is not None):
        shift = float(shift)
    if view.low is not None:
        value = view.low[0] + shift if view.low[1] or kind == "number" else view.low[0]
        return msgspec.UNSET if view.high is not None and value >= view.high[0] else value
    if view.high is not None:
        return view.high[0] - shift if view.high[1] or kind == "number" else view.high[0]
    return 1 if kind == "integer" else 1.5
