"""Fingerprints of changes stay equal when files are written in another order, and differ between changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from counterfoil.contracts import compare_asyncapi, compare_json_schema, compare_openapi
from counterfoil.contracts.report import Change, Report
from counterfoil.json_or_yaml import parse

UNORDERED = ("required", "enum", "type", "parameters", "anyOf", "oneOf")


def reordered(value: Any, chance: random.Random, keyword: str = "") -> Any:
    """Return a value with its keys, and its lists without order, in another order."""
    if isinstance(value, dict):
        names = chance.sample(list(value), len(value))
        return {name: reordered(value[name], chance, name) for name in names}
    if isinstance(value, list):
        items = [reordered(item, chance) for item in value]
        return chance.sample(items, len(items)) if keyword in UNORDERED else items
    return value


def api(*properties: str, kinds: list[Any], values: list[str]) -> dict[str, Any]:
    thing = {
        "type": "object",
        "required": list(properties),
        "properties": {
            "kind": {"oneOf": kinds},
            **{name: {"type": ["string", "null"], "enum": values} for name in properties},
        },
    }
    parameters = [{"in": "query", "name": name, "schema": {"enum": values}} for name in ("b", "a")]
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/T"}}}
    get = {"parameters": parameters, "responses": {"200": {"description": "", "content": content}}}
    return {"openapi": "3.1.0", "paths": {"/t": {"get": get}}, "components": {"schemas": {"T": thing}}}


def kind(name: str, *fields: str) -> dict[str, Any]:
    tag = {"tag": {"const": name}}
    return {"type": "object", "required": ["tag"], "properties": {**tag, **{field: {} for field in fields}}}


APIS = (
    api("x", "y", kinds=[kind("p", "one", "two"), kind("q", "one"), kind("r")], values=["v", "w"]),
    api("x", kinds=[kind("p", "one"), kind("q"), kind("r")], values=["w", "u"]),
)
BRANCH = {"type": "object", "required": ["tag", "n"], "properties": {"n": {"enum": [1, 2, 3]}}}
SCHEMAS = (
    {"oneOf": [{**BRANCH, "properties": {"tag": {"const": t}, "n": {"enum": [1, 2, 3]}}} for t in "abc"]},
    {"oneOf": [{**BRANCH, "properties": {"tag": {"const": t}, "n": {"enum": [1, 2]}}} for t in "abc"]},
)
EVENTS = tuple(
    {
        "asyncapi": "3.0.0",
        "channels": {"c": {"address": "c", "messages": {"m": {"payload": {"oneOf": kinds}}}}},
        "operations": {"o": {"action": "send", "channel": {"$ref": "#/channels/c"}}},
    }
    for kinds in ([kind("p", "one"), kind("q", "one")], [kind("p"), kind("q")])
)
CASES: dict[str, Any] = {
    "openapi": (compare_openapi, APIS),
    "jsonschema": (compare_json_schema, SCHEMAS),
    "asyncapi": (compare_asyncapi, EVENTS),
}


def fingerprints(report: Report) -> list[str]:
    """Return the fingerprints of all changes of meaning. A restated keyword is a change of the order itself."""
    return sorted(c.fingerprint for c in report.changes if not c.rule.endswith("-restated"))


@pytest.mark.parametrize("name", CASES)
def test_fingerprints_do_not_depend_on_the_order_in_either_file(name: str) -> None:
    compare, (old, new) = CASES[name]
    expected = fingerprints(compare(old, new))
    assert len(set(expected)) == len(expected) > 1
    for seed in range(20):
        chance = random.Random(seed)
        assert fingerprints(compare(reordered(old, chance), reordered(new, chance))) == expected


def test_equal_changes_of_two_unnamed_alternatives_have_fingerprints_of_their_own() -> None:
    report = compare_json_schema(*SCHEMAS)
    assert [change.where for change in report.changes] == [
        f"/oneOf/{at}/properties/n/enum" for at in range(3)
    ]
    assert len(set(fingerprints(report))) == 3


def test_a_change_of_another_effect_has_another_fingerprint() -> None:
    old = {"properties": {"a": {"maxLength": 5}}}
    tighter, looser = ({"properties": {"a": {"maxLength": length}}} for length in (3, 7))
    assert fingerprints(compare_json_schema(old, tighter)) != fingerprints(compare_json_schema(old, looser))
    assert fingerprints(compare_json_schema(old, tighter)) != fingerprints(compare_json_schema(tighter, old))


def test_yaml_reads_every_fingerprint_as_text() -> None:
    """`123456789012` and `12e456789012` would be numbers."""
    for number in range(2000):
        fingerprint = Change(rule="r", where=f"/{number}", breaking=True, message="m").fingerprint
        assert parse(f"a: {fingerprint}".encode()) == {"a": fingerprint}
        assert len(fingerprint) == 12
