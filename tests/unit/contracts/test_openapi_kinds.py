"""Kinds of changes that need more than the two texts at one place: patterns, discriminators, defaults, references."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from counterfoil.contracts.report import Change
from tests.unit.contracts.test_openapi import TEXT, api, breaking, compare, gets, only, sends

CODE = {**TEXT, "pattern": "^[A-Z]{2}[0-9]{1,8}$"}


def pattern(text: str) -> dict[str, Any]:
    return {**TEXT, "pattern": text}


@pytest.mark.parametrize(
    ("old", "new", "sent", "got"),
    [
        (CODE, pattern("^[A-Z]{2}[0-9]{1,4}$"), ["request-pattern-narrowed"], []),
        (pattern("^[a-c]$"), pattern("^[a-z]$"), [], []),
        (pattern("^a+$"), pattern("^b+$"), ["request-pattern-replaced"], []),
        (pattern("^a+$"), pattern("^a{1,}$"), [], []),
        (TEXT, pattern(""), [], []),
        (TEXT, pattern("^[\\s\\S]*$"), [], []),
        ({**TEXT, "maxLength": 2}, {**TEXT, "maxLength": 2, "pattern": "^[\\s\\S]{0,2}$"}, [], []),
    ],
)
def test_patterns_are_compared_by_the_texts_that_they_allow(
    old: Any, new: Any, sent: list[str], got: list[str]
) -> None:
    assert breaking(compare(sends(old), sends(new))) == sent
    assert breaking(compare(gets(old), gets(new))) == got
    assert all(change.decided for change in compare(sends(old), sends(new)).changes)


def test_a_narrowed_pattern_shows_a_text_that_is_refused_now() -> None:
    change = only(compare(sends(pattern("^[a-z]$")), sends(pattern("^[a-c]$"))))
    assert len(change.example) == 1
    assert change.example not in "abc"


PERSON = {"type": "object", "required": ["kind"], "properties": {"kind": TEXT, "name": TEXT}}
FIRM = {"type": "object", "required": ["kind", "vat"], "properties": {"kind": TEXT, "vat": TEXT}}


def payer(mapping: dict[str, str] | None, **schemas: Any) -> dict[str, Any]:
    """A choice of `Person` and `Firm` by `kind`; names of the mapping identify components."""
    targets = {value: f"#/components/schemas/{name}" for value, name in (mapping or {}).items()}
    names = {"Person": PERSON, "Firm": FIRM, **schemas}
    return {
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Person", "Firm")],
        "discriminator": {"propertyName": "kind", **({"mapping": targets} if mapping else {})},
        "x-schemas": names,
    }


def with_components(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {**document, "components": {"schemas": schema.pop("x-schemas")}}


def changed_mapping(old: Any, new: Any, **schemas: Any) -> tuple[list[str], list[str], list[Change]]:
    results = []
    for place in (sends, gets):
        before, after = payer(old, **schemas), payer(new, **schemas)
        report = compare(with_components(place(before), before), with_components(place(after), after))
        results.append(report)
    return breaking(results[0]), breaking(results[1]), results[1].changes


def test_a_discriminator_value_that_identifies_another_alternative_breaks_both_sides() -> None:
    sent, got, changes = changed_mapping({"p": "Person", "f": "Firm"}, {"p": "Firm", "f": "Person"})
    assert sent == ["request-discriminator-mapping-changed"] * 2
    assert got == ["response-discriminator-mapping-changed"] * 2
    assert "value p identified Person and identifies Firm now" in changes[1].message


def test_a_renamed_discriminator_value_breaks_both_sides_and_says_its_new_name() -> None:
    sent, got, changes = changed_mapping({"p": "Person", "f": "Firm"}, {"person": "Person", "f": "Firm"})
    assert sent == ["request-discriminator-mapping-removed"]
    assert got == ["response-discriminator-mapping-added"]
    assert any("does not identify Person any more, which person identifies now" in c.message for c in changes)


def test_a_mapping_that_states_the_names_of_the_alternatives_is_no_change() -> None:
    assert changed_mapping(None, {"Person": "Person", "Firm": "Firm"}) == ([], [], [])


def test_values_that_the_alternatives_exclude_do_not_identify_them() -> None:
    listed = {**PERSON, "properties": {**PERSON["properties"], "kind": {"enum": ["p"]}}}
    same = {"p": "Person", "f": "Firm"}
    assert changed_mapping(same, {**same, "q": "Person"}, Person=listed) == ([], [], [])


def versioned(default: str, *, inline: bool = False, shared: bool = False) -> dict[str, Any]:
    schema = {**TEXT, "default": default}
    stated = schema if inline else {"$ref": "#/components/schemas/Version"}
    parameter = {"name": "Api-Version", "in": "header", "schema": stated}
    used = {"$ref": "#/components/parameters/Version"} if shared else parameter
    return {
        **api(parameters=[used]),
        "components": {"schemas": {"Version": schema}, "parameters": {"Version": parameter}},
    }


@pytest.mark.parametrize("form", [{"inline": True}, {}, {"shared": True}])
def test_the_default_of_a_parameter_breaks_wherever_it_is_written(form: dict[str, bool]) -> None:
    report = compare(versioned("1", **form), versioned("2", **form))
    assert breaking(report) == ["parameter-default-changed"]
    assert not compare(versioned("1", **form), versioned("1", **form)).changes


def test_keywords_beside_a_reference_have_no_meaning_in_openapi_3_0() -> None:
    def described(version: str, schema: Any, email: str) -> dict[str, Any]:
        person = {"type": "object", "required": ["mail"], "properties": {"mail": {"type": email}}}
        return {**gets(schema), "openapi": version, "components": {"schemas": {"Person": person}}}

    reference = {"$ref": "#/components/schemas/Person"}
    beside = {**reference, "type": "string"}
    assert not compare(described("3.0.3", beside, "string"), described("3.0.3", reference, "string")).changes
    assert compare(described("3.1.0", beside, "string"), described("3.1.0", reference, "string")).breaking
    deeper = compare(described("3.0.3", beside, "string"), described("3.0.3", reference, "integer"))
    assert breaking(deeper) == ["response-type-changed"]


def test_a_list_of_both_booleans_is_no_list() -> None:
    both = {"type": "boolean", "enum": [True, False]}
    assert not compare(gets(both), gets({"type": "boolean"})).changes
    assert breaking(compare(gets({"type": "boolean", "enum": [True]}), gets({"type": "boolean"})))


def test_a_reference_outside_the_document_is_undecided_even_if_its_text_is_equal() -> None:
    outside = gets({"$ref": "https://example.com/person.json"})
    change = only(compare(outside, {**outside, "info": {"title": "Things", "version": "1", "x-a": 1}}))
    assert (change.rule, change.decided) == ("response-reference-unresolved", False)


NUMBERED = {"type": "object", "required": ["number"], "properties": {"number": TEXT}}
NAMED = {"type": "object", "required": ["name"], "properties": {"name": TEXT}}


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        (
            [TEXT, {"type": "integer"}],
            [TEXT, {"type": "integer"}, {"type": "number"}],
            ["request-union-overlap"],
        ),
        ([NUMBERED, NAMED], [NUMBERED, {**NAMED, "required": []}], ["request-union-overlap"]),
        ([NUMBERED, NAMED], [NUMBERED, NAMED, {"type": "integer"}], []),
    ],
)
def test_a_value_that_matches_two_alternatives_of_one_of_is_not_called_accepted(
    old: Any, new: Any, sent: list[str]
) -> None:
    report = compare(sends({"oneOf": old}), sends({"oneOf": new}))
    assert [change.rule for change in report.changes if not change.decided] == sent
    assert breaking(compare(sends({"oneOf": old}), sends({"oneOf": new}), "strict")) == sent
    assert all(change.decided for change in compare(sends({"anyOf": old}), sends({"anyOf": new})).changes)


def test_alternatives_that_overlap_behind_their_references_are_reported_at_the_choice() -> None:
    def described(required: list[str], place: Any = sends) -> dict[str, Any]:
        choice = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Numbered", "Named")]}
        schemas = {"Numbered": NUMBERED, "Named": {**NAMED, "required": required}, "Choice": choice}
        return {**place({"$ref": "#/components/schemas/Choice"}), "components": {"schemas": schemas}}

    report = compare(described(["name"]), described([]))
    (change,) = [change for change in report.changes if not change.decided]
    assert (change.rule, change.where) == ("request-union-overlap", "/components/schemas/Choice")
    assert '"number"' in change.message
    assert all(change.decided for change in compare(described([]), described(["name"])).changes)


def test_a_discriminator_selects_one_of_overlapping_alternatives() -> None:
    choice = {"oneOf": [PERSON, FIRM], "discriminator": {"propertyName": "kind"}}
    wider = {**choice, "oneOf": [PERSON, {**FIRM, "required": ["kind"]}]}
    assert all(change.decided for change in compare(sends(choice), sends(wider)).changes)


def named(union: Any, **schemas: Any) -> dict[str, Any]:
    return {**gets(union), "components": {"schemas": schemas}}


def test_an_object_that_was_split_into_narrower_alternatives_breaks_no_reader() -> None:
    whole = {"type": "object", "required": ["role"], "properties": {"role": {"enum": ["buyer", "seller"]}}}
    halves = {
        name: {"type": "object", "required": ["role"], "properties": {"role": {"enum": [name]}}}
        for name in ("buyer", "seller")
    }
    choice = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in halves]}
    assert breaking(compare(named(whole, **halves), named(choice, **halves))) == []


def test_an_example_is_shown_only_if_it_is_valid_on_one_side_alone() -> None:
    def some(*names: str) -> dict[str, Any]:
        return {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}

    loose = {name: {"type": "object", "properties": {name: TEXT}} for name in ("a", "b", "c")}
    (change,) = compare(named(some("a", "b"), **loose), named(some("a", "b", "c"), **loose)).changes
    assert (change.rule, change.example) == ("response-variant-added", msgspec.UNSET)
    strict = {**loose, "c": {"type": "array"}}
    (change,) = compare(named(some("a", "b"), **strict), named(some("a", "b", "c"), **strict)).changes
    assert (change.rule, change.example) == ("response-variant-added", [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"oneOf": [{"type": "null"}, {"oneOf": [{"const": "x"}, {"type": "string", "minLength": 1}]}]},
            {"type": "string", "minLength": 1},
        ),
        ({**TEXT, "format": "date"}, {"allOf": [{**TEXT, "format": "email"}, {**TEXT, "format": "date"}]}),
        (
            {"type": "integer", "multipleOf": 2},
            {"allOf": [{"multipleOf": 3}, {"type": "integer", "multipleOf": 2}]},
        ),
        (
            {"type": "array", "uniqueItems": False},
            {"allOf": [{"uniqueItems": True}, {"type": "array", "uniqueItems": False}]},
        ),
    ],
)
def test_every_part_of_a_schema_counts(old: Any, new: Any) -> None:
    assert breaking(compare(sends(old), sends(new)))


def test_alternatives_that_overlap_inside_an_alternative_are_undecided() -> None:
    nested = {"oneOf": [{"type": "array"}, {"oneOf": [{"type": "boolean"}, {}]}]}
    report = compare(sends({"type": "boolean"}), sends(nested))
    assert "request-union-overlap" in [change.rule for change in report.changes if not change.decided]
