"""Contracts: the check of data against the JSON Schema that its kind declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote

import jsonschema_rs
import msgspec

from counterfoil.core import wire
from counterfoil.core.money import Money
from counterfoil.core.money_json import NOT_MONEY, money_faults
from counterfoil.rules.json_values import has_money, plain

MAX_ERRORS = 20
MAX_FAULTS = 1000
"""Limit of faults that one answer lists."""
MAX_MESSAGE_CHARS = 300


class Contract:
    """A schema, compiled once. Decimals are exact."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema if has_money(schema) else {}
        self._validator = _validator(wire.write_json(dict(schema)))

    def violations(self, value: Any) -> list[str]:
        """Return the violations as `place: message`; empty if there are none."""
        not_money, money_faults = _not_money(value, self._schema) if self._schema else ([], [])
        value = plain(value)
        if not not_money and self._validator.is_valid(value):
            return []
        errors = [f"{'/'.join(path) or 'data'}: {message}" for path, message in money_faults]
        for error in self._validator.iter_errors(value):
            path = tuple(str(part) for part in error.instance_path)
            if _under(path, not_money):
                continue
            errors.append(f"{'/'.join(path) or 'data'}: {error.message}")
            if len(errors) >= MAX_ERRORS:
                break
        return errors[:MAX_ERRORS]


def violations(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return the violations of a schema that is seldom used."""
    return Contract(schema).violations(value)


class SchemaViolation(msgspec.Struct, frozen=True):
    """One violation of a contract, at a JSON Pointer (RFC 6901) in its URI form."""

    pointer: str
    detail: str


def faults(value: Any, schema: Mapping[str, Any]) -> list[SchemaViolation]:
    """Return all violations for the sender, without repeating values.

    `value` is typed by the schema already; a value that could not be typed is a violation too.
    """
    not_money, money_faults = _not_money(value, schema)
    violations = [SchemaViolation(_pointer(list(path)), message) for path, message in money_faults]
    for error in _masking(wire.write_json(dict(schema))).iter_errors(plain(value)):
        path = [str(part) for part in error.instance_path]
        if _under(tuple(path), not_money):
            continue
        # Missing and unexpected fields are reported at their own place.
        for name in getattr(error.kind, "unexpected", ()):
            violations.append(SchemaViolation(_pointer([*path, str(name)]), "is not part of the contract"))
        if not hasattr(error.kind, "unexpected"):
            lacks = getattr(error.kind, "property", None)
            place = [*path, str(lacks)] if lacks is not None else path
            violations.append(SchemaViolation(_pointer(place), error.message[:MAX_MESSAGE_CHARS]))
        if len(violations) >= MAX_FAULTS:
            return violations
    return violations or list(_untyped(value, schema, []))


Place: TypeAlias = tuple[str, ...]
"""Names and indices from the root to a value."""


def _not_money(value: Any, schema: Mapping[str, Any]) -> tuple[list[Place], list[tuple[Place, str]]]:
    """Return the places of objects that are not money though their schema says so, and what is wrong with each.

    The schema describes the stored form, {minor, currency}: its own errors about an `amount` would mislead.
    """
    places: list[Place] = []
    faults_of_money: list[tuple[Place, str]] = []

    def walk(value: Any, schema: Mapping[str, Any], path: Place) -> None:
        if schema.get("x-type") == "money":
            if isinstance(value, dict) and (wrong := money_faults(value)):
                places.append(path)
                faults_of_money.extend(
                    ((*path, field) if field else path, message) for field, message in wrong
                )
        elif isinstance(value, dict):
            for name, part in schema.get("properties", {}).items():
                if name in value:
                    walk(value[name], part, (*path, name))
        elif isinstance(value, list) and isinstance(schema.get("items"), dict):
            for place, part in enumerate(value):
                walk(part, schema["items"], (*path, str(place)))

    walk(value, schema, ())
    return places, faults_of_money


def _under(path: Place, places: Sequence[Place]) -> bool:
    return any(path[: len(place)] == place for place in places)


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "money": (Money, NOT_MONEY),
    "date": (date, "is not a date"),
    "timestamp": (datetime, "is not a timestamp with an offset"),
    "decimal": ((Decimal, int), "is not a number"),
}
"""By mark: the Python type of a typed value, and the message for another one."""


def _untyped(value: Any, schema: Mapping[str, Any], path: list[str]) -> Iterator[SchemaViolation]:
    """Return values that have the form of their mark and are not valid, such as 9999999999999999999.99 in ZZZ."""
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
    parts = (part.replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(f"/{quote(part, safe='~')}" for part in parts)


@lru_cache(maxsize=512)
def _masking(schema: bytes) -> Any:
    return jsonschema_rs.validator_for(wire.read_json(schema), validate_formats=True, mask="the value")


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    return jsonschema_rs.validator_for(wire.read_json(schema), validate_formats=True)
