"""Inclusion of one schema in another, with a counterexample if there is one."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest

from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.inclusion import SchemaPair, included

PERSON = {
    "$ref": "#/definitions/P",
    "definitions": {
        "P": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/definitions/P"}},
            },
        }
    },
}
PET = {
    "oneOf": [
        {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}},
        {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "dog"}, "lives": {"type": "null"}}},
    ]
}  # fmt: skip

PART: list[tuple[str, Any, Any]] = [
    ("integers are numbers", {"type": "integer"}, {"type": "number"}),
    ("all that is said twice", {"allOf": [{"minimum": 3}, {"maximum": 9}]}, {"minimum": 3, "maximum": 9}),
    ("ranges that meet", {"type": "number"}, {"anyOf": [{"maximum": 3}, {"minimum": 2}]}),
    ("a multiple of six is even", {"multipleOf": 6}, {"multipleOf": 2}),
    ("tenths", {"type": "number", "multipleOf": 0.3}, {"multipleOf": 0.1}),
    ("integers between", {"type": "integer", "exclusiveMinimum": 0, "maximum": 2}, {"enum": [1, 2]}),
    ("nothing is part of everything", {"type": "integer", "minimum": 3, "maximum": 2}, {"type": "string"}),
    ("an empty list of values", {"enum": []}, {"type": "null"}),
    ("expressions", {"pattern": "^[a-f]{3}$"}, {"pattern": "^[a-z]+$", "minLength": 1, "maxLength": 3}),
    ("an expression and a length", {"type": "string", "pattern": "^(ab)*$", "minLength": 3}, {"minLength": 4}),
    ("a property that may be anything", {"properties": {"a": {"minimum": 1}}}, {"properties": {"a": True}}),
    ("closed objects", {"properties": {"a": {"type": "null"}}, "additionalProperties": False},
     {"additionalProperties": {"type": "null"}}),
    ("names by expression", {"patternProperties": {"^a": {"minimum": 3}}}, {"properties": {"ab": {"minimum": 2}}}),
    ("required makes one", {"type": "object", "required": ["a"]}, {"minProperties": 1}),
    ("a dependency", {"required": ["a", "b"]}, {"dependentRequired": {"a": ["b"]}}),
    ("a condition in other words", {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
     {"dependentRequired": {"a": ["b"]}}),
    ("a tuple", {"prefixItems": [{"const": 1}], "items": False, "minItems": 1, "type": "array"}, {"enum": [[1]]}),
    ("contained", {"type": "array", "minItems": 1, "items": {"type": "null"}}, {"contains": {"type": "null"}}),
    ("booleans run out", {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True}, {"maxItems": 2}),
    ("a recursive schema by itself", PERSON, {**PERSON, "title": "Person"}),
    ("tagged branches", PET, {"anyOf": PET["oneOf"]}),
    ("tagged branches, back", {"anyOf": PET["oneOf"]}, PET),
    ("all looked at", {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
     {"properties": {"a": {}}, "additionalProperties": False}),
    ("an e-mail address is an international one", {"format": "email"}, {"format": "idn-email"}),
    ("excluded in other words", {"not": {"type": ["string", "null"]}},
     {"type": ["number", "boolean", "array", "object"]}),
]  # fmt: skip

APART: list[tuple[str, Any, Any]] = [
    ("numbers", {"type": "number"}, {"type": "integer"}),
    ("a gap between ranges", {"type": "number"}, {"anyOf": [{"maximum": 2}, {"exclusiveMinimum": 2.5}]}),
    ("an expression", {"type": "string", "pattern": "^[a-z]+$"}, {"pattern": "^[a-y]+$"}),
    ("a length", {"type": "string", "pattern": "^a*$"}, {"maxLength": 30}),
    ("a name by expression", {"patternProperties": {"^a": {"minimum": 1}}}, {"patternProperties": {"^ab": False}}),
    ("a name too long", {"type": "object"}, {"propertyNames": {"maxLength": 4}}),
    ("a second match", {"anyOf": [{"minimum": 1}, {"maximum": 5}]}, {"oneOf": [{"minimum": 1}, {"maximum": 5}]}),
    ("something contained twice", {"type": "array"}, {"contains": {"const": 1}, "minContains": 0, "maxContains": 1}),
    ("deep in a recursive schema", PERSON,
     {**PERSON, "definitions": {"P": {**PERSON["definitions"]["P"], "required": ["name"]}}}),
    ("an unknown name", {"allOf": [{"properties": {"a": {}}}]},
     {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}),
    ("a format", {"type": "string"}, {"format": "date"}),
    ("one format for another", {"type": "string", "format": "date"}, {"format": "date-time"}),
    ("equal items", {"type": "array"}, {"uniqueItems": True}),
    ("a deep value", {"type": "object"}, {"not": {"const": {"a": [1, {"b": None}]}}}),
]  # fmt: skip


@pytest.mark.parametrize(("narrow", "wide"), [case[1:] for case in PART], ids=[case[0] for case in PART])
def test_a_schema_is_found_to_be_part_of_another(narrow: Any, wide: Any) -> None:
    assert included(narrow, wide).verdict == "yes"


@pytest.mark.parametrize(("narrow", "wide"), [case[1:] for case in APART], ids=[case[0] for case in APART])
def test_an_instance_shows_that_a_schema_is_not_part_of_another(narrow: Any, wide: Any) -> None:
    result = included(narrow, wide)
    assert result.verdict == "no"
    assert result.example is not msgspec.UNSET
    assert jsonschema_rs.validator_for(narrow, validate_formats=True).is_valid(result.example)
    assert not jsonschema_rs.validator_for(wide, validate_formats=True).is_valid(result.example)


def test_formats_can_be_read_as_mere_descriptions() -> None:
    assert included({"type": "string"}, {"format": "date"}, formats="annotate").verdict == "yes"


def test_what_cannot_be_read_is_undecided_unless_it_is_the_same() -> None:
    ahead = {"type": "string", "pattern": "^(?!x)[a-z]+$"}
    assert included(ahead, {"type": "string", "pattern": "^(?=.*q)(?!y)"}).verdict == "no"
    assert (
        included({"type": "string", "pattern": "^(?=ab)(?=.b)."}, {"pattern": "^(?=.b)(?=a)."}).verdict
        == "unknown"
    )
    assert included({**ahead, "minLength": 3}, ahead).verdict == "yes"


def test_references_are_looked_up_in_the_root_of_each_side() -> None:
    old = {"components": {"schemas": {"A": {"type": "string"}, "B": {"$ref": "#/components/schemas/A"}}}}
    new = {
        "components": {
            "schemas": {"A": {"type": "string", "maxLength": 5}, "B": {"$ref": "#/components/schemas/A"}}
        }
    }
    b = {"$ref": "#/components/schemas/B"}
    result = included(b, b, narrow_root=old, wide_root=new, dialect="openapi-3.0")
    assert result.verdict == "no"
    assert len(result.example) > 5
    assert included(b, b, narrow_root=new, wide_root=old, dialect="openapi-3.0").verdict == "yes"


def test_nullable_admits_null_in_descriptions_of_that_version_alone() -> None:
    old, new = {"type": "string", "nullable": True}, {"type": "string"}
    assert included(old, new, dialect="openapi-3.0").example is None
    assert included(old, new, dialect="2020-12").verdict == "yes"


def test_a_pair_of_documents_answers_both_ways() -> None:
    old, new = {"type": "integer"}, {"type": "number"}
    pair = SchemaPair(SchemaDocument(old, "2020-12"), SchemaDocument(new, "2020-12"))
    assert pair.forward(old, new).verdict == "yes"
    assert pair.backward(new, old).verdict == "no"
    assert pair.backward(new, old) is pair.backward(new, old)


@pytest.mark.parametrize("dialect", ["4", "6", "7"])
def test_what_stands_beside_a_reference_is_not_read_in_old_drafts(dialect: Any) -> None:
    old = {"properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {"A": {"type": "string"}}}
    new = {**old, "properties": {"a": {"$ref": "#/definitions/A", "maxLength": 1}}}
    assert included(old, new, dialect=dialect).verdict == "yes"
    assert included(old, new, dialect="2020-12").verdict == "no"


def test_work_is_bounded_where_branches_multiply() -> None:
    def shape(low: int) -> Any:
        return {
            "allOf": [
                {
                    "anyOf": [
                        {"required": [f"{a}{b}"], "properties": {f"{a}{b}": {"minimum": low}}}
                        for b in range(6)
                    ]
                }
                for a in range(8)
            ]
        }

    assert included(shape(1), shape(2)).verdict in {"no", "unknown"}
    assert included(shape(2), shape(1)).verdict in {"yes", "unknown"}


LOOKED_AT: dict[str, Any] = {
    "anyOf": [
        {"required": ["card"], "properties": {"card": {"type": "string"}}},
        {"required": ["bank"], "properties": {"bank": {"type": "string"}}},
    ],
    "unevaluatedProperties": False,
    "type": "object",
}


def test_what_a_branch_looked_at_is_not_left_over() -> None:
    either = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "propertyNames": {"enum": ["card", "bank"]},
    }
    assert included(LOOKED_AT, either).verdict == "yes"
    other = included({**either, "minProperties": 1, "additionalProperties": True}, LOOKED_AT)
    assert other.verdict == "no"
    condition = {
        "type": "object",
        "if": {"properties": {"kind": {"const": "a"}}, "required": ["kind"]},
        "then": {"properties": {"more": True}},
        "unevaluatedProperties": False,
    }
    assert included({"enum": [{"kind": "a", "more": 1}, {}]}, condition).verdict == "yes"
    assert included({"enum": [{"kind": "b"}]}, condition).example == {"kind": "b"}


def test_items_left_over_are_those_that_nobody_looked_at() -> None:
    tuple_ = {"allOf": [{"prefixItems": [True]}], "prefixItems": [True, True], "unevaluatedItems": False}
    assert included({"type": "array", "maxItems": 2}, tuple_).verdict == "yes"
    assert included({"type": "array", "maxItems": 3}, tuple_).verdict == "no"


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"format": "date", "type": "string"}, {"pattern": r"^\d{4}-\d{2}-\d{2}$"}),
        ({"format": "date", "type": "string"}, {"minLength": 10, "maxLength": 10}),
        ({"type": "string", "format": "uuid", "allOf": [{"format": "date"}]}, False),
        ({"type": "string", "format": "email", "maxLength": 1}, False),
    ],
)
def test_the_shape_of_a_format_is_known(narrow: Any, wide: Any) -> None:
    assert included(narrow, wide).verdict == "yes"


def test_an_expression_and_a_format_are_met_together() -> None:
    narrow = {"type": "string", "format": "email", "pattern": "@example\\.org$"}
    assert included(narrow, {"not": narrow}).verdict == "no"
    assert included(narrow, {"pattern": "example"}).verdict == "yes"


def test_schemas_of_a_long_chain_are_decided() -> None:
    def chain(low: int) -> Any:
        links = {f"d{at}": {"properties": {"next": {"$ref": f"#/$defs/d{at + 1}"}}} for at in range(200)}
        return {"$ref": "#/$defs/d0", "$defs": {**links, "d200": {"type": "integer", "minimum": low}}}

    assert included(chain(1), chain(0)).verdict == "yes"
    assert included(chain(0), chain(1)).where == "/next" * 200


def test_nothing_outside_of_the_documents_is_fetched() -> None:
    away = {"$ref": "http://127.0.0.1:9/schema.json"}
    assert included(away, {"type": "string"}, dialect="2020-12").verdict == "unknown"
    assert included({**away, "maxLength": 3}, {**away, "maxLength": 4}, dialect="2020-12").verdict == "yes"
