"""Changes of AsyncAPI descriptions, and the clients that they break."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts import compare_asyncapi
from counterfoil.contracts.load import load
from counterfoil.contracts.report import Profile, Report

SUITE = Path(__file__).parents[3] / "../shared/suites/asyncapi_breaking"
CASES = (
    [json.loads(line) for line in (SUITE / "cases.jsonl").read_text().splitlines()] if SUITE.is_dir() else []
)

TEXT = {"type": "string"}


def second(action: str, payload: Any, **message: Any) -> dict[str, Any]:
    """Version 2: one channel with one operation."""
    return {
        "asyncapi": "2.6.0",
        "info": {"title": "Things", "version": "1"},
        "servers": {"main": {"url": "broker.example.com", "protocol": "amqp"}},
        "channels": {"things/{id}": {"parameters": {"id": {"schema": TEXT}},
                                     action: {"message": {"name": "Thing", "payload": payload, **message}}}},
    }  # fmt: skip


def third(action: str, payload: Any, **message: Any) -> dict[str, Any]:
    """Version 3: the same."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Things", "version": "1"},
        "servers": {"main": {"host": "broker.example.com", "protocol": "amqp"}},
        "channels": {"things": {"address": "things/{id}", "parameters": {"id": {}},
                                "messages": {"Thing": {"$ref": "#/components/messages/Thing"}}}},
        "operations": {"thing": {"action": action, "channel": {"$ref": "#/channels/things"},
                                 "messages": [{"$ref": "#/channels/things/messages/Thing"}]}},
        "components": {"messages": {"Thing": {"name": "Thing", "payload": payload, **message}}},
    }  # fmt: skip


def breaking(changes: Report) -> list[tuple[str, str]]:
    return [(change.rule, change.where) for change in changes.changes if change.breaking]


ONE: dict[str, Any] = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}
MORE: dict[str, Any] = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("describe", "sends", "gets", "place"),
    [
        (second, "publish", "subscribe", "/channels/things~1{id}/%s/message/payload/properties/a"),
        (third, "receive", "send", "/components/messages/Thing/payload/properties/a"),
    ],
)
def test_payloads_are_compared_by_the_way_they_travel(
    describe: Any, sends: str, gets: str, place: str
) -> None:
    changes = compare_asyncapi(describe(gets, ONE), describe(gets, MORE))
    assert breaking(changes) == [("response-enum-value-added", place.replace("%s", gets))]
    assert not compare_asyncapi(describe(gets, MORE), describe(gets, ONE)).breaking
    assert not compare_asyncapi(describe(sends, ONE), describe(sends, MORE)).breaking
    changes = compare_asyncapi(describe(sends, MORE), describe(sends, ONE))
    assert breaking(changes) == [("request-enum-value-removed", place.replace("%s", sends))]


def test_headers_and_content_types_count() -> None:
    old = third("send", ONE, headers={"type": "object", "properties": {"h": TEXT}, "required": ["h"]})
    new = third(
        "send", ONE, headers={"type": "object", "properties": {"h": TEXT}}, contentType="application/xml"
    )
    assert [rule for rule, _ in breaking(compare_asyncapi(old, new))] == [
        "message-content-type-changed",
        "response-property-became-optional",
    ]


def test_traits_say_what_a_message_leaves_out() -> None:
    old, new = third("send", ONE, headers=TEXT), third("send", ONE, traits=[{"headers": TEXT}])
    assert not compare_asyncapi(old, new).changes


def test_a_schema_of_many_messages_is_reported_once_at_its_place() -> None:
    def described(schema: Any) -> dict[str, Any]:
        description = third("send", {"$ref": "#/components/schemas/Shared"})
        description["components"]["schemas"] = {"Shared": schema}
        for at in range(20):
            description["components"]["messages"][f"M{at}"] = {
                "payload": {"$ref": "#/components/schemas/Shared"}
            }
            description["channels"]["things"]["messages"][f"M{at}"] = {"$ref": f"#/components/messages/M{at}"}
        del description["operations"]["thing"]["messages"]
        return description

    assert breaking(compare_asyncapi(described(ONE), described(MORE))) == [
        ("response-enum-value-added", "/components/schemas/Shared/properties/a")
    ]


def test_what_is_gone_breaks() -> None:
    base = third("send", ONE)
    for part, rule in (
        ("channels", "channel-removed"),
        ("operations", "operation-removed"),
        ("servers", "broker-removed"),
    ):
        new = copy.deepcopy(base)
        new[part] = {}
        assert rule in [name for name, _ in breaking(compare_asyncapi(base, new))]
        assert rule not in [name for name, _ in breaking(compare_asyncapi(new, base))]


def test_a_message_less_breaks_and_a_message_more_does_not() -> None:
    def kinds(action: str, *names: str) -> dict[str, Any]:
        schema = second(action, ONE)
        schema["channels"]["things/{id}"][action]["message"] = {
            "oneOf": [{"name": name, "payload": ONE} for name in names]
        }
        return schema

    changes = compare_asyncapi(kinds("publish", "A", "B"), kinds("publish", "A"))
    assert [rule for rule, _ in breaking(changes)] == ["request-message-removed"]
    assert not compare_asyncapi(kinds("subscribe", "A"), kinds("subscribe", "A", "B")).breaking
    assert compare_asyncapi(kinds("subscribe", "A"), kinds("subscribe", "A", "B"), "strict").breaking


def test_a_renamed_parameter_of_an_address_is_the_same_address() -> None:
    old, new = second("publish", ONE), second("publish", ONE)
    channel = new["channels"].pop("things/{id}")
    new["channels"]["things/{thing}"] = {**channel, "parameters": {"thing": {"schema": TEXT}}}
    assert not compare_asyncapi(old, new).breaking


def test_who_sends_and_who_receives_may_not_change() -> None:
    changes = compare_asyncapi(third("send", ONE), third("receive", ONE))
    assert [rule for rule, _ in breaking(changes)] == ["operation-action-changed"]


def test_version_2_and_version_3_mean_the_same() -> None:
    assert not compare_asyncapi(second("subscribe", ONE), third("send", ONE)).breaking
    assert [
        rule for rule, _ in breaking(compare_asyncapi(second("subscribe", ONE), third("send", MORE)))
    ] == ["response-enum-value-added"]


def test_settings_of_protocols_are_undecided() -> None:
    old, new = (
        third("send", ONE, bindings={"amqp": {"a": 1}}),
        third("send", ONE, bindings={"amqp": {"a": 2}}),
    )
    assert [(c.rule, c.decided, c.breaking) for c in compare_asyncapi(old, new).changes] == [
        ("message-binding-changed", False, False)
    ]
    assert compare_asyncapi(old, new, "strict").breaking


def test_payloads_in_other_languages_are_undecided() -> None:
    avro = {"schemaFormat": "application/vnd.apache.avro;version=1.9.0"}
    old, new = (third("send", {**avro, "schema": {"type": "record", "name": name}}) for name in ("A", "B"))
    assert [(c.rule, c.decided) for c in compare_asyncapi(old, new).changes] == [
        ("message-payload-undecided", False)
    ]


def test_a_consumer_is_broken_by_the_messages_and_fields_that_it_declares_alone() -> None:
    old, new = third("send", ONE), third("send", {**MORE, "properties": {**MORE["properties"], "b": TEXT}})
    declared = {"messages": {"Thing": {"reads": ["a"]}}}
    assert [rule for rule, _ in breaking(compare_asyncapi(old, new, "consumer", reads=declared))] == [
        "response-enum-value-added"
    ]
    for other in ({"messages": {"Thing": {"reads": ["b"]}}}, {"messages": {"Other": None}}):
        assert not compare_asyncapi(old, new, "consumer", reads=other).breaking
    removed = {**new, "channels": {}, "operations": {}}
    assert [rule for rule, _ in breaking(compare_asyncapi(old, removed, "consumer", reads=declared))] == [
        "channel-removed"
    ]


VERSION_ALONE: Profile = "strict"
"""The source calls any change of `info.version` breaking. So does the strict profile; by default every revision that
tells its number would break, whatever else it changes."""


@pytest.mark.skipif(not CASES, reason="the suites are not beside this checkout")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case_id"])
def test_the_source_finds_the_same_changes(case: Any) -> None:
    old, new = load(SUITE / case["base"]), load(SUITE / case["revision"])
    # Changes that the source does not classify are copies of others, one for each place that refers to them.
    expected = {
        (change["path"], change["type"] == "breaking")
        for change in case["expected"]["changes"]
        if change["type"] != "unclassified"
    }
    changes = {
        (change.where, change.breaking) for change in compare_asyncapi(old, new, VERSION_ALONE).changes
    }
    assert changes == expected
    default = {(change.where, change.breaking) for change in compare_asyncapi(old, new).changes}
    assert default ^ expected <= {("/info/version", True), ("/info/version", False)}


def test_a_security_scheme_of_a_server_may_have_a_new_name() -> None:
    def broker(name: str, scheme: dict[str, Any]) -> dict[str, Any]:
        server = {"url": "broker.example.com", "protocol": "kafka", "security": [{name: []}]}
        return {
            "asyncapi": "2.6.0",
            "info": {"title": "Things", "version": "1"},
            "channels": {},
            "servers": {"main": server},
            "components": {"securitySchemes": {name: scheme}},
        }

    old, scram = {"type": "userPassword"}, {"type": "scramSha256"}
    assert not compare_asyncapi(broker("user", old), broker("person", old)).breaking
    assert compare_asyncapi(broker("user", old), broker("person", scram)).breaking
