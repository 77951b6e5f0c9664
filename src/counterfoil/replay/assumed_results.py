"""Assumed results of calls that were not recorded with the same request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from counterfoil.core import wire
from counterfoil.core.effect import Effect
from counterfoil.core.money import Money
from counterfoil.model.definition import OperationDefinition, OutboundMapping

NOTHING = Money(0, "USD")
"""Amount of a result whose call names none: zero is the same in every currency."""


def assumed_result(
    operation: OperationDefinition,
    outbound: OutboundMapping | None,
    inputs: Mapping[str, Any],
    recorded: Effect | None,
    now: datetime,
) -> Any:
    """Return a result in the form of the operation's output.

    With a recorded result: that result, with the compared fields taken from the input. Else values of the input and
    placeholders.
    """
    before = None
    if recorded is not None and recorded.operation == operation.name and recorded.result is not None:
        before = wire.loads(recorded.result)
    if isinstance(before, dict):
        compared = outbound.compare if outbound is not None else ()
        return {**before, **{f: inputs[f] for f in compared if f in inputs and f in before}}
    schema = operation.output_schema
    required = schema.get("required", ())
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    assert isinstance(required, list | tuple)
    return {name: _placeholder(name, properties.get(name, {}), inputs, now) for name in required}


def _amounts(value: Any) -> Iterator[Money]:
    """Yield the amounts of an input, outer ones first."""
    if isinstance(value, Money):
        yield value
        return
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    yield from (part for part in parts if isinstance(part, Money))
    for part in parts:
        if not isinstance(part, Money):
            yield from _amounts(part)


def _placeholder(name: str, schema: Any, inputs: Mapping[str, Any], now: datetime) -> Any:
    if name in inputs:
        return inputs[name]
    match schema.get("x-type") or schema.get("type"):
        case "money":
            return next(_amounts(inputs), NOTHING)
        case "date":
            return now.date()
        case "timestamp":
            return now
        case "integer" | "decimal" | "number":
            return 0
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
    return schema["enum"][0] if schema.get("enum") else "assumed"
