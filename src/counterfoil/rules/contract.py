"""Contracts: does an event's data keep the JSON Schema that its kind declares?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import msgspec

from counterfoil.core import wire
from counterfoil.rules.values import plain

MAX_ERRORS = 20
MOST_FAULTS = 1000
"""Of one input; beyond, whoever sent it has other work to do first."""
MESSAGE = 300


def violations(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What does not keep the contract, as `place: message`; empty when all does. Decimals are exact."""
    errors = []
    for error in _validator(wire.write_json(dict(schema))).iter_errors(plain(value)):
        place = "/".join(str(p) for p in error.instance_path) or "data"
        errors.append(f"{place}: {error.message}")
        if len(errors) == MAX_ERRORS:
            break
    return errors


class Fault(msgspec.Struct, frozen=True):
    """One thing that does not keep a contract, at a JSON Pointer (RFC 6901) in its URI form."""

    pointer: str
    detail: str


def faults(value: Any, schema: Mapping[str, Any]) -> list[Fault]:
    """Everything that does not keep the contract, to be told to whoever sent it. Their values are not repeated."""
    found: list[Fault] = []
    for error in _masking(wire.write_json(dict(schema))).iter_errors(plain(value)):
        path = [str(part) for part in error.instance_path]
        # What is missing and what is too much is told at its own place.
        for name in getattr(error.kind, "unexpected", ()):
            found.append(Fault(_pointer([*path, str(name)]), "is not a part of the contract"))
        if not hasattr(error.kind, "unexpected"):
            lacks = getattr(error.kind, "property", None)
            place = [*path, str(lacks)] if lacks is not None else path
            found.append(Fault(_pointer(place), error.message[:MESSAGE]))
        if len(found) >= MOST_FAULTS:
            break
    return found


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
