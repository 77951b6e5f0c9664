"""Fields that a consumer declares to read, and the places of a schema that belong to them."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.contracts.json_parts import unescape
from counterfoil.contracts.jsonschema.nodes import Step
from counterfoil.contracts.jsonschema.values import pattern_matches


def split(read: str) -> list[str]:
    """Split `customer.address` or `/customer/address`; items of a list are `*`, `[]`, a number, or omitted."""
    if read.startswith("/"):
        return [unescape(step) for step in read[1:].split("/")]
    return [step for step in read.replace("[", ".").replace("]", "").removeprefix("$.").split(".") if step]


def reads_place(read: Sequence[str], path: Sequence[Step]) -> bool:
    """Return true if the place is read, contains something read, or lies inside a part that is read."""
    if not read or not path:
        return True
    name, step = read[0], path[0]
    if step.kind in {"item", "rest"}:
        if name == "*" or name.isdigit():
            return (name == "*" or _reaches(step, int(name))) and reads_place(read[1:], path[1:])
        return reads_place(read, path[1:])
    if step.kind == "name":
        return True
    matches = name == "*" or (
        name == step.name
        if step.kind == "property"
        else name not in step.excluded
        and all(pattern_matches(pattern, name) is not False for pattern in step.must)
        and not any(pattern_matches(pattern, name) for pattern in step.must_not)
    )
    return matches and reads_place(read[1:], path[1:])


def _reaches(step: Step, index: int) -> bool:
    return index == step.at if step.kind == "item" else index >= step.at
