"""Conversion between plain JSON and values of expressions, by a JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.money import Money
from counterfoil.core.money_json import read_money
from counterfoil.core.run import Direction, Run
from counterfoil.expr import moments
from counterfoil.expr.errors import Fault

_PLAIN = frozenset({str, int, bool, Decimal})


def plain(value: Any) -> Any:
    """Return the value as plain JSON: Money as {minor, currency}, dates and times as ISO 8601 text."""
    if value is None or type(value) in _PLAIN:  # most are
        return value
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Money):
        return {"minor": value.minor, "currency": value.currency}
    if isinstance(value, datetime):
        return wire.time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _duration_text(value)
    return value


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a JSON value as expressions read it. A value that does not fit its mark stays, for the contract check."""
    match schema.get("x-type"):
        case "money":
            return _money(value)
        case "date" if isinstance(value, str):
            return _iso(date.fromisoformat, value)
        case "timestamp" if isinstance(value, str):
            return _iso(_time, value)
        case "duration" if isinstance(value, str):
            return _iso(moments.duration, value)
        case "decimal" if isinstance(value, int | str) and not isinstance(value, bool):
            return _iso(Decimal, value)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {k: typed(v, properties.get(k, {})) for k, v in value.items()}
    if isinstance(value, list):
        items = schema.get("items", {})
        return [typed(v, items if isinstance(items, dict) else {}) for v in value]
    return value


def _money(value: Any) -> Any:
    money = read_money(value)
    return value if money is None else money


def with_minor(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a JSON value with its money as {minor, currency}, and everything else unchanged."""
    if schema.get("x-type") == "money":
        money = read_money(value)
        return value if money is None else plain(money)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {k: with_minor(v, properties.get(k, {})) for k, v in value.items()}
    if isinstance(value, list):
        items = schema.get("items", {})
        return [with_minor(v, items if isinstance(items, dict) else {}) for v in value]
    return value


def amounts_in(value: Any, schema: Mapping[str, Any]) -> Iterator[Money]:
    """Yield the money of a JSON value, or of one that is typed already, in the order of its fields."""
    if schema.get("x-type") == "money":
        money = value if isinstance(value, Money) else read_money(value)
        if money is not None:
            yield money
    elif isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from amounts_in(value[name], part)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for part in value:
            yield from amounts_in(part, schema["items"])


def has_money(schema: Any) -> bool:
    """Return True if a schema has money at any depth."""
    if isinstance(schema, dict):
        return schema.get("x-type") == "money" or any(has_money(part) for part in schema.values())
    return isinstance(schema, list) and any(has_money(part) for part in schema)


def _iso(read: Any, value: Any) -> Any:
    try:
        return read(value)
    except (ValueError, ArithmeticError, Fault):
        return value


def _duration_text(value: timedelta) -> str:
    """Return ISO 8601; only a duration that has a fraction of a second has decimals."""
    seconds, rest = divmod(abs(value) // timedelta(microseconds=1), 10**6)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if value < timedelta(0) else ''}PT{seconds}{fraction}S"


def _time(text: str) -> Any:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else text


def event_names(event: CanonicalEvent) -> dict[str, Any]:
    """Return the names that formulas read under `event`."""
    return {
        "id": event.id,
        "type": event.type,
        "system": event.system,
        "source": event.system,
        "subject": event.key,
        "key": event.key,
        "version": str(event.version),
        "legal_entity": event.legal_entity,
        "time": event.occurred_at,
        "occurred_at": event.occurred_at,
        "effective_at": event.effective_at,
        "received_at": event.received_at,
        "correlation_id": event.correlation,
        "causation_id": event.cause,
        "senders": list(event.senders),
        "data": event.data,
    }


def run_names(run: Run, state: str, direction: Direction) -> dict[str, Any]:
    """Return the names that formulas read under `run`. `state` and `direction` are those of the current decision."""
    return {
        "id": run.id,
        "key": run.bkey,
        "generation": run.generation,
        "state": state,
        "workflow": run.workflow,
        "legal_entity": run.entity,
        "direction": str(direction),
        "started": run.created_at,
    }


def head_names(head: Head) -> dict[str, Any]:
    """Return the names that formulas read of an object's head."""
    return {
        "id": head.key,
        "version": head.version,
        "effective_at": head.effective_at,
        "recorded_at": head.recorded_at,
        "legal_entity": head.entity,
        **head.state,
    }
