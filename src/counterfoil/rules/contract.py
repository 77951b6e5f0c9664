"""Contracts: does an event's data keep the JSON Schema that its kind declares?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import msgspec

from counterfoil.core import wire
from counterfoil.core.money import Money
from counterfoil.rules.values import plain

MAX_ERRORS = 20
MAX_FAULTS = 1000
"""Of one input; beyond, whoever sent it has other work to do first."""
MAX_MESSAGE_CHARS = 300


class Contract:
    """A schema, compiled once. Decimals are exact."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _validator(wire.write_json(dict(schema)))

    def violations(self, value: Any) -> list[str]:
        """What does not keep the contract, as `place: message`; empty when all does."""
        value = plain(value)
        if self._validator.is_valid(value):
            return []
        errors = []
        for error in self._validator.iter_errors(value):
            place = "/".join(str(p) for p in error.instance_path) or "data"
            errors.append(f"{place}: {error.message}")
            if len(errors) == MAX_ERRORS:
                break
        return errors


def violations(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """The same for a schema that is judged by now and then."""
    return Contract(schema).violations(value)


class SchemaViolation(msgspec.Struct, frozen=True):
    """One thing that does not keep a contract, at a JSON Pointer (RFC 6901) in its URI form."""

    pointer: str
    detail: str


def faults(value: Any, schema: Mapping[str, Any]) -> list[SchemaViolation]:
    """Everything that does not keep the contract, to be told to whoever sent it. Their values are not repeated.
    `value` is typed by the schema already; what could not be is a fault as well."""
    found: list[SchemaViolation] = []
    for error in _masking(wire.write_json(dict(schema))).iter_errors(plain(value)):
        path = [str(part) for part in error.instance_path]
        # What is missing and what is too much is told at its own place.
        for name in getattr(error.kind, "unexpected", ()):
            found.append(SchemaViolation(_pointer([*path, str(name)]), "is not a part of the contract"))
        if not hasattr(error.kind, "unexpected"):
            lacks = getattr(error.kind, "property", None)
            place = [*path, str(lacks)] if lacks is not None else path
            found.append(SchemaViolation(_pointer(place), error.message[:MAX_MESSAGE_CHARS]))
        if len(found) >= MAX_FAULTS:
            return found
    return found or list(_untyped(value, schema, []))


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "money": (Money, "is no amount that can be counted, in a currency of ISO 4217"),
    "date": (date, "is no day"),
    "timestamp": (datetime, "is no moment with its offset"),
    "decimal": ((Decimal, int), "is no number"),
}
"""By mark: what a value of it is once it is typed, and what is said of one that is not."""


def _untyped(value: Any, schema: Mapping[str, Any], path: list[str]) -> Iterator[SchemaViolation]:
    """What has the form of its mark and is none of it: 9999999999999999999.99 in ZZZ."""
    mark = _TYPES.get(str(schema.get("x-type")))
    if mark is not None:
        if not isinstance(value, mark[0]):
            yield SchemaViolation(_pointer(path), mark[1])
    elif isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _untyped(value[name], part, [*path, name])
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for place, part in enumerate(value):
            yield from _untyped(part, schema["items"], [*path, str(place)])


def _pointer(path: list[str]) -> str:
    return "#" + "".join(f"/{_escaped(part)}" for part in path)


def _escaped(part: str) -> str:
    return quote(part.replace("~", "~0").replace("/", "~1"), safe="~")


@lru_cache(maxsize=512)
def _masking(schema: bytes) -> Any:
    return jsonschema_rs.validator_for(wire.read_json(schema), validate_formats=True, mask="the value")


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    return jsonschema_rs.validator_for(wire.read_json(schema), validate_formats=True)
