"""Contracts: does an event's data keep the JSON Schema that its kind declares?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from counterfoil.core import wire
from counterfoil.rules.values import plain

MAX_ERRORS = 20


def violations(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What does not keep the contract, as `place: message`; empty when all does. Decimals are exact."""
    errors = []
    for error in _validator(wire.write_json(dict(schema))).iter_errors(plain(value)):
        place = "/".join(str(p) for p in error.instance_path) or "data"
        errors.append(f"{place}: {error.message}")
        if len(errors) == MAX_ERRORS:
            break
    return errors


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    return jsonschema_rs.validator_for(wire.read_json(schema), validate_formats=True)
