"""Random pairs of schemas: a change that provably rejects an instance is reported as breaking or as undecided.

Objects are closed and choices are `anyOf`: open objects and overlapping `oneOf` are matters of policy.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from counterfoil.contracts import compare_openapi
from counterfoil.contracts.jsonschema.inclusion import included

PAIRS = 2000
SIMPLE: list[dict[str, Any]] = [
    {}, {"type": "null"}, {"type": "boolean"}, {"enum": ["x", "y"]}, {"enum": ["x", None, 2]}, {"const": "x"},
    {"type": "string", "maxLength": 2}, {"type": "string", "minLength": 1}, {"type": ["string", "null"]},
    {"type": "integer", "minimum": 1}, {"type": "number", "exclusiveMaximum": 3}, {"type": "integer", "multipleOf": 2},
]  # fmt: skip


def schema(drawn: random.Random, depth: int = 0) -> dict[str, Any]:
    shape = drawn.random()
    if depth < 3 and shape < 0.3:
        result: dict[str, Any] = {
            "type": "object",
            "properties": {
                name: schema(drawn, depth + 1) for name in drawn.sample("abc", drawn.randint(1, 3))
            },
            "additionalProperties": False,
        }
        result["required"] = sorted(drawn.sample(sorted(result["properties"]), drawn.randint(0, 1)))
        return result
    if depth < 3 and shape < 0.4:
        return {"type": "array", "items": schema(drawn, depth + 1), "maxItems": drawn.randint(1, 3)}
    if depth < 2 and shape < 0.55:
        return {"anyOf": [schema(drawn, depth + 1) for _ in range(drawn.randint(1, 3))]}
    if depth < 2 and shape < 0.6:
        return {"not": drawn.choice(SIMPLE)}
    return dict(drawn.choice(SIMPLE))


def parts(node: Any) -> list[dict[str, Any]]:
    """Every schema of a schema, itself first."""
    generated = [node]
    for key, value in node.items():
        inner = value.values() if key == "properties" else value if key == "anyOf" else ()
        inner = [value] if key in ("items", "not") else inner
        for each in inner:
            generated += parts(each)
    return generated


def changed(drawn: random.Random, old: dict[str, Any]) -> dict[str, Any]:
    new = copy.deepcopy(old)
    part = drawn.choice(parts(new))
    part.clear()
    part.update(schema(drawn, 1))
    return new


def described(node: Any) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": node}}}
    return {"openapi": "3.1.0", "paths": {"/a": {"post": {"requestBody": body, "responses": {}}}}}


@pytest.mark.parametrize("seed", range(4))
def test_a_change_that_rejects_an_instance_is_reported(seed: int) -> None:
    drawn = random.Random(seed)
    refused = breaking_count = 0
    for _ in range(PAIRS // 4):
        old = schema(drawn)
        new = changed(drawn, old)
        if included(old, new, dialect="2020-12").verdict != "no":
            continue
        refused += 1
        changes = compare_openapi(described(old), described(new)).changes
        assert any(change.breaking or not change.decided for change in changes), (old, new)
        breaking_count += any(change.breaking for change in changes)
    assert breaking_count >= 0.9 * refused > 0
