"""Stripe's request format: nested values as `a[b][0][c]=1`, in a fixed order.

The same value gives the same bytes, which Stripe compares for a repeated idempotency key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus


def pairs(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and texts of a nested value, without None. Booleans are `true` and `false`."""
    return [pair for name, item in value.items() for pair in _pairs(name, item)]


def encode(value: Mapping[str, Any]) -> bytes:
    """Return the body of a POST."""
    return "&".join(f"{quote_plus(name)}={quote_plus(text)}" for name, text in pairs(value)).encode()


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pairs(f"{name}[{key}]", item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _pairs(f"{name}[{place}]", item)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    else:
        yield name, str(value)
