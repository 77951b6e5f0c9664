"""Signs of the amounts in an operation's input: a field of type money is negative only where its contract says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from counterfoil.core.money import Money
from counterfoil.model.definition import OperationDefinition


def negative_amounts(
    value: Any, schema: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Money]]:
    """Yield the negative amounts that a contract does not allow, with their places."""
    if schema.get("x-negative"):
        return
    if schema.get("x-type") == "money":
        amount = _money(value)
        if amount is not None and amount.minor < 0:
            yield path, amount
    elif isinstance(value, Mapping):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from negative_amounts(value[name], part, (*path, name))
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for position, part in enumerate(value):
            yield from negative_amounts(part, items, (*path, str(position)))


def _money(value: Any) -> Money | None:
    """Return an amount, also from its parts: a call's input may be written as `{minor: ..., currency: ...}`."""
    if isinstance(value, Mapping) and type(value.get("minor")) is int:
        return Money(value["minor"], str(value.get("currency")))
    return value if isinstance(value, Money) else None


def refused_sign(operation: OperationDefinition, value: Any) -> str | None:
    """Return why an operation that writes refuses the sign of an amount; None if it does not."""
    checked = operation.writes and not operation.negative
    refused = next(negative_amounts(value, operation.input_schema), None) if checked else None
    if refused is None:
        return None
    path, amount = refused
    return f"{amount} is negative, and {operation.name} allows no negative amount in {'.'.join(path)}"
