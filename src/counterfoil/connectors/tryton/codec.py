"""Tryton's JSON: Decimal, date and datetime as tagged maps; domains and contexts as base64 of such JSON.

No value becomes a float: a quantity, which Tryton stores as a number, is written digit by digit.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.core.wire import Json, read_json

_CLOCK = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_ENCODER = msgspec.json.Encoder(decimal_format="number", order="sorted")


class Number(msgspec.Struct, frozen=True):
    """Decimal for a field that Tryton stores as a plain number (quantities only)."""

    value: Decimal


def encode(value: object) -> bytes:
    """Return the request body of `value`: Decimal and date tagged, `Number` as a JSON number."""
    return _ENCODER.encode(_tag(value))


def base64_of(value: object) -> str:
    """Return base64 of a value, for the query (domains, orders) and the context header."""
    return base64.urlsafe_b64encode(encode(value)).decode()


def decode(data: bytes) -> Json:
    """Return a body with its tagged values as Decimal, date and aware UTC datetime. Raises `WireRefused`."""
    return _untag(read_json(data))


def _tag(value: object) -> object:
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, datetime):
        at = value.astimezone(UTC)
        return {"__class__": "datetime", **{name: getattr(at, name) for name in _CLOCK}}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    if isinstance(value, dict):
        return {key: _tag(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_tag(part) for part in value]
    return value


def _untag(value: Any) -> Json:
    if isinstance(value, list):
        return [_untag(part) for part in value]
    if not isinstance(value, dict):
        return value
    match value.get("__class__"):
        case "Decimal":
            return Decimal(value["decimal"])
        case "date":
            return date(value["year"], value["month"], value["day"])
        case "datetime":
            year, month, day, hour, minute, second, micro = (value[name] for name in _CLOCK)
            return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)
    return {key: _untag(part) for key, part in value.items()}
