"""CloudEvents in all three modes, and what is refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.core.event import BATCH, STRUCTURED, Event, from_attributes, parse, render
from counterfoil.core.wire import Limits, WireRefused, read_json

SUITE = Path(__file__).parents[3] / "../shared/suites/cloudevents"
needs_suite = pytest.mark.skipif(
    not SUITE.is_dir(), reason="the shared conformance suites are not beside this checkout"
)
MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


def structured(**changes: Any) -> Event:
    [event] = parse(json.dumps(MINIMAL | changes).encode(), STRUCTURED)
    return event


def binary(body: bytes = b"", content_type: str = "", **changes: str) -> Event:
    headers = HEADERS | {f"ce-{name}": value for name, value in changes.items()}
    [event] = parse(body, content_type, headers)
    return event


def suite_lines(name: str) -> list[dict[str, Any]]:
    path = SUITE / name
    return [read_json(line) for line in path.read_bytes().splitlines()] if path.exists() else []


GOLDEN = {
    "minimal": Event(id="minimal", source="https://cloudevents.io", type="io.cloudevents.test"),
    "minimalWithTime": Event(
        id="minimalWithTime",
        source="https://cloudevents.io",
        type="io.cloudevents.test",
        time=datetime(2018, 4, 5, 17, 31, tzinfo=UTC),
    ),
    "minimalWithRelativeSource": Event(
        id="minimalWithRelativeSource", source="#fragment", type="io.cloudevents.test"
    ),
    "allCore": Event(
        id="allCore",
        source="https://cloudevents.io",
        type="io.cloudevents.test",
        subject="tests",
        time=datetime(2018, 4, 5, 17, 31, tzinfo=UTC),
        datacontenttype="text/plain",
        dataschema="https://cloudevents.io/dataschema",
    ),
    "simpleTextData": Event(
        id="simpleTextData",
        source="https://cloudevents.io",
        type="io.cloudevents.test",
        datacontenttype="text/plain",
        data="Simple text",
    ),
    "allExtensionTypes": Event(
        id="allExtensionTypes",
        source="https://cloudevents.io",
        type="io.cloudevents.test",
        extensions={
            "extinteger": 10,
            "extboolean": True,
            "extstring": "text",
            "exturi": "https://cloudevents.io",
            "exturiref": "//authority/path",
            "exttimestamp": "2023-03-31T15:12:00Z",
            "extbinary": "TWE=",
        },
    ),
}
GOLDEN_BATCHES = {
    "empty": [],
    "minimal": ["minimal"],
    "minimal2": ["minimal", "minimal"],
    "minimalAndAllCore": ["minimal", "allCore"],
    "minimalAndAllExtensionTypes": ["minimal", "allExtensionTypes"],
}


@needs_suite
@pytest.mark.parametrize("case", suite_lines("json_format_cases.jsonl"), ids=lambda case: case["case_id"])
def test_conformance_case_gives_its_golden_event(case: dict[str, Any]) -> None:
    body = json.dumps(case["payload"]).encode()
    if case["kind"] == "ValidBatch":
        expected = [GOLDEN[name] for name in GOLDEN_BATCHES[case["sample_id"]]]
        assert parse(body, BATCH) == expected
    else:
        [event] = parse(body, STRUCTURED)
        assert event == GOLDEN[case["sample_id"]]
        assert parse(render(event), STRUCTURED) == [event]


def json_examples() -> list[Any]:
    examples = [line["parsed"] for line in suite_lines("spec_examples.jsonl") if line["is_json"]]
    return [one for one in examples if "specversion" in json.dumps(one, default=str)]


@needs_suite
@pytest.mark.parametrize(
    "example", json_examples(), ids=lambda e: "batch" if isinstance(e, list) else e["id"]
)
def test_example_of_the_specification_is_accepted_unless_it_is_a_placeholder(example: Any) -> None:
    body = json.dumps(example, default=float).encode()
    content_type = BATCH if isinstance(example, list) else STRUCTURED
    if b"... base64 encoded string ..." in body:
        with pytest.raises(WireRefused, match="not base64"):
            parse(body, content_type)
        return
    if b'"subject": ""' in body:  # the specification's own text forbids it
        with pytest.raises(WireRefused, match="subject must not be empty"):
            parse(body, content_type)
        return
    for event in parse(body, content_type):
        assert parse(render(event), STRUCTURED) == [event]


@needs_suite
def test_http_binding_scenarios_hold() -> None:
    feature = (SUITE / "features_http-protocol-binding.feature").read_text()
    scenarios = feature.split("Scenario Outline:")[1:]
    assert len(scenarios) == 2
    for scenario in scenarios:
        message = scenario.split('"""')[1]
        lines = [line.strip() for line in message.strip().splitlines()]
        head, body = lines[1 : lines.index("")], "\n".join(lines[lines.index("") + 1 :])
        for content_type in re.findall(r"^\s*\| (application/[^|]*?)\s*\|$", scenario, re.MULTILINE):
            headers = dict(line.split(": ", 1) for line in head)
            headers["Content-Type"] = content_type
            [event] = parse(body.encode(), content_type, headers)
            assert event == Event(
                id="1234-1234-1234",
                type="com.example.someevent",
                source="/mycontext/subcontext",
                time=datetime(2018, 4, 5, 3, 56, 24, tzinfo=UTC),
                datacontenttype=content_type if "Binary" in scenario else "application/json",
                data={"message": "Hello World!"},
            )


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": None},
        {"id": 5},
        {"source": ""},
        {"source": "has space"},
        {"source": "50%"},
        {"source": "/é"},
        {"type": ""},
        {"type": ["t"]},
        {"specversion": "0.3"},
        {"specversion": "1.1"},
        {"specversion": 1},
        {"subject": 5},
        {"subject": "a\x00b"},
        {"subject": "\x85"},
        {"subject": "\ufffe"},
        {"subject": "\U0001ffff"},
        {"time": "2018-04-05T17:31:00"},
        {"time": "2018-04-05"},
        {"time": "2018-04-05 17:31:00Z"},
        {"time": "2018-02-30T17:31:00Z"},
        {"time": "2018-04-05T17:31:60Z"},
        {"time": "2018-04-05T17:31:00+24:00"},
        {"time": "2018-04-05T17:31:00.Z"},
        {"time": "٢018-04-05T17:31:00Z"},
        {"time": "0000-01-01T00:00:00Z"},
        {"time": "0001-01-01T00:00:00+01:00"},
        {"time": 1522949460},
        {"datacontenttype": "json"},
        {"datacontenttype": ""},
        {"datacontenttype": "text/plain; charset"},
        {"dataschema": "/relative"},
        {"dataschema": ""},
        {"Extension": "x"},
        {"my_ext": "x"},
        {"my-ext": "x"},
        {"": "x"},
        {"é": "x"},
        {"ext": 1.5},
        {"ext": 2**31},
        {"ext": -(2**31) - 1},
        {"ext": {"a": 1}},
        {"ext": []},
        {"data": 1, "data_base64": "TWE="},
        {"data_base64": "TWE"},
        {"data_base64": "TW-_"},
        {"data_base64": "TWE=\n"},
        {"data_base64": "é"},
        {"data_base64": 5},
    ],
    ids=repr,
)
def test_event_that_breaks_the_specification_is_refused_at_its_attribute(changes: dict[str, Any]) -> None:
    with pytest.raises(WireRefused) as refused:
        structured(**changes)
    assert refused.value.where in {f"$.{name}" for name in changes}


def test_refusal_in_a_batch_names_the_event() -> None:
    with pytest.raises(WireRefused, match=r"\$\[1\]\.type"):
        parse(json.dumps([MINIMAL, {k: v for k, v in MINIMAL.items() if k != "type"}]).encode(), BATCH)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[]", STRUCTURED),
        (b"{}", BATCH),
        (b"[1]", BATCH),
        (b'"x"', STRUCTURED),
        (b"", STRUCTURED),
        (json.dumps(MINIMAL).encode(), "application/json"),
        (json.dumps(MINIMAL).encode(), ""),
        (json.dumps(MINIMAL).encode(), "not a type"),
        (b"x", "application/cloudevents+avro"),
        (b"x", "application/cloudevents"),
        (json.dumps(MINIMAL).encode(), STRUCTURED + "; charset=utf-16"),
        (b'{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}', STRUCTURED),
    ],
)
def test_message_that_is_no_cloudevent_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(WireRefused):
        parse(body, content_type)


def test_limits_of_the_caller_hold_in_every_mode() -> None:
    small = Limits(size=10)
    for content_type, headers in ((STRUCTURED, {}), (BATCH, {}), ("text/plain", HEADERS), ("", HEADERS)):
        with pytest.raises(WireRefused, match="larger than 10"):
            parse(b"x" * 11, content_type, headers, small)


def test_content_type_is_matched_without_case_and_parameters() -> None:
    body = json.dumps(MINIMAL).encode()
    for content_type in (
        "Application/CloudEvents+JSON",
        STRUCTURED + ';charset="UTF-8"',
        STRUCTURED + " ; a=b",
    ):
        assert parse(body, content_type) == [structured()]


def test_time_is_stored_in_utc_to_the_microsecond() -> None:
    assert structured(time="2018-04-05t18:31:00.1234569+01:00").time == datetime(
        2018, 4, 5, 17, 31, 0, 123456, tzinfo=UTC
    )


def test_null_is_not_set() -> None:
    assert structured(subject=None, time=None, data=None, data_base64=None, ext=None) == structured()


@pytest.mark.parametrize(
    "name", ["id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema"]
)
def test_empty_attribute_is_refused_in_every_mode(name: str) -> None:
    attributes = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", name: ""}
    with pytest.raises(WireRefused):
        parse(json.dumps(attributes).encode(), STRUCTURED)
    with pytest.raises(WireRefused):
        parse(json.dumps([attributes]).encode(), BATCH)
    with pytest.raises(WireRefused):
        parse(b"", "", {f"ce-{key}": value for key, value in attributes.items()})


def test_header_with_different_values_is_refused() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1\n2", "ce-source": "/s", "ce-type": "t"}
    with pytest.raises(WireRefused, match="appears twice"):
        parse(b"", "", headers)


def test_numbers_in_data_stay_exact() -> None:
    [event] = parse(
        b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":0.10,"b":1E2}}', STRUCTURED
    )
    assert str(event.data["a"]) == "0.10"
    assert type(event.data["b"]) is Decimal
    assert parse(render(event), STRUCTURED) == [event]


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b'{"a":1.50}', "application/json", {"a": Decimal("1.50")}),
        (b'"x"', "application/vnd.acme+json; charset=UTF-8", "x"),
        ("é".encode(), "text/plain", "é"),
        (b'<much wow="xml"/>', "application/xml", '<much wow="xml"/>'),
        (b"\xe9", "text/plain; charset=iso-8859-1", b"\xe9"),
        (b"\xe9", "text/plain", b"\xe9"),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
        (b'{"a":1}', "", b'{"a":1}'),
        (b"", "application/json", None),
    ],
)
def test_binary_body_becomes_what_its_type_says(body: bytes, content_type: str, data: Any) -> None:
    event = binary(body, content_type)
    assert event.data == data
    assert event.datacontenttype == (content_type or None)
    assert parse(render(event), STRUCTURED) == [event]


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41", "A"),
        ("%2520", "%20"),
        ('"with \\"quotes\\" and %20"', 'with "quotes" and  '),
        ("two words", "two words"),
        ("  trimmed\t", "trimmed"),
        ('"', '"'),
    ],
)
def test_header_value_is_unquoted_and_percent_decoded_once(value: str, subject: str) -> None:
    assert binary(subject=value).subject == subject


@pytest.mark.parametrize("value", ["%C0%A0", "%FF", "100%", "%4", "€", "a%00b", "a\x00b"])
def test_header_value_that_was_not_encoded_as_the_binding_says_is_refused(value: str) -> None:
    with pytest.raises(WireRefused):
        binary(subject=value)


def test_binary_extensions_are_text_and_header_names_have_no_case() -> None:
    [event] = parse(b"", "", {name.upper(): value for name, value in HEADERS.items()} | {"CE-Count": "5"})
    assert event.extensions == {"count": "5"}


@pytest.mark.parametrize(
    "extra",
    [
        {"CE-ID": "2"},
        {"ce-my-ext": "x"},
        {"ce-": "x"},
        {"ce-data": "x"},
        {"ce-datacontenttype": "text/plain"},
    ],
    ids=repr,
)
def test_ambiguous_or_malformed_header_is_refused(extra: dict[str, str]) -> None:
    with pytest.raises(WireRefused):
        parse(b"", "text/plain", HEADERS | extra)


def test_missing_required_header_is_refused_by_name() -> None:
    with pytest.raises(WireRefused, match="must have source"):
        parse(b"", "", {k: v for k, v in HEADERS.items() if k != "ce-source"})


def test_structured_payload_counts_and_not_its_headers() -> None:
    assert parse(json.dumps(MINIMAL).encode(), STRUCTURED, HEADERS | {"ce-id": "other"})[0].id == "1"


def test_attributes_of_another_protocol_are_judged_alike() -> None:
    attributes = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    assert from_attributes(attributes, "application/json", b"[1]").data == [1]
    with pytest.raises(WireRefused):
        from_attributes(attributes | {"specversion": "2.0"}, None, b"")


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), min_size=1)
events = st.builds(
    Event,
    id=text,
    source=st.from_regex(r"[a-z]+:/[a-z/%20]{0,3}[a-z]", fullmatch=True).filter(lambda s: "%" not in s),
    type=text,
    subject=st.none() | text,
    time=st.none() | st.datetimes(timezones=st.just(UTC)),
    datacontenttype=st.sampled_from([None, "application/json", "text/plain; charset=utf-8"]),
    dataschema=st.sampled_from([None, "https://example.com/s"]),
    data=st.none() | st.binary() | st.text(st.characters(codec="utf-8")) | st.lists(st.integers(-5, 5)),
    extensions=st.dictionaries(
        st.from_regex(r"x[a-z0-9]{0,8}", fullmatch=True),
        text | st.booleans() | st.integers(-(2**31), 2**31 - 1),
    ),
)


@settings(deadline=None)
@given(events)
def test_rendered_event_reads_back_the_same(event: Event) -> None:
    assert parse(render(event), STRUCTURED) == [event]


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=8).map("ce-".__add__), st.text(max_size=8)),
    st.binary(max_size=20),
    st.text(max_size=20),
)
def test_any_message_is_read_or_refused_and_never_crashes(
    headers: dict[str, str], body: bytes, content_type: str
) -> None:
    try:
        events = parse(body, content_type, HEADERS | headers)
    except WireRefused:
        return
    assert len(events) == 1
