"""`contracts diff`: what it prints, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import API, WIDER


def test_a_breaking_change_ends_with_1_and_is_printed_with_its_place_and_an_example(diff: Any) -> None:
    result = diff(API, WIDER)
    assert result.code == 1
    assert result.out == (
        "1 breaking, 0 undecided, 0 other changes (openapi, profile standard, backward)\n"
        "\n"
        "schema T: 1 breaking\n"
        "  used by GET /t\n"
        "  breaking   response-enum-value-added  /properties/a\n"
        "             T.a: value 'y' was added\n"
        '             example: "y"\n'
    )


def test_harmless_changes_end_with_0(diff: Any) -> None:
    result = diff(WIDER, API)
    assert (result.code, "schema T: 1 other" in result.out) == (0, True)
    assert diff(API, API).code == 0


def test_the_other_direction_and_both(diff: Any) -> None:
    assert diff(WIDER, API, "--direction", "forward").code == 1
    result = diff(API, WIDER, "--direction", "full", "--format", "json")
    rows = json.loads(result.out)["changes"]
    assert [(row["direction"], row["breaking"]) for row in rows] == [("backward", True), ("forward", False)]


def test_json_has_the_documented_fields(diff: Any) -> None:
    output = json.loads(diff(API, WIDER, "--format", "json").out)
    assert output.keys() == {
        "kind",
        "profile",
        "direction",
        "breaking",
        "undecided",
        "changes",
        "groups",
        "overrides",
    }
    assert len(output["changes"][0].pop("fingerprint")) == 12
    assert output["changes"][0] == {
        "rule": "response-enum-value-added", "where": "/components/schemas/T/properties/a", "direction": "backward",
        "breaking": True, "decided": True, "users": 1, "used_by": ["GET /t"], "message": "T.a: value 'y' was added", "example": "y",
    }  # fmt: skip


def test_a_declaration_asks_for_what_a_consumer_reads(diff: Any) -> None:
    for field, code in (("a", 1), ("b", 0)):
        result = diff(API, WIDER, "--format", "json", reads={"operations": {"GET /t": {"reads": [field]}}})
        assert (result.code, json.loads(result.out)["profile"]) == (code, "consumer")


def test_the_kind_is_detected_from_the_files(diff: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    other = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert json.loads(diff(schema, other, "--format", "json").out)["kind"] == "jsonschema"
    assert diff(schema, other, reads=["b"]).code == 0
    events = {"asyncapi": "3.0.0", "channels": {"a": {"address": "a"}}}
    result = diff(events, {"asyncapi": "3.0.0"}, "--format", "json")
    assert (result.code, json.loads(result.out)["kind"]) == (1, "asyncapi")


@pytest.mark.parametrize(
    ("old", "new", "words", "says"),
    [
        (API, {"asyncapi": "3.0.0"}, (), "different kinds"),
        ({"a": 1}, {"a": 1}, (), "--kind"),
        ("{", "{}", (), "base.json"),
        ("[]", "{}", (), "an object"),
        (API, API, ("--profile", "loose"), "loose"),
    ],
)
def test_wrong_use_ends_with_2(diff: Any, old: Any, new: Any, words: Any, says: str) -> None:
    result = diff(old, new, *words)
    assert result.code == 2
    assert says in result.err


def test_a_declaration_works_with_its_profile_only(diff: Any) -> None:
    assert diff(API, API, "--profile", "strict", reads={"operations": {}}).code == 2
    assert "operations" in diff(API, API, reads={"fields": []}).err


OUTSIDE = json.loads(json.dumps(API).replace('"b": {}', '"b": {"$ref": "https://example.com/b.json"}'))


def test_undecided_changes_end_with_1_where_the_caller_says_so(diff: Any) -> None:
    renamed = {**OUTSIDE, "info": {"title": "Other", "version": "1"}}
    for words, code in (((), 0), (("--undecided=warn",), 0), (("--undecided=break",), 1)):
        result = diff(OUTSIDE, renamed, *words, "--format", "json")
        output = json.loads(result.out)
        assert (result.code, output["breaking"], output["undecided"]) == (code, False, True)
        assert [row["decided"] for row in output["changes"]] == [False]
    assert "1 undecided" in diff(OUTSIDE, renamed).out
    assert json.loads(diff(API, WIDER, "--format", "json").out)["undecided"] is False
    assert diff(API, API, "--undecided=break").code == 0


def test_dated_paths_are_compared_without_their_prefixes(diff: Any) -> None:
    def dated(prefix: str) -> Any:
        return {**API, "paths": {f"{prefix}{path}": item for path, item in API["paths"].items()}}  # type: ignore[attr-defined]

    assert diff(dated("/v1"), dated("/2026-09")).code == 1
    result = diff(dated("/v1"), dated("/2026-09"), "--base-prefix", "/v1", "--revision-prefix", "/2026-09")
    assert (result.code, "0 other changes" in result.out) == (0, True)


def test_breaking_changes_alone_are_shown_on_request(diff: Any) -> None:
    assert "schema T: 1 breaking" in diff(API, WIDER, "--breaking-only").out
    removed = diff(WIDER, API, "--breaking-only").out
    assert "schema T" not in removed
    assert "1 other changes" in removed
    output = json.loads(diff(WIDER, API, "--breaking-only", "--format", "json").out)
    assert (output["changes"], output["groups"]) == ([], [])
