"""One meaning in several forms: security schemes, defaults, encodings of fields, bytes, and names of alternatives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.contracts.test_openapi import TEXT, api, breaking, compare, gets, sends

KEY = {"type": "apiKey", "in": "header", "name": "X-Key"}
BEARER = {"type": "http", "scheme": "Bearer"}


def secured(schemes: dict[str, Any], *needed: str) -> dict[str, Any]:
    requirements = [{name: []} for name in needed]
    return {**api(), "security": requirements, "components": {"securitySchemes": schemes}}


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        (secured({"a": KEY}, "a"), secured({"a": {**KEY, "name": "x-key"}}, "a"), []),
        (secured({"a": BEARER}, "a"), secured({"a": {**BEARER, "scheme": "bearer"}}, "a"), []),
        (secured({"a": KEY}, "a"), secured({"a": {**KEY, "description": "Ask us."}}, "a"), []),
        (secured({"a": KEY}, "a"), secured({"b": KEY}, "b"), []),
        (secured({"a": KEY}, "a"), secured({"b": BEARER}, "b"), ["security-narrowed"]),
        (secured({"a": KEY, "b": KEY}, "b"), secured({"a": BEARER, "b": KEY}, "b"), []),
        (secured({"a": KEY}), secured({"a": BEARER}), ["security-scheme-changed"]),
        (
            secured({"a": {**KEY, "in": "query"}}, "a"),
            secured({"a": {**KEY, "in": "query", "name": "x-key"}}, "a"),
            ["security-scheme-changed"],
        ),
    ],
)
def test_security_schemes_are_compared_by_what_clients_send(old: Any, new: Any, rules: list[str]) -> None:
    assert breaking(compare(old, new)) == rules


def with_default(value: int, form: str) -> dict[str, Any]:
    """A parameter whose default is written in one of several places; `covered` has another one further inside."""
    stated = {"type": "integer", "default": value}
    other = {"type": "integer", "default": 7}
    reference = {"$ref": "#/components/schemas/Size"}
    where: dict[str, Any] = {
        "content": {"content": {"application/json": {"schema": reference}}},
        "beside": {"schema": {**reference, "default": value}},
        "around": {"schema": {"allOf": [reference], "default": value}},
        "choice": {"schema": {"anyOf": [reference, {"type": "null"}]}},
    }
    size = other if form in ("beside", "around") else stated
    parameter = {"name": "size", "in": "query", **where[form]}
    return {**api(parameters=[parameter]), "components": {"schemas": {"Size": size}}}


@pytest.mark.parametrize("form", ["content", "beside", "around", "choice"])
def test_the_outermost_default_of_a_parameter_counts(form: str) -> None:
    assert breaking(compare(with_default(1, form), with_default(2, form))) == ["parameter-default-changed"]
    assert not compare(with_default(1, form), with_default(1, form)).changes


@pytest.mark.parametrize("form", ["beside", "around"])
def test_a_default_that_another_one_covers_has_no_effect(form: str) -> None:
    old, new = with_default(1, form), with_default(1, form)
    new["components"]["schemas"]["Size"] = {"type": "integer", "default": 8}
    assert not breaking(compare(old, new))


FIELDS = {"type": "object", "properties": {"tags": {"type": "array", "items": TEXT}}}


def form_body(encoding: dict[str, Any] | None) -> dict[str, Any]:
    stated = {} if encoding is None else {"encoding": {"tags": encoding}}
    return api(requestBody={"content": {"application/x-www-form-urlencoded": {"schema": FIELDS, **stated}}})


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        (None, {"explode": False}, ["request-encoding-changed"]),
        ({"style": "spaceDelimited"}, None, ["request-encoding-changed"]),
        (None, {"style": "form", "explode": True}, []),
        ({"style": "spaceDelimited"}, {"style": "spaceDelimited", "explode": False}, []),
    ],
)
def test_the_encoding_of_a_field_that_states_none_is_the_default(
    old: Any, new: Any, rules: list[str]
) -> None:
    assert [change.rule for change in compare(form_body(old), form_body(new)).changes] == rules


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({**TEXT, "format": "byte"}, {**TEXT, "contentEncoding": "base64"}),
        ({**TEXT, "format": "binary"}, {**TEXT, "contentMediaType": "application/octet-stream"}),
        ({**TEXT, "pattern": "^(a|b)$"}, {**TEXT, "enum": ["a", "b"]}),
    ],
)
def test_a_restated_text_breaks_nobody(old: Any, new: Any) -> None:
    for place in (sends, gets):
        assert not breaking(compare(place(old), place(new)))
        assert not breaking(compare(place(new), place(old)))


def test_listed_values_that_a_pattern_refuses_break_senders() -> None:
    old, new = {**TEXT, "enum": ["a", "b"]}, {**TEXT, "pattern": "^a$"}
    assert "request-pattern-added" in breaking(compare(sends(old), sends(new)))


@pytest.mark.parametrize("mapped", [True, False])
def test_the_name_of_an_alternative_is_its_value_if_no_mapping_names_it(mapped: bool) -> None:
    def described(name: str) -> dict[str, Any]:
        targets = {"mapping": {"cat": f"#/components/schemas/{name}"}} if mapped else {}
        choice = {
            "oneOf": [{"$ref": f"#/components/schemas/{name}"}, {"$ref": "#/components/schemas/Dog"}],
            "discriminator": {"propertyName": "kind", **targets},
        }
        animals = {
            kind: {"type": "object", "required": ["kind"], "properties": {"kind": TEXT, sound: TEXT}}
            for kind, sound in ((name, "meow"), ("Dog", "bark"))
        }
        return {**sends(choice), "components": {"schemas": animals}}

    expected = [] if mapped else ["request-discriminator-mapping-removed"]
    assert breaking(compare(described("Cat"), described("Feline"))) == expected
