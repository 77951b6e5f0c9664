"""`contract_vs_parse`: comparing two OpenAPI descriptions of seven megabytes, relative to parsing both.

The descriptions are generated in the style of large vendors: about a thousand resources with references to each other,
read by several operations and written by forms. One resource in fifty changes, and so does one operation in fifty.
"""

from __future__ import annotations

import json
import random
import time
from datetime import date
from statistics import median
from typing import Any

import msgspec

from counterfoil.contracts import compare_openapi
from counterfoil.json_or_yaml import parse

RESOURCES = 880
"""Number of resources for about seven megabytes of compact JSON."""
WORDS = "A sentence about this field, as descriptions have them: what it holds, when it is set, and what follows. "
KINDS: list[dict[str, Any]] = [
    {"type": "string", "maxLength": 5000},
    {"type": "integer", "format": "int64"},
    {"type": "string", "enum": ["open", "paid", "void", "uncollectible", "draft"]},
    {"type": "boolean"},
    {"type": "object", "additionalProperties": {"type": "string", "maxLength": 500}},
    {"type": "array", "items": {"type": "string"}},
    {"type": "string", "nullable": True},
]


def description(resources: int = RESOURCES) -> dict[str, Any]:
    """Generate a description; the result is always the same."""
    drawn = random.Random(7)
    names = [f"resource_{at}" for at in range(resources)]
    paths: dict[str, Any] = {}
    for name in names:
        paths[f"/v1/{name}"] = {"get": _operation(name, many=True), "post": _operation(name, form=True)}
        paths[f"/v1/{name}/{{id}}"] = {
            "get": _operation(name, slot=True),
            "post": _operation(name, form=True, slot=True),
        }
    return {
        "openapi": "3.0.3",
        "info": {"title": "Synthetic", "version": "1"},
        "paths": paths,
        "components": {"schemas": {name: _resource(name, names, drawn) for name in names}},
    }


def _resource(name: str, names: list[str], drawn: random.Random) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "id": {"type": "string", "maxLength": 5000},
        "object": {"type": "string", "enum": [name]},
    }
    for at in range(14):
        properties[f"field_{at}"] = {**KINDS[(at + drawn.randrange(3)) % len(KINDS)], "description": WORDS}
    for at in range(3):
        other = {"$ref": f"#/components/schemas/{drawn.choice(names)}"}
        properties[f"link_{at}"] = {
            "anyOf": [{"type": "string"}, other],
            "nullable": True,
            "description": WORDS,
        }
    return {"type": "object", "required": ["id", "object"], "properties": properties, "title": name}


def _operation(name: str, *, many: bool = False, form: bool = False, slot: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{name}"}
    if many:
        schema = {
            "type": "object",
            "required": ["data"],
            "properties": {"data": {"type": "array", "items": schema}},
        }
    operation: dict[str, Any] = {
        "parameters": [
            {"name": "expand", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
        ],
        "responses": {"200": {"description": WORDS, "content": {"application/json": {"schema": schema}}}},
    }
    if slot:
        operation["parameters"].append(
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        )
    if form:
        fields = {f"field_{at}": {**KINDS[at % len(KINDS)], "description": WORDS} for at in range(8)}
        body = {"type": "object", "additionalProperties": False, "properties": fields}
        operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": body}}}
    return operation


def changed(base: dict[str, Any]) -> dict[str, Any]:
    """Return the next version, with removed properties, added values and removed form fields."""
    revision: dict[str, Any] = json.loads(json.dumps(base))
    schemas = revision["components"]["schemas"]
    for at, name in enumerate(schemas):
        if at % 50 == 0:
            del schemas[name]["properties"]["field_1"]
        if at % 50 == 1:
            schemas[name]["properties"]["object"]["enum"].append("other")
        if at % 50 == 2:
            content = revision["paths"][f"/v1/{name}"]["post"]["requestBody"]["content"]
            del content["application/x-www-form-urlencoded"]["schema"]["properties"]["field_2"]
    return revision


class ContractVsParse:
    """Processor time of a comparison, relative to the fastest available parser."""

    unit = "seconds of processor time to compare two descriptions of 7 MB"
    peer = "parsing both with msgspec, without checks"
    target = "<= 2 x"

    def __init__(self, resources: int = RESOURCES) -> None:
        base = description(resources)
        self._texts = [json.dumps(text, separators=(",", ":")).encode() for text in (base, changed(base))]
        self._loading: list[float] = []
        self._changes = 0

    def ours(self) -> float:
        began = time.process_time()
        old, new = (parse(text) for text in self._texts)
        self._loading.append(time.process_time() - began)
        began = time.process_time()
        report = compare_openapi(old, new, today=date(2026, 1, 1))
        passed = time.process_time() - began
        self._changes = len(report.changes)
        if not self._changes:
            raise ValueError("no change was found, so the figure would be wrong")
        return passed

    def against(self) -> float:
        began = time.process_time()
        values = [msgspec.json.decode(text) for text in self._texts]
        passed = time.process_time() - began
        if len(values) != 2:
            raise ValueError("both descriptions must be parsed")
        return passed

    def met(self, ours: float, ratio: float) -> bool:
        return ratio <= 2

    def note(self) -> str:
        size = sum(map(len, self._texts)) / len(self._texts) / 1e6
        return (
            f"{size:.1f} MB of JSON each, {self._changes} changes. Our own bounded reader needs "
            f"{median(self._loading):.2f} s for both; YAML needs tens of times as long."
        )
