"""Templates, pointers and schemas of the http connector."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors.openapi.document import ApiDocument, load
from counterfoil.connectors.openapi.render import (
    MISSING,
    InputRefused,
    build_target,
    encode,
    fill,
    is_equal,
    set_at,
    value_at,
)
from counterfoil.connectors.sdk import Json

INPUT = {"customer": {"id": "cus_1"}, "lines": [{"net": Decimal("1.10")}], "none": None}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        (5, 5),
        ("$key", "cf1"),
        ("$input", INPUT),
        ("$input.customer.id", "cus_1"),
        ("$input.lines.0.net", Decimal("1.10")),
        ("$input.none", None),
        ("$$key", "$key"),
        ({"a": ["$key", "$input.gone?"], "b": "$input.gone.deep?"}, {"a": ["cf1"]}),
    ],
)
def test_a_template_is_filled_from_input_and_key(template: Any, expected: Any) -> None:
    assert fill(template, INPUT, "cf1") == expected


@pytest.mark.parametrize(
    "place", ["$input.gone", "$input.customer.id.deeper", "$input.lines.1", "$input.lines.x"]
)
def test_a_place_that_is_not_in_the_input_is_the_inputs_fault(place: str) -> None:
    with pytest.raises(InputRefused, match="the input has no"):
        fill({"a": place}, INPUT, "cf1")


def test_a_key_is_put_at_its_place_and_leaves_the_rest() -> None:
    assert set_at({"a": {"b": 1}}, "a.c", "cf1") == {"a": {"b": 1, "c": "cf1"}}
    assert set_at({}, "x.y", "cf1") == {"x": {"y": "cf1"}}
    with pytest.raises(InputRefused):
        set_at({"a": "text"}, "a.c", "cf1")


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", {"a/b": [{"~": 1}]}),
        ("/a~1b/0/~0", 1),
        ("/a~1b/1", MISSING),
        ("/a~1b/-1", MISSING),
        ("/a~1b/0/~0/deep", MISSING),
        ("/gone", MISSING),
    ],
)
def test_pointers_follow_rfc_6901(pointer: str, expected: Any) -> None:
    assert value_at({"a/b": [{"~": 1}]}, pointer) == expected


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [
        ("1", 1, True),
        (1, "1", True),
        (Decimal("1.10"), "1.10", True),
        (Decimal("1.1"), Decimal("1.10"), True),
        ("a", "A", False),
        (None, "None", False),
        (None, None, True),
        (MISSING, None, False),
        ({"a": 1}, {"a": 1}, True),
        ([1], "[1]", False),
        ({}, {"a": 1}, False),
    ],
)
def test_a_value_matches_as_an_api_means_it(value: Json, wanted: Json, same: bool) -> None:
    assert is_equal(value, wanted) is same


OPERATIONS: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/things/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "put": {
                "operationId": "putThing",
                "parameters": [
                    {"name": "tag", "in": "query"},
                    {"name": "X-Trace", "in": "header"},
                ],
                "requestBody": {"$ref": "#/components/requestBodies/Thing"},
                "responses": {
                    "2XX": {"$ref": "#/components/responses/Thing"},
                    "default": {"description": "no"},
                },
            },
        }
    },
    "components": {
        "parameters": {"Id": {"name": "id", "in": "path"}},
        "requestBodies": {"Thing": {"required": True, "content": {"application/json": {"schema": True}}}},
        "responses": {
            "Thing": {
                "content": {"application/vnd.x+json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
            }
        },
        "schemas": {
            "Thing": {
                "allOf": [
                    {"properties": {"id": {"type": "string"}}, "required": ["id"]},
                    {"$ref": "#/components/schemas/Node"},
                ]
            },
            "Node": {
                "properties": {"parent": {"$ref": "#/components/schemas/Thing"}, "extra": {"oneOf": [{}, {}]}}
            },
            "Loop": {"$ref": "#/components/schemas/Loop"},
            "Round": {"allOf": [{"$ref": "#/components/schemas/Round"}]},
        },
    },
}


def test_parameters_go_where_the_document_says_and_stay_there() -> None:
    described = ApiDocument(OPERATIONS).operations["putThing"]
    values = {"id": "a/b ?#c", "tag": ["x&y", 2, True], "X-Trace": "t"}
    path, headers = build_target(described, values)
    assert path == "/things/a%2Fb%20%3F%23c?tag=x%26y&tag=2&tag=true"
    assert headers == {"x-trace": "t"}
    for invalid in (
        {"id": ""},
        {"id": ".."},
        {"id": "a/../b"},
        {"id": "a\\.."},
        {"id": {"a": 1}},
        {"id": "1", "X-Trace": "a\nb"},
    ):
        with pytest.raises(InputRefused):
            build_target(described, invalid)


def test_decimals_are_written_as_numbers_with_their_digits() -> None:
    described = ApiDocument(OPERATIONS).operations["putThing"]
    body, kind = encode(described, {"a": Decimal("1.10"), "b": [Decimal("1E+3")], "c": 2, "d": None})
    assert (body, kind) == (b'{"a":1.10,"b":[1000],"c":2,"d":null}', "application/json")


def test_schemas_are_followed_through_references_and_parts() -> None:
    document = ApiDocument(OPERATIONS)
    thing = document.operations["putThing"].answer
    assert document.inside(thing, "/parent/parent/id") == ({"type": "string"}, None)
    assert document.inside(thing, "/parent/colour") == (None, "colour")
    assert document.inside(thing, "/extra/anything") == (None, None)
    assert document.members(thing)[1] == {"id"}


@pytest.mark.parametrize("name", ["Loop", "Round"])
def test_a_schema_that_refers_to_itself_ends(name: str) -> None:
    document = ApiDocument(OPERATIONS)
    assert document.inside({"$ref": f"#/components/schemas/{name}"}, "/a") == (None, None)


def test_problems_of_a_document_are_reported() -> None:
    assert [str(problem) for problem in load(5)[1]] == ["openapi: expected a path or a document, not int"]
    assert [str(problem) for problem in load({"openapi": "3.0.0"})[1]] == [
        "openapi: the document has no paths"
    ]
    twice = {"get": {"operationId": "a"}, "put": {"operationId": "a"}}
    (problem,) = load({"openapi": "3.0.0", "paths": {"/": twice}})[1]
    assert str(problem) == "openapi: operationId a appears twice"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paths: [", "is not valid JSON or YAML: line 1: "),
        ("- 1", "not an OpenAPI 3 document (it has no `openapi: 3...`)"),
        ("swagger: '2.0'", "not an OpenAPI 3 document"),
        (
            "openapi: 3.0.0\npaths: {/a: {get: {operationId: a, parameters: 5}}}",
            "not in the form of OpenAPI 3",
        ),
        (
            "openapi: 3.0.0\npaths: {/a: {get: {operationId: a, requestBody: {content: 5}}}}",
            "not in the form",
        ),
    ],
)
def test_a_document_of_the_wrong_form_is_one_sentence(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(text)
    (problem,) = load(str(tmp_path / "api.yaml"))[1]
    assert expected in problem.message
    assert "\n" not in str(problem)


def test_a_missing_document_names_the_near_file(tmp_path: Path) -> None:
    (tmp_path / "ledger.yaml").write_text("openapi: 3.0.0")
    (problem,) = load(str(tmp_path / "leger.yaml"))[1]
    assert problem.fix == "did you mean `ledger.yaml`?"
