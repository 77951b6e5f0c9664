"""Comparison of two JSON Schemas by meaning: the changes that break, and their examples."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest

from counterfoil.contracts import compare_json_schema
from counterfoil.contracts.report import Change, Report

ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "string", "maxLength": 20},
        "status": {"enum": ["open", "paid", "void"]},
        "lines": {"type": "array", "items": {"$ref": "#/definitions/Line"}},
        "customer": {
            "type": "object",
            "properties": {"email": {"type": "string"}, "name": {"type": "string"}},
        },
    },
    "definitions": {
        "Line": {
            "type": "object",
            "required": ["amount"],
            "properties": {"amount": {"type": "integer", "minimum": 0}, "text": {"type": "string"}},
        }
    },
}


def changed(*steps: Any, to: Any) -> Any:
    """ORDER with another value at one place; None takes the place away."""
    copy = msgspec.json.decode(msgspec.json.encode(ORDER))
    place = copy
    for step in steps[:-1]:
        place = place[step]
    if to is None:
        del place[steps[-1]]
    else:
        place[steps[-1]] = to
    return copy


def only(report: Report) -> Change:
    assert len(report.changes) == 1, report.changes
    return report.changes[0]


LINE = ("definitions", "Line", "properties")
BREAKING: list[tuple[Any, str, str]] = [
    (changed("properties", "id", "maxLength", to=10), "max-length-tightened", "/properties/id/maxLength"),
    (changed("properties", "id", "pattern", to="^ord_"), "pattern-tightened", "/properties/id/pattern"),
    (changed("properties", "id", "type", to="integer"), "type-changed", "/properties/id/type"),
    (changed("properties", "status", "enum", to=["open", "paid"]), "values-tightened", "/properties/status/enum"),
    (changed("required", to=["id", "lines", "status"]), "required-added", "/required"),
    (changed(*LINE, "amount", "minimum", to=1), "minimum-tightened", "/definitions/Line/properties/amount/minimum"),
    (changed(*LINE, "tax", to={"type": "integer"}), "property-added", "/definitions/Line/properties/tax"),
    (changed("additionalProperties", to=False), "additional-properties-tightened", "/additionalProperties"),
    (changed("properties", "lines", "minItems", to=1), "min-items-tightened", "/properties/lines/minItems"),
    (changed("properties", "customer", "properties", "email", "format", to="email"), "format-tightened",
     "/properties/customer/properties/email/format"),
    (changed("anyOf", to=[{"required": ["status"]}, {"required": ["customer"]}]), "any-of-tightened", "/anyOf"),
    (changed("propertyNames", to={"maxLength": 12}), "property-names-tightened", "/propertyNames"),
    (changed("dependencies", to={"status": ["customer"]}), "dependencies-tightened", "/dependencies"),
    (changed("if", to={"required": ["status"]}) | {"then": {"required": ["customer"]}}, "condition-tightened", "/if"),
    (changed("not", to={"required": ["customer", "status"]}), "not-tightened", "/not"),
    (changed("patternProperties", to={"^x_": {"type": "string"}}), "pattern-property-tightened",
     "/patternProperties/^x_"),
    (changed("properties", "customer", to=False), "schema-tightened", "/properties/customer"),
]  # fmt: skip


@pytest.mark.parametrize(("new", "rule", "where"), BREAKING, ids=[case[1] + case[2] for case in BREAKING])
def test_a_breaking_change_is_told_with_its_rule_its_place_and_an_instance(
    new: Any, rule: str, where: str
) -> None:
    change = only(compare_json_schema(ORDER, new))
    assert (change.rule, change.where, change.breaking, change.decided) == (rule, where, True, True)
    assert jsonschema_rs.validator_for(ORDER, validate_formats=True).is_valid(change.example)
    assert not jsonschema_rs.validator_for(new, validate_formats=True).is_valid(change.example)


@pytest.mark.parametrize(("new", "rule", "where"), BREAKING, ids=[case[1] + case[2] for case in BREAKING])
def test_a_tightening_turned_round_breaks_forward_alone(new: Any, rule: str, where: str) -> None:
    assert not compare_json_schema(new, ORDER).breaking or rule == "type-changed"
    change = next(change for change in compare_json_schema(new, ORDER, "forward").changes if change.breaking)
    assert change.example is not msgspec.UNSET
    assert compare_json_schema(new, ORDER, "full").breaking
    assert compare_json_schema(ORDER, new, "full").breaking


HARMLESS: list[tuple[Any, str]] = [
    (changed("properties", "id", "maxLength", to=40), "max-length-relaxed"),
    (changed("properties", "status", "enum", to=["open", "paid", "void", "late"]), "values-relaxed"),
    (changed("required", to=["id"]), "required-removed"),
    (changed("properties", "status", to=None), "property-removed"),
    (changed("properties", "note", to={}), "property-added"),
    (changed("description", to="An order."), "annotation-changed"),
    (changed(*LINE, "amount", to={"minimum": 0, "type": ["integer", "null"]}), "type-relaxed"),
    (changed("properties", "status", to={"anyOf": [{"const": "open"}, {"enum": ["void", "paid"]}]}), ""),
]


@pytest.mark.parametrize(("new", "rule"), HARMLESS, ids=[case[1] for case in HARMLESS])
def test_what_breaks_nobody_is_listed_once(new: Any, rule: str) -> None:
    report = compare_json_schema(ORDER, new)
    assert not report.breaking
    assert not rule or only(report).rule == rule


def test_equal_schemas_have_no_changes() -> None:
    assert (
        compare_json_schema(ORDER, changed("title", to=None) if "title" in ORDER else dict(ORDER)).changes
        == []
    )


def test_moving_a_part_into_a_definition_changes_nothing() -> None:
    old = {"properties": {"a": {"type": "string", "minLength": 2}}}
    new = {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"minLength": 2, "type": "string"}}}
    assert compare_json_schema(old, new).changes == []


def test_a_definition_used_in_many_places_is_told_once() -> None:
    def schema(low: int) -> Any:
        uses = {f"p{at}": {"$ref": "#/$defs/A"} for at in range(5)}
        return {"properties": uses, "$defs": {"A": {"type": "integer", "minimum": low}}}

    change = only(compare_json_schema(schema(1), schema(2)))
    assert change.where == "/$defs/A/minimum"
    assert change.breaking


def test_a_tightening_that_no_instance_reaches_breaks_nobody() -> None:
    old = {"type": "object", "properties": {"a": {"type": "string"}, "b": False}}
    new = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string", "minLength": 3}}}
    assert not compare_json_schema(old, new).breaking
    old = {"maximum": 5, "anyOf": [{"type": "integer"}, {"minimum": 7}]}
    new = {"maximum": 5, "anyOf": [{"type": "integer"}, {"minimum": 8}]}
    assert not compare_json_schema({"type": "number", **old}, {"type": "number", **new}).breaking


def test_the_changed_branch_is_named() -> None:
    def pets(low: int) -> Any:
        cat = {"required": ["kind"], "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}}
        dog = {
            "required": ["kind"],
            "properties": {"kind": {"const": "dog"}, "age": {"type": "integer", "minimum": low}},
        }
        return {"type": "object", "oneOf": [cat, dog]}

    change = only(compare_json_schema(pets(0), pets(1)))
    assert change.where == "/oneOf/1/properties/age/minimum"
    assert change.example["kind"] == "dog"


def test_a_break_that_no_single_place_explains_is_still_told() -> None:
    old = {"oneOf": [{"type": "string"}, {"maxLength": 5, "type": "string"}]}
    new = {"oneOf": [{"type": "string"}, {"maxLength": 9, "type": "string"}]}
    report = compare_json_schema(old, new)
    assert report.breaking
    broken = next(change for change in report.changes if change.breaking)
    assert 5 < len(broken.example) <= 9


UNREADABLE = ({"type": "string", "pattern": "^(?=ab)(?=.b)."}, {"type": "string", "pattern": "^(?=.b)(?=a)."})


def test_what_cannot_be_decided_is_said_and_breaks_under_strict_alone() -> None:
    change = only(compare_json_schema(*UNREADABLE))
    assert (change.decided, change.breaking) == (False, False)
    change = only(compare_json_schema(*UNREADABLE, profile="strict"))
    assert (change.decided, change.breaking) == (False, True)


def test_an_unknown_format_counts_under_strict_alone() -> None:
    old, new = {"type": "string"}, {"type": "string", "format": "iban"}
    assert not compare_json_schema(old, new).breaking
    assert compare_json_schema(old, new, profile="strict").breaking


def test_formats_can_be_annotations() -> None:
    old, new = {"type": "string"}, {"type": "string", "format": "email"}
    assert compare_json_schema(old, new).breaking
    assert not compare_json_schema(old, new, formats="annotate").breaking


def test_another_encoding_of_a_string_breaks_whoever_decodes_it() -> None:
    old = {"type": "string", "contentEncoding": "base64"}
    assert only(compare_json_schema(old, {**old, "contentEncoding": "base32"})).rule == "content-changed"
    assert compare_json_schema(old, {**old, "contentEncoding": "base32"}).breaking
    assert not compare_json_schema(old, {"type": "string"}).breaking
    assert compare_json_schema(old, {"type": "string"}, "forward").breaking


@pytest.mark.parametrize(
    ("reads", "breaking"),
    [
        (["customer.email"], True),
        (["/customer/email"], True),
        (["customer"], True),
        (["customer.name"], False),
        (["id", "status"], False),
        ([], False),
        (None, True),
    ],
)
def test_under_consumer_only_what_is_read_counts(reads: list[str] | None, breaking: bool) -> None:
    new = changed("properties", "customer", "properties", "email", "maxLength", to=5)
    report = compare_json_schema(ORDER, new, profile="consumer", reads=reads)
    assert report.breaking is breaking
    assert only(report).rule == "max-length-tightened"


@pytest.mark.parametrize(
    "read", ["lines.amount", "lines[].amount", "lines.*.amount", "/lines/0/amount", "lines"]
)
def test_a_field_of_a_list_is_read_in_every_item(read: str) -> None:
    new = changed(*LINE, "amount", "minimum", to=1)
    assert compare_json_schema(ORDER, new, profile="consumer", reads=[read]).breaking
    assert not compare_json_schema(ORDER, new, profile="consumer", reads=["lines.text"]).breaking


def test_a_new_duty_counts_for_those_who_read_the_field() -> None:
    new = changed("required", to=["id", "lines", "status"])
    assert compare_json_schema(ORDER, new, profile="consumer", reads=["status"]).breaking
    assert not compare_json_schema(ORDER, new, profile="consumer", reads=["customer"]).breaking


def test_a_closed_object_breaks_those_who_read_other_names() -> None:
    new = changed("additionalProperties", to=False)
    assert compare_json_schema(ORDER, new, profile="consumer", reads=["extra"]).breaking
    assert not compare_json_schema(ORDER, new, profile="consumer", reads=["status"]).breaking


def test_the_draft_is_what_the_schema_states() -> None:
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    new = {"$schema": "https://json-schema.org/draft/2020-12/schema", "exclusiveMinimum": 3}
    assert not compare_json_schema(old, new, "full").breaking
    tuple_ = {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"type": "null"}]}
    seven = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]}
    assert not compare_json_schema(seven, tuple_, "full").breaking


def test_anchors_and_identifiers_are_followed() -> None:
    def schema(high: int) -> Any:
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/order",
            "properties": {"a": {"$ref": "#short"}, "b": {"$ref": "part#/$defs/x"}},
            "$defs": {
                "s": {"$anchor": "short", "maxLength": high},
                "p": {"$id": "part", "$defs": {"x": {"maximum": high}}},
            },
        }

    report = compare_json_schema(schema(9), schema(5))
    assert {change.rule for change in report.changes if change.breaking} == {
        "max-length-tightened",
        "maximum-tightened",
    }


def test_large_schemas_compare_in_well_under_a_second() -> None:
    import time

    def schema(changed_at: int | None) -> Any:
        return {
            "$ref": "#/$defs/d0",
            "$defs": {
                f"d{at}": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {
                        "id": {"type": "string", "maxLength": 3 if at == changed_at else 9},
                        **{
                            f"next{step}": {"$ref": f"#/$defs/d{(at * 7 + step) % 400}"}
                            for step in range(1, 8)
                        },
                        "kind": {"enum": ["a", "b", at]},
                    },
                }
                for at in range(400)
            },
        }

    start = time.process_time()
    change = only(compare_json_schema(schema(None), schema(399)))
    assert change.where == "/$defs/d399/properties/id/maxLength"
    assert change.breaking
    assert time.process_time() - start < 1.5


UNUSUAL_VALUES: list[Any] = [
    None,
    5,
    "x",
    [],
    {},
    [1],
    1e400,
    float("nan"),
    "\ud800",
    10**400,
    {"$ref": 5},
    {"$ref": "#/x/~9"},
]
KEYWORDS = ["type", "enum", "required", "properties", "patternProperties", "additionalProperties", "items", "prefixItems",
            "contains", "maxContains", "minLength", "minItems", "minProperties", "pattern", "format", "multipleOf", "allOf",
            "anyOf", "oneOf", "not", "if", "$ref", "dependencies", "dependentRequired", "propertyNames", "minimum",
            "unevaluatedProperties", "$id", "$schema", "$defs"]  # fmt: skip


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_schemas_that_are_not_of_their_form_are_compared_without_failing(keyword: str) -> None:
    for value in UNUSUAL_VALUES:
        for schema in (
            {keyword: value},
            {"properties": {"a": {keyword: value, "contains": {}, "unevaluatedProperties": False}}},
        ):
            if value == value:
                assert compare_json_schema(schema, schema, "full", "strict").changes == []
            for other in (True, {"properties": {"a": {"type": "object", "required": ["b"]}}}):
                for pair in ((schema, other), (other, schema)):
                    compare_json_schema(*pair, "full", "strict")


@pytest.mark.parametrize(
    ("type_", "keyword", "old", "new"),
    [
        ("string", "maxLength", 100_000, 65_535),
        ("string", "maxLength", 10**9, 10**8),
        ("array", "maxItems", 1000, 500),
        ("array", "minItems", 1000, 2000),
        ("object", "maxProperties", 100, 50),
        ("object", "minProperties", 300, 301),
    ],
)
def test_large_limits_are_decided_like_small_ones(type_: str, keyword: str, old: int, new: int) -> None:
    schemas = [{"type": type_, keyword: limit} for limit in (old, new)]
    change = only(compare_json_schema(schemas[0], schemas[1]))
    assert (change.breaking, change.decided) == (True, True)
    assert not compare_json_schema(schemas[1], schemas[0]).breaking


@pytest.mark.parametrize("union", ["anyOf", "oneOf"])
@pytest.mark.parametrize("tagged", [True, False])
def test_unions_of_many_branches_are_decided(union: str, tagged: bool) -> None:
    def schema(low: int) -> Any:
        return {
            union: [
                {
                    "type": "object",
                    "required": ["kind" if tagged else f"is{at}"],
                    "properties": {
                        "kind": {"const": f"k{at}"},
                        f"is{at}": {"type": "integer", "minimum": low},
                    },
                }
                for at in range(25 if tagged or union == "anyOf" else 8)
            ]
        }

    assert compare_json_schema(schema(1), schema(2)).breaking
    if tagged or union == "anyOf":
        assert all(
            change.decided and not change.breaking
            for change in compare_json_schema(schema(2), schema(1)).changes
        )
