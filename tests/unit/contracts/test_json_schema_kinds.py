"""JSON Schemas that are hard to compare: formats by draft, recursion at the root, many dependencies, files beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts import compare_json_schema
from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.inclusion import SchemaPair
from counterfoil.contracts.jsonschema.search import MAX_STEPS, MIN_STEPS
from counterfoil.contracts.load import load
from counterfoil.json_or_yaml import parse

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("draft", "name", "checked"),
    [
        ("4", "uri-reference", False),
        ("6", "uri-reference", True),
        ("7", "uuid", False),
        ("7", "duration", False),
        ("2019-09", "uuid", True),
        ("2020-12", "duration", True),
    ],
)
def test_a_format_rejects_strings_in_the_drafts_whose_validator_checks_it(
    draft: Any, name: str, checked: bool
) -> None:
    old = {"type": "array", "items": {"format": name, "type": "string"}}
    report = compare_json_schema({"type": "string"}, {"type": "string", "format": name}, dialect=draft)
    assert report.breaking is checked
    # Two strings that no validator tells from a value of the format are equal, so unique items refuse them.
    assert compare_json_schema(old, {**old, "uniqueItems": True}, dialect=draft).breaking


def test_an_object_that_became_a_reference_to_the_root_is_one_change_at_its_own_place() -> None:
    names = {f"n{at}": {"type": "string"} for at in range(6)}
    old = {"type": "object", "properties": {"left": {"type": "object"}, "right": {"type": "object"}, **names}}
    new = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, **names}}
    report = compare_json_schema(old, new)
    assert [(change.rule, change.where) for change in report.changes] == [
        ("schema-tightened", "/properties/left"),
        ("schema-tightened", "/properties/right"),
    ]
    assert all(change.breaking for change in report.changes)


def exclusions(count: int) -> dict[str, Any]:
    def listed(name: str) -> dict[str, Any]:
        return {"required": ["tags"], "properties": {"tags": {"type": "array", "contains": {"const": name}}}}

    names = [f"n{at}" for at in range(count)]
    return {"$schema": DRAFT_7, "dependencies": {name: {"not": listed(name)} for name in names}}


def test_each_question_beyond_the_limit_of_steps_lowers_the_limit_of_the_next_ones() -> None:
    wide, narrow = exclusions(13), exclusions(14)
    pair = SchemaPair(SchemaDocument(narrow, "7"), SchemaDocument(wide, "7"))
    pair.search.steps = 4 * MIN_STEPS
    limits = []
    for count in (13, 12, 11, 10):
        pair.forward(narrow, exclusions(count))
        limits.append(pair.search.steps)
    assert limits == [2 * MIN_STEPS, MIN_STEPS, MIN_STEPS, MIN_STEPS]
    assert SchemaPair(pair.left, pair.right).search.steps == MAX_STEPS


@pytest.mark.parametrize("reference", ["https://example.com/other.json", "other.json", "../other.json"])
def test_a_reference_to_a_schema_that_is_not_at_hand_is_undecided(tmp_path: Path, reference: str) -> None:
    schemas = []
    for name, kind in (("old.json", "string"), ("new.json", "integer")):
        path = tmp_path / "schemas" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{{"$id": "https://example.com/a", "properties": {{"a": {{"$ref": "{reference}"}}, '
                        f'"b": {{"type": "{kind}"}}}}}}')  # fmt: skip
        schemas.append(load(path))
    changes = {change.rule: change for change in compare_json_schema(*schemas).changes}
    assert changes["type-changed"].breaking
    assert (changes["reference-unresolved"].where, changes["reference-unresolved"].decided) == (
        "/properties/a",
        False,
    )


def test_a_reference_inside_a_value_is_data(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"examples": [{"$ref": "no.json"}], "properties": {"default": {"$ref": "a.json"}}}')
    (tmp_path / "a.json").write_text('{"type": "string"}')
    schema = load(path)
    assert schema["examples"] == [{"$ref": "no.json"}]
    assert schema["properties"]["default"] == {"$ref": "#/x-files/a.json"}


def test_a_yaml_anchor_may_be_set_again() -> None:
    assert parse(b"a: &x {n: 1}\nb: *x\nc: &x [2.50]\nd: *x\n") == {
        "a": {"n": 1},
        "b": {"n": 1},
        "c": parse(b"[2.50]"),
        "d": parse(b"[2.50]"),
    }


@pytest.mark.parametrize("draft", ["4", "7", "2019-09", "2020-12"])
@pytest.mark.parametrize(
    "circle",
    [
        {"not": {"$ref": "#"}},
        {"oneOf": [{"$ref": "#"}, {}]},
        {"anyOf": [{"not": {"$ref": "#"}}, {"minimum": 1}]},
        {"allOf": [{"$ref": "#/definitions/a"}], "definitions": {"a": {"not": {"$ref": "#"}}}},
        {"dependencies": {"a": {"not": {"$ref": "#"}}}},
    ],
)
def test_a_schema_that_leads_back_to_itself_is_never_called_compatible(draft: Any, circle: Any) -> None:
    for pair in (
        (True if draft != "4" else {}, circle),
        ({"minLength": 1}, circle),
        (circle, {"minLength": 1}),
    ):
        report = compare_json_schema(*pair, dialect=draft)
        assert report.breaking or report.undecided
        assert all(change.breaking or not change.decided for change in report.changes if change.where == "")
    assert compare_json_schema(circle, {**circle, "title": "the same"}, dialect=draft).breaking is False


def test_a_reference_to_a_smaller_instance_is_decided() -> None:
    tree = {"type": "object", "additionalProperties": {"$ref": "#"}}
    report = compare_json_schema(tree, {**tree, "maxProperties": 3})
    assert (report.breaking, report.undecided) == (True, False)


@pytest.mark.parametrize("draft", ["2019-09", "2020-12"])
def test_unevaluated_items_beside_contained_ones_are_undecided_or_proved(draft: Any) -> None:
    old = {"unevaluatedItems": {"type": "string"}, "contains": {"maximum": 1}}
    report = compare_json_schema(old, {"unevaluatedItems": {"type": "string"}}, dialect=draft)
    assert report.breaking or report.undecided


@pytest.mark.parametrize("keyword", ["if", "then", "else", "dependentSchemas"])
@pytest.mark.parametrize(
    ("word", "instance"), [("unevaluatedProperties", {"a": 1}), ("unevaluatedItems", [1])]
)
def test_parts_that_a_branch_evaluates_by_unevaluated_are_evaluated(
    keyword: str, word: str, instance: Any
) -> None:
    branch = {keyword: {word: True}}
    if keyword in ("then", "else"):
        branch["if"] = keyword == "then"
    if keyword == "dependentSchemas":
        branch = {keyword: {"a": {word: True}}}
    report = compare_json_schema({**branch, word: False}, {"not": {"const": instance}})
    expected = keyword != "dependentSchemas" or word == "unevaluatedProperties"
    assert report.breaking is expected
    if expected:
        assert report.changes[0].example is not None


def test_a_reference_to_a_circle_and_the_one_inside_it_mean_the_same() -> None:
    circle = {"if": {"$ref": "#/$defs/one"}, "then": False}
    outer = {"items": {"anyOf": [{"$ref": "#/$defs/one"}]}, "$defs": {"one": circle}}
    plain = {"items": {"anyOf": [{"$ref": "#/$defs/one"}]}, "$defs": {"one": {"type": "string"}}}
    report = compare_json_schema(outer, plain)
    assert report.breaking or report.undecided


def listed(text: str, draft: str) -> dict[str, Any]:
    """A list of any items, extended by a root that names the type of its items."""
    generic = {"$id": "list", "type": "array"}
    if draft == "2020-12":
        anchors = {"item": {"$dynamicAnchor": "item"}}
        generic |= {"items": {"$dynamicRef": "#item"}, "$defs": anchors}
        root = {"$defs": {"item": {"$dynamicAnchor": "item", "type": text}, "list": generic}}
    else:
        generic |= {"$recursiveAnchor": True, "items": {"$recursiveRef": "#"}}
        root = {"$recursiveAnchor": True, "type": ["array", text], "$defs": {"list": generic}}
    return {
        "$schema": f"https://json-schema.org/draft/{draft}/schema",
        "$id": "https://example.com/root",
        **root,
        "anyOf": [{"$ref": "list"}, {"type": "null"}],
    }


@pytest.mark.parametrize("draft", ["2020-12", "2019-09"])
def test_a_reference_that_leads_to_the_outermost_anchor_follows_its_change(draft: str) -> None:
    report = compare_json_schema(listed("string", draft), listed("integer", draft))
    assert report.breaking or not all(change.decided for change in report.changes)
    assert not compare_json_schema(listed("string", draft), listed("string", draft)).changes
