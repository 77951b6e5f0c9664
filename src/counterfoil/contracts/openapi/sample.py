"""A small instance of a schema, for showing what breaks: what it says at the least, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.contracts.openapi.document import Document
from counterfoil.contracts.openapi.view import View, look

_TEXTS = {
    "date": "2024-01-31", "date-time": "2024-01-31T12:00:00Z", "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "a@example.com", "uri": "https://example.com/", "ipv4": "192.0.2.1", "byte": "YQ==",
}  # fmt: skip
_DEEPEST = 6


def sample(schema: Any, document: Document, depth: int = 0) -> Any:
    """An instance, or UNSET where none is found quickly: patterns are not solved."""
    return sample_of(look(schema, document), document, depth)


def sample_of(view: View, document: Document, depth: int = 0, kind: str = "") -> Any:
    """An instance of what a view says, of one type where it is named."""
    if depth > _DEEPEST or view.unresolved:
        return msgspec.UNSET
    if view.enum is not None:
        return view.enum[0] if view.enum else (None if view.null else msgspec.UNSET)
    if view.unions and view.types is None and not view.properties:
        return sample(view.unions[0].variants[0], document, depth + 1)
    kinds = [kind] if kind else sorted(view.types if view.types is not None else ("string",), key=_easy)
    if not kinds:
        return None if view.null else msgspec.UNSET
    return _of_kind(kinds[0], view, document, depth)


def _easy(kind: str) -> int:
    order = ("string", "integer", "number", "boolean", "object", "array")
    return order.index(kind) if kind in order else len(order)


def _of_kind(kind: str, view: View, document: Document, depth: int) -> Any:
    if kind == "string":
        return text(view)
    if kind in ("integer", "number"):
        return number(view, kind)
    if kind == "boolean":
        return True
    if kind == "array":
        least = min(view.sizes.get("minItems", 0), 5)
        item = sample(view.carried.get("items", True), document, depth + 1) if least else None
        return msgspec.UNSET if item is msgspec.UNSET else [item] * least
    made = {}
    for name in sorted(view.required):
        value = sample(view.properties.get(name, True), document, depth + 1)
        if value is msgspec.UNSET:
            return msgspec.UNSET
        made[name] = value
    return made


def text(view: View, length: int | None = None) -> Any:
    """A text of a length, or of the least length; UNSET under a pattern."""
    if view.patterns:
        return msgspec.UNSET
    known = _TEXTS.get(str(view.carried.get("format", "")))
    if known is not None and length is None:
        return known
    wanted = length if length is not None else max(view.sizes.get("minLength", 0), 1)
    wanted = min(wanted, view.sizes.get("maxLength", wanted))
    return "a" * wanted if wanted <= 10_000 else msgspec.UNSET


def number(view: View, kind: str = "integer") -> Any:
    """A number inside of the bounds; one that is not whole where that is asked for and possible."""
    if view.carried.get("multipleOf"):
        step = view.carried["multipleOf"]
        return step if view.low is None and view.high is None else msgspec.UNSET
    shift: Any = 1 if kind == "integer" else Decimal("0.5")
    if any(isinstance(bound[0], float) for bound in (view.low, view.high) if bound is not None):
        shift = float(shift)
    if view.low is not None:
        found = view.low[0] + shift if view.low[1] or kind == "number" else view.low[0]
        return msgspec.UNSET if view.high is not None and found >= view.high[0] else found
    if view.high is not None:
        return view.high[0] - shift if view.high[1] or kind == "number" else view.high[0]
    return 1 if kind == "integer" else 1.5
