"""Changes of OpenAPI descriptions, and the clients that they break."""

from __future__ import annotations

import copy
import json
from datetime import date
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from counterfoil.contracts import compare_openapi
from counterfoil.contracts.openapi import RULES
from counterfoil.contracts.report import Change, Report

TODAY = date(2026, 3, 1)


def api(**operation: Any) -> dict[str, Any]:
    """A description with one operation, `POST /things/{id}`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Things", "version": "1"},
        "paths": {"/things/{id}": {"post": {"responses": {"200": {"description": "fine"}}, **operation}}},
    }


def json_body(schema: Any, **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}, **more}


def sends(schema: Any) -> dict[str, Any]:
    return api(requestBody=json_body(schema))


def gets(schema: Any) -> dict[str, Any]:
    return api(responses={"200": {"description": "fine", **json_body(schema)}})


def compare(old: dict[str, Any], new: dict[str, Any], profile: Any = "standard", **more: Any) -> Report:
    return compare_openapi(old, new, profile, today=TODAY, **more)


def breaking(report: Report) -> list[str]:
    return [change.rule for change in report.changes if change.breaking]


def only(report: Report) -> Change:
    assert len(report.changes) == 1, report.changes
    return report.changes[0]


TEXT = {"type": "string"}
SCHEMAS: list[tuple[str, Any, Any, str, str]] = [
    # What changed, before, after, what breaks clients that send it, what breaks clients that get it.
    ("type", TEXT, {"type": "integer"}, "request-type-changed", "response-type-changed"),
    ("wider type", {"type": "integer"}, {"type": "number"}, "", "response-type-widened"),
    ("nullable", TEXT, {"type": ["string", "null"]}, "", "response-became-nullable"),
    ("nullable as in 3.0", TEXT, {**TEXT, "nullable": True}, "", "response-became-nullable"),
    ("no null", {"anyOf": [TEXT, {"type": "null"}]}, TEXT, "request-became-not-nullable", ""),
    ("format", TEXT, {**TEXT, "format": "uuid"}, "request-format-narrowed", ""),
    ("wider format", {"type": "integer", "format": "int32"}, {"type": "integer", "format": "int64"}, "",
     "response-format-widened"),
    ("list of values", TEXT, {"enum": ["a"]}, "request-became-enum", ""),
    ("value more", {"enum": ["a"]}, {"enum": ["a", "b"]}, "", "response-enum-value-added"),
    ("value less", {"enum": ["a", "b"]}, {"enum": ["a"]}, "request-enum-value-removed", ""),
    ("const is a list of one", {"const": "a"}, {"enum": ["a", "b"]}, "", "response-enum-value-added"),
    ("growing list", {**TEXT, "x-extensible-enum": ["a", "b"]}, {**TEXT, "x-extensible-enum": ["a", "c"]},
     "request-extensible-enum-value-removed", ""),
    ("least", {"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 2}, "request-min-increased", ""),
    ("least as in 3.0", {"type": "integer", "minimum": 1},
     {"type": "integer", "minimum": 1, "exclusiveMinimum": True}, "request-min-increased", ""),
    ("greatest", {"type": "integer", "exclusiveMaximum": 9}, {"type": "integer", "maximum": 9}, "",
     "response-max-increased"),
    ("longest", {**TEXT, "maxLength": 5}, {**TEXT, "maxLength": 4}, "request-max-length-decreased", ""),
    ("no longest", {**TEXT, "maxLength": 5}, TEXT, "", "response-max-length-increased"),
    ("pattern", TEXT, {**TEXT, "pattern": "^a"}, "request-pattern-added", ""),
    ("multiples", {"type": "integer"}, {"type": "integer", "multipleOf": 5}, "request-multiple-of-added", ""),
    ("items", {"type": "array", "items": TEXT}, {"type": "array", "items": {"type": "integer"}},
     "request-type-changed", "response-type-changed"),
    ("unique items", {"type": "array"}, {"type": "array", "uniqueItems": True}, "request-unique-items-added", ""),
    ("names", {"type": "object"}, {"type": "object", "propertyNames": {"maxLength": 3}},
     "request-property-names-added", ""),
    ("excluded", TEXT, {**TEXT, "not": {"const": "a"}}, "request-not-added", ""),
    ("condition", {"if": {"const": "a"}, "then": False}, {}, "", "response-condition-removed"),
    ("nothing", False, {}, "", "response-type-widened"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "sent", "got"), [case[1:] for case in SCHEMAS], ids=[c[0] for c in SCHEMAS]
)
def test_what_clients_send_may_widen_and_what_they_get_may_narrow(
    old: Any, new: Any, sent: str, got: str
) -> None:
    assert breaking(compare(sends(old), sends(new))) == ([sent] if sent else [])
    assert breaking(compare(gets(old), gets(new))) == ([got] if got else [])


def as_schema(schema: Any) -> Any:
    """OpenAPI 3.0's words in those of JSON Schema, as far as the cases use them."""
    if not isinstance(schema, dict):
        return schema
    document = {
        key: as_schema(value) for key, value in schema.items() if key not in ("nullable", "exclusiveMinimum")
    }
    if "x-extensible-enum" in document:
        document["enum"] = document.pop("x-extensible-enum")
    if isinstance(schema.get("exclusiveMinimum"), bool):
        document["exclusiveMinimum"] = document.pop("minimum")
    return {"anyOf": [document, {"type": "null"}]} if schema.get("nullable") else document


@pytest.mark.parametrize(
    ("old", "new", "sent", "got"), [case[1:] for case in SCHEMAS], ids=[c[0] for c in SCHEMAS]
)
def test_an_example_is_valid_on_the_side_that_loses_it_alone(old: Any, new: Any, sent: str, got: str) -> None:
    before, after = (
        jsonschema_rs.validator_for(as_schema(each), validate_formats=True) for each in (old, new)
    )
    for describe, rule, one, other in ((sends, sent, before, after), (gets, got, after, before)):
        if rule:
            change = next(each for each in compare(describe(old), describe(new)).changes if each.breaking)
            if change.example is not msgspec.UNSET and change.where.endswith("/schema"):
                assert one.is_valid(change.example)
                assert not other.is_valid(change.example)


def test_most_examples_are_found() -> None:
    has_example = [
        change.example is not msgspec.UNSET
        for _, old, new, *_ in SCHEMAS
        for describe in (sends, gets)
        for change in compare(describe(old), describe(new)).changes
        if change.breaking
    ]
    assert sum(has_example) >= 0.6 * len(has_example)


def test_what_is_hard_is_proved_where_it_can_be() -> None:
    assert not compare(sends({"type": "boolean"}), sends({"not": {"type": ["integer", "string"]}})).breaking
    change = only(compare(sends({"not": {"const": "a"}}), sends({"not": {"enum": ["a", "b"]}})))
    assert (change.rule, change.example) == ("request-not-added", "b")
    assert not compare(gets({"if": {"const": "a"}, "then": False}), gets({"not": {"const": "a"}})).breaking


def test_alternatives_that_overlap_are_a_choice_all_the_same() -> None:
    texts = [{**TEXT, "maxLength": 5}, {**TEXT, "maxLength": 4}]
    longer = [{**TEXT, "maxLength": 6}, {**TEXT, "maxLength": 4}]
    more = {"anyOf": [TEXT, {"type": "integer"}]}
    assert compare(gets({"oneOf": texts, **more}), gets({"oneOf": longer, **more})).breaking


def thing(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def test_a_new_needed_property_breaks_those_who_send() -> None:
    old, new = thing(a=TEXT), thing("b", a=TEXT, b=TEXT)
    change = only(compare(sends(old), sends(new)))
    assert change.rule == "request-required-property-added"
    assert change.where == "POST /things/{id} /requestBody/content/application~1json/schema/properties/b"
    assert change.example == {}
    assert not compare(gets(old), gets(new)).breaking


def test_a_default_makes_up_for_a_needed_property_except_under_strict() -> None:
    old, new = thing(a=TEXT), thing("b", a=TEXT, b={**TEXT, "default": "x"})
    assert not compare(sends(old), sends(new)).breaking
    assert compare(sends(old), sends(new), "strict").breaking


def test_a_property_that_is_gone_breaks_those_who_get_it() -> None:
    old, new = thing("a", a=TEXT, b=TEXT), thing(c=TEXT)
    assert breaking(compare(gets(old), gets(new))) == [
        "response-property-removed",
        "response-optional-property-removed",
    ]
    assert not compare(sends(old), sends(new)).breaking


def test_a_closed_object_refuses_a_property_that_is_gone() -> None:
    closed = {"additionalProperties": False}
    change = next(
        each
        for each in compare(
            sends({**thing(a=TEXT, b=TEXT), **closed}), sends({**thing(a=TEXT), **closed})
        ).changes
        if each.breaking
    )
    assert (change.rule, change.example) == ("request-property-removed", {"b": "a"})


def test_a_field_of_a_form_is_read_or_not_like_a_parameter() -> None:
    def form(schema: Any) -> dict[str, Any]:
        return api(requestBody={"content": {"application/x-www-form-urlencoded": {"schema": schema}}})

    assert breaking(compare(form(thing(a=TEXT, b=TEXT)), form(thing(a=TEXT)))) == [
        "request-form-field-removed"
    ]
    assert not compare(form(thing(a={"type": "integer"})), form(thing(a=TEXT))).breaking


def test_read_only_properties_are_not_sent_and_write_only_ones_not_got() -> None:
    hidden = thing("a", a={**TEXT, "readOnly": True})
    other = thing("a", "b", a={"type": "integer", "readOnly": True}, b={**TEXT, "readOnly": True})
    assert not compare(sends(hidden), sends(other)).changes
    assert breaking(compare(gets(hidden), gets(other))) == ["response-type-changed"]
    secret = thing("a", a={**TEXT, "writeOnly": True})
    assert not compare(gets(secret), gets(thing())).breaking


def test_parts_of_all_of_count_together() -> None:
    old = {"allOf": [thing("a", a=TEXT), {"properties": {"b": TEXT}}]}
    assert not compare(gets(old), gets(thing("a", a=TEXT, b=TEXT))).changes
    assert breaking(compare(gets(old), gets({"allOf": [thing(a=TEXT), {"properties": {"b": TEXT}}]}))) == [
        "response-property-became-optional"
    ]


CAT: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}},
    "required": ["kind"],
}
DOG: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": {"const": "dog"}, "legs": {"type": "integer"}},
    "required": ["kind"],
}


def test_an_alternative_more_breaks_those_who_get_and_one_less_those_who_send() -> None:
    one, both = {"oneOf": [CAT, {"type": "string"}]}, {"oneOf": [{"type": "string"}, DOG, CAT]}
    assert breaking(compare(gets(one), gets(both))) == ["response-variant-added"]
    assert not compare(sends(one), sends(both)).breaking
    assert breaking(compare(sends(both), sends(one))) == ["request-variant-removed"]


def test_alternatives_are_matched_by_their_tag_and_compared_inside() -> None:
    old_cat = {**CAT, "properties": {**CAT["properties"], "lives": TEXT}}
    report = compare(gets({"oneOf": [DOG, old_cat]}), gets({"oneOf": [CAT, DOG]}))
    change = only(report)
    assert change.rule == "response-type-changed"
    assert change.where.endswith("/oneOf/0/properties/lives")


def test_a_list_of_types_and_a_choice_of_types_mean_the_same() -> None:
    assert not compare(
        gets({"type": ["string", "integer"]}), gets({"oneOf": [{"type": "integer"}, TEXT]})
    ).breaking
    assert not compare(sends(TEXT), sends({"anyOf": [{"type": "integer"}, TEXT]})).breaking
    assert compare(gets(TEXT), gets({"anyOf": [{"type": "integer"}, TEXT]})).breaking


def test_what_cannot_be_decided_says_so_and_breaks_under_strict_alone() -> None:
    old, new = sends({**TEXT, "pattern": "^(?=a)a+$"}), sends({**TEXT, "pattern": "^(?=a)a{1,}$"})
    change = only(compare(old, new))
    assert (change.rule, change.breaking, change.decided) == ("request-pattern-changed", False, False)
    assert only(compare(old, new, "strict")).breaking


def component(schema: Any, places: int = 3) -> dict[str, Any]:
    """A description whose `Thing` is got at many places and sent at none."""
    ref = {"$ref": "#/components/schemas/Thing"}
    document = api()
    document["paths"] = {
        f"/things{at}": {"get": {"responses": {"200": {"description": "fine", **json_body(ref)}}}}
        for at in range(places)
    }
    document["components"] = {"schemas": {"Thing": schema}}
    return document


def test_a_component_is_told_once_with_the_number_of_its_places() -> None:
    report = compare(component(thing("a", a=TEXT), 300), component(thing(a=TEXT), 300))
    change = only(report)
    assert (change.where, change.users) == ("/components/schemas/Thing/properties/a", 300)
    assert change.rule == "response-property-became-optional"


def test_a_component_that_nobody_uses_breaks_nobody() -> None:
    assert not compare(component(thing("a", a=TEXT), 0), component({"type": "integer"}, 0)).breaking


def test_a_component_that_is_both_sent_and_got_is_told_from_the_side_where_it_breaks() -> None:
    def both(schema: Any) -> dict[str, Any]:
        document = component(schema)
        document["paths"]["/more"] = {
            "post": {"requestBody": json_body({"$ref": "#/components/schemas/Thing"})}
        }
        return document

    change = only(compare(both(thing(a={"enum": ["x"]})), both(thing(a={"enum": ["x", "y"]}))))
    assert (change.rule, change.breaking) == ("response-enum-value-added", True)


def test_keys_that_json_does_not_know_hide_nothing() -> None:
    old, new = component(thing("a", a=TEXT)), component(thing(a=TEXT))
    for description in (old, new):
        item = description["paths"]["/things0"]["get"]
        item["responses"][200] = item["responses"].pop("200")
        item["responses"][200]["content"]["application/json"]["example"] = {True: date(2026, 1, 1), None: 1}
        description["paths"] = {"/things0": description["paths"]["/things0"]}
    assert breaking(compare(old, new)) == ["response-property-became-optional"]


def test_what_is_defined_inside_of_a_component_is_compared_where_it_is_referred_to() -> None:
    def described(kind: str) -> dict[str, Any]:
        inner = {"$ref": "#/components/schemas/Thing/$defs/Inner"}
        return component({**thing(a=inner), "$defs": {"Inner": {"type": kind}}})

    report = compare(described("string"), described("integer"))
    assert [(change.rule, change.where) for change in report.changes] == [
        ("response-type-changed", "/components/schemas/Thing/$defs/Inner")
    ]


def test_names_of_places_are_not_looked_up_and_said_to_be_undecided() -> None:
    old, new = gets({"$ref": "#Named"}), gets({"$ref": "#Other"})
    assert [change.decided for change in compare(old, new).changes] == [False, False]


def test_recursive_schemas_end() -> None:
    def tree(leaf: Any) -> dict[str, Any]:
        ref = {"$ref": "#/components/schemas/Thing"}
        return component(
            {"type": "object", "properties": {"leaf": leaf, "kids": {"type": "array", "items": ref}}}
        )

    change = only(compare(tree(TEXT), tree({"type": "integer"})))
    assert change.where == "/components/schemas/Thing/properties/leaf"


def test_kinds_that_name_their_parent_end() -> None:
    def pets(*names: str) -> dict[str, Any]:
        refs = [{"$ref": f"#/components/schemas/{name}"} for name in names]
        document = component({**thing(kind=TEXT), "oneOf": refs})
        for name in names:
            document["components"]["schemas"][name] = {
                "allOf": [{"$ref": "#/components/schemas/Thing"}, thing(n=TEXT)]
            }
        return document

    assert breaking(compare(pets("Cat", "Dog"), pets("Cat", "Dog", "Emu"))) == ["response-variant-added"]


def test_a_removed_schema_is_only_a_name_unless_it_is_a_tagged_kind_of_thing() -> None:
    def refers(target: str) -> dict[str, Any]:
        document = component(CAT)
        document["components"]["schemas"]["Other"] = thing(a=TEXT)
        document["paths"]["/things0"]["get"]["responses"]["200"] = {
            "description": "",
            **json_body({"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in target.split()]}),
        }
        for name in {"Thing", "Other"} - set(target.split()):
            del document["components"]["schemas"][name]
        document["paths"] = {"/things0": document["paths"]["/things0"]}
        return document

    assert breaking(compare(refers("Thing Other"), refers("Other"))) == ["resource-removed"]
    assert not breaking(compare(refers("Thing Other"), refers("Thing")))
    renamed = json.loads(json.dumps(refers("Thing Other")).replace("Thing", "Cat"))
    assert not breaking(compare(refers("Thing Other"), renamed))


def test_a_renamed_path_parameter_is_the_same_path() -> None:
    old, new = api(), api()
    new["paths"] = {"/things/{thing}": new["paths"]["/things/{id}"]}
    for description, name in ((old, "id"), (new, "thing")):
        description["paths"][f"/things/{{{name}}}"]["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": TEXT}
        ]
    assert not compare(old, new).changes


def parameter(**more: Any) -> dict[str, Any]:
    return api(parameters=[{"name": "q", "in": "query", "schema": TEXT, **more}])


PARAMETERS = [
    (api(), parameter(required=True), ["required-parameter-added"]),
    (api(), parameter(), []),
    (parameter(), api(), ["parameter-removed"]),
    (parameter(), parameter(required=True), ["parameter-became-required"]),
    (parameter(required=True), parameter(), []),
    (parameter(), parameter(schema={"type": "integer"}), ["request-type-changed"]),
    (parameter(schema={"type": "integer"}), parameter(), []),
    (parameter(), parameter(schema={"type": "array", "items": TEXT}), []),
    (parameter(), parameter(schema={"type": "array", "items": TEXT}, explode=False), ["request-type-changed"]),
    (parameter(schema={"type": "array", "items": TEXT}),
     parameter(schema={"type": "array", "items": TEXT}, explode=False), ["parameter-style-changed"]),
    (parameter(schema={**TEXT, "default": "a"}), parameter(schema={**TEXT, "default": "b"}),
     ["parameter-default-changed"]),
    (parameter(allowEmptyValue=True), parameter(), ["parameter-empty-refused"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "rules"), PARAMETERS)
def test_parameters(old: Any, new: Any, rules: list[str]) -> None:
    assert breaking(compare(old, new)) == rules


def test_parameters_of_the_path_hold_for_its_operations() -> None:
    old, new = api(), parameter(required=True)
    inherited = copy.deepcopy(old)
    inherited["paths"]["/things/{id}"]["parameters"] = [
        {"name": "q", "in": "query", "required": True, "schema": TEXT}
    ]
    assert not compare(new, inherited).changes
    assert breaking(compare(old, inherited)) == ["required-parameter-added"]


BODIES = [
    (api(), sends(TEXT), []),
    (api(), api(requestBody=json_body(TEXT, required=True)), ["required-request-body-added"]),
    (sends(TEXT), api(requestBody=json_body(TEXT, required=True)), ["request-body-became-required"]),
    (sends(TEXT), api(requestBody={"content": {"text/plain": {}}}), ["request-media-type-removed"]),
    (sends(TEXT), api(requestBody={"content": {"application/*": {"schema": TEXT}}}), []),
    (gets(TEXT), api(responses={"201": {"description": ""}}), ["response-success-status-removed"]),
    (gets(TEXT), api(responses={"2XX": {"description": "", **json_body(TEXT)}}), []),
    (gets(TEXT), api(), ["response-body-removed"]),
    (api(responses={"200": {"description": "", "headers": {"X-A": {"required": True, "schema": TEXT}}}}),
     api(responses={"200": {"description": "", "headers": {"x-a": {"schema": TEXT}}}}),
     ["response-header-became-optional"]),
    (api(responses={"200": {"description": ""}, "404": {"description": ""}}), api(), []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "rules"), BODIES)
def test_bodies_and_answers(old: Any, new: Any, rules: list[str]) -> None:
    assert breaking(compare(old, new)) == rules


def secured(*ways: dict[str, list[str]]) -> dict[str, Any]:
    return api(security=list(ways))


def test_a_way_in_that_leads_in_no_more_breaks() -> None:
    assert not compare(secured({"key": []}), secured({"key": []}, {"token": ["read"]})).breaking
    assert breaking(compare(secured({"key": []}, {"token": []}), secured({"token": []}))) == [
        "security-narrowed"
    ]
    assert breaking(compare(secured({"token": ["read"]}), secured({"token": ["read", "write"]}))) == [
        "security-narrowed"
    ]
    assert breaking(compare(api(), secured({"key": []}))) == ["security-narrowed"]
    assert not compare(secured({"key": []}), secured()).breaking


def ended(**more: Any) -> dict[str, Any]:
    return api(deprecated=True, **more)


REMOVED = [
    (api(), "path-removed", True),
    (ended(), "path-removed-without-date", True),
    (ended(**{"x-sunset": "2026-03-02"}), "operation-removed-before-sunset", True),
    (ended(**{"x-sunset": "2026-02-28"}), "operation-removed-after-sunset", False),
    (ended(**{"x-sunset": "soon"}), "operation-sunset-invalid", True),
    (api(**{"x-stability-level": "alpha"}), "path-removed", False),
]


@pytest.mark.parametrize(("old", "rule", "breaks"), REMOVED)
def test_what_is_removed_keeps_its_promised_date_or_breaks(old: Any, rule: str, breaks: bool) -> None:
    change = only(compare(old, {**api(), "paths": {}}))
    assert (change.rule, change.breaking) == (rule, breaks)


def test_a_promised_date_may_not_move_earlier() -> None:
    later, sooner = ended(**{"x-sunset": "2027-01-01"}), ended(**{"x-sunset": "2026-06-01"})
    assert breaking(compare(later, sooner)) == ["operation-sunset-moved-earlier"]
    assert not compare(sooner, later).breaking
    assert not compare(api(), later).breaking
    assert compare(api(), ended(), "strict").breaking


def test_calls_that_the_service_makes_turn_the_direction_round() -> None:
    def webhook(schema: Any) -> dict[str, Any]:
        document = api()
        document["webhooks"] = {"done": {"post": {"requestBody": json_body(schema)}}}
        return document

    assert breaking(compare(webhook({"enum": ["a"]}), webhook({"enum": ["a", "b"]}))) == [
        "response-enum-value-added"
    ]
    assert not compare(webhook(thing(a=TEXT)), webhook(thing("a", a=TEXT))).breaking
    assert breaking(compare(webhook(TEXT), api())) == ["webhook-removed"]

    def call_back(schema: Any) -> dict[str, Any]:
        inner = {"{$request.body#/url}": {"post": {"requestBody": json_body(schema)}}}
        return api(callbacks={"done": inner})

    assert breaking(compare(call_back(TEXT), call_back({"type": "integer"}))) == ["response-type-changed"]


def test_servers_are_information() -> None:
    report = compare(
        {**api(), "servers": [{"url": "https://a"}]}, {**api(), "servers": [{"url": "https://b"}]}
    )
    assert [change.rule for change in report.changes] == ["server-added", "server-removed"]
    assert not report.breaking


READS = {"operations": {"POST /things/{id}": {"reads": ["id", "lines.price"], "sends": ["name"]}}}


def test_a_consumer_is_broken_by_what_it_declares_alone() -> None:
    def described(**more: Any) -> dict[str, Any]:
        lines = {"type": "array", "items": {"$ref": "#/components/schemas/Line"}}
        document = gets(thing(**{"id": TEXT, "note": TEXT, "lines": lines, **more}))
        document["components"] = {"schemas": {"Line": thing(price={"type": "integer"}, unit=TEXT)}}
        return document

    old = described()
    for harmless in (described(note={"type": "integer"}), described(extra=TEXT)):
        assert not compare(old, harmless, "consumer", reads=READS).breaking
    assert breaking(compare(old, described(id={"type": "integer"}), "consumer", reads=READS)) == [
        "response-type-changed"
    ]
    without = copy.deepcopy(old)
    del without["components"]["schemas"]["Line"]["properties"]["unit"]
    assert not compare(old, without, "consumer", reads=READS).breaking
    del without["components"]["schemas"]["Line"]["properties"]["price"]
    change = next(c for c in compare(old, without, "consumer", reads=READS).changes if c.breaking)
    assert change.where == "/components/schemas/Line/properties/price"


def test_a_consumer_is_broken_by_what_it_must_send_now() -> None:
    old, new = (
        sends(thing(name=TEXT, size=TEXT)),
        sends(thing("code", name=TEXT, size={"type": "integer"}, code=TEXT)),
    )
    assert breaking(compare(old, new, "consumer", reads=READS)) == ["request-required-property-added"]


def test_operations_that_a_consumer_does_not_use_are_not_looked_at() -> None:
    assert not compare(
        api(), {**api(), "paths": {}}, "consumer", reads={"operations": {"GET /other": None}}
    ).changes


def test_without_a_declaration_a_consumer_relies_on_nothing_optional() -> None:
    old, new = gets(thing("a", a=TEXT, b=TEXT)), gets(thing("a", a=TEXT))
    assert not compare(old, new, "consumer").breaking
    assert compare(gets(thing("a", a=TEXT)), gets(thing(b=TEXT)), "consumer").breaking


@pytest.mark.parametrize(
    "reads", [{}, {"operations": {"nonsense": None}}, {"operations": {"GET /a": {"reads": "id"}}}]
)
def test_a_wrong_declaration_is_refused(reads: Any) -> None:
    with pytest.raises(ValueError, match=r"operations|dotted paths"):
        compare(api(), api(), "consumer", reads=reads)


def test_swagger_2_means_what_openapi_3_says() -> None:
    swagger = {
        "swagger": "2.0",
        "info": {"title": "Things", "version": "1"},
        "paths": {
            "/things/{id}": {
                "post": {
                    "parameters": [{"in": "body", "name": "body", "schema": {"$ref": "#/definitions/Thing"}}],
                    "responses": {"200": {"description": "fine"}},
                }
            }
        },
        "definitions": {"Thing": thing(a=TEXT)},
    }
    modern = sends({"$ref": "#/components/schemas/Thing"})
    modern["components"] = {"schemas": {"Thing": thing(a=TEXT)}}
    assert not compare(swagger, modern).changes
    modern["components"]["schemas"]["Thing"] = thing("a", a=TEXT)
    assert breaking(compare(swagger, modern)) == ["request-property-became-required"]


def test_a_reference_that_leads_nowhere_is_undecided() -> None:
    report = compare(gets({"$ref": "#/components/schemas/Gone"}), gets(TEXT))
    assert [(c.rule, c.decided) for c in report.changes] == [("response-reference-unresolved", False)]


def test_every_name_of_a_rule_is_kebab_case_and_has_a_meaning() -> None:
    for rule in RULES.values():
        assert rule.name == rule.name.lower().replace("_", "-").strip("-")
        assert len(rule.meaning) > 5
