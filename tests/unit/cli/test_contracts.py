"""`contracts diff`: what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from counterfoil.cli.main import main

API = {
    "openapi": "3.1.0",
    "info": {"title": "T", "version": "1"},
    "paths": {
        "/t": {
            "get": {
                "responses": {
                    "200": {
                        "description": "",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/T"}}},
                    }
                }
            }
        }
    },
    "components": {"schemas": {"T": {"type": "object", "properties": {"a": {"enum": ["x"]}, "b": {}}}}},
}
WIDER = json.loads(json.dumps(API).replace('["x"]', '["x", "y"]'))


class Completed:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def diff(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(old: Any, new: Any, *words: str, reads: Any = None, overrides: Any = None) -> Completed:
        names = []
        files = {"base.json": old, "revision.yaml": new, "reads.yaml": reads, "overrides.yaml": overrides}
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text)
            names.append(str(tmp_path / name))
        options = ["--reads", names[2]] if reads is not None else []
        options += ["--overrides", names[3]] if overrides is not None else []
        monkeypatch.setattr(sys, "argv", ["counterfoil", "contracts", "diff", *names[:2], *words, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Completed(code, captured.out, captured.err)

    return run


def test_a_breaking_change_ends_with_1_and_is_printed_with_its_place_and_an_example(diff: Any) -> None:
    result = diff(API, WIDER)
    assert result.code == 1
    assert result.out.startswith("Breaking:\n  response-enum-value-added  /components/schemas/T/properties/a")
    assert 'example: "y"' in result.out
    assert "1 breaking, 0 undecided, 0 other changes (openapi, profile standard, backward)" in result.out


def test_harmless_changes_end_with_0(diff: Any) -> None:
    result = diff(WIDER, API)
    assert (result.code, "Not breaking:" in result.out) == (0, True)
    assert diff(API, API).code == 0


def test_the_other_direction_and_both(diff: Any) -> None:
    assert diff(WIDER, API, "--direction", "forward").code == 1
    result = diff(API, WIDER, "--direction", "full", "--format", "json")
    rows = json.loads(result.out)["changes"]
    assert [(row["direction"], row["breaking"]) for row in rows] == [("backward", True), ("forward", False)]


def test_json_has_the_documented_fields(diff: Any) -> None:
    output = json.loads(diff(API, WIDER, "--format", "json").out)
    assert output.keys() == {"kind", "profile", "direction", "breaking", "undecided", "changes"}
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


def test_operations_are_named_and_values_of_one_list_are_folded(diff: Any) -> None:
    many = json.loads(json.dumps(API).replace('["x"]', json.dumps(["x", *(f"v{at}" for at in range(30))])))
    out = diff(API, many).out
    assert out.count("response-enum-value-added  ") == 1
    assert "T.a: values 'v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7' and 22 more were added" in out
    assert "used by: GET /t" in out
    assert "30 breaking, 0 undecided" in out
    assert "    30  response-enum-value-added" in out
    rows = json.loads(diff(API, many, "--format", "json").out)["changes"]
    assert len({row["fingerprint"] for row in rows}) == 30


def test_equal_changes_of_several_places_are_folded(diff: Any) -> None:
    def two(values: list[str]) -> Any:
        answer = API["paths"]["/t"]["get"]  # type: ignore[index]
        text = json.dumps(answer).replace('{"$ref": "#/components/schemas/T"}', json.dumps({"enum": values}))
        return {**API, "paths": {path: {"get": json.loads(text)} for path in ("/one", "/two")}}

    out = diff(two(["x"]), two(["x", "y"])).out
    assert out.count("response-enum-value-added") == 1
    assert "(and 1 more like it)" in out
    assert "used by: GET /one, GET /two" in out or "used by" not in out


def test_a_markdown_page_has_a_part_for_each_operation_and_component(diff: Any) -> None:
    gone = {**WIDER, "paths": {**WIDER["paths"], "/u": WIDER["paths"]["/t"]}}
    out = diff({**gone, "components": API["components"]}, WIDER, "--format", "markdown").out
    assert out.startswith("# Changes of the contract\n\n**2 breaking")
    assert "### `T` (schemas)\n\n- **response-enum-value-added**: T.a: value 'y' was added" in out
    assert "  - used by `GET /t`, `GET /u`" in out
    assert "### The description\n\n- **path-removed**" in out


def test_dated_paths_are_compared_without_their_prefixes(diff: Any) -> None:
    def dated(prefix: str) -> Any:
        return {**API, "paths": {f"{prefix}{path}": item for path, item in API["paths"].items()}}  # type: ignore[attr-defined]

    assert diff(dated("/v1"), dated("/2026-09")).code == 1
    result = diff(dated("/v1"), dated("/2026-09"), "--base-prefix", "/v1", "--revision-prefix", "/2026-09")
    assert (result.code, "0 other changes" in result.out) == (0, True)


def test_overrides_set_severities_and_accept_changes_for_a_reason(diff: Any) -> None:
    rule = "response-enum-value-added"
    assert diff(API, WIDER, overrides={"severities": {rule: "warn"}}).code == 0
    assert diff(WIDER, API, overrides={"severities": {"response-enum-value-removed": "break"}}).code == 1
    (row,) = json.loads(diff(API, WIDER, "--format", "json").out)["changes"]
    for entry in ({"fingerprint": row["fingerprint"]}, {"rule": rule, "where": "/components/schemas/T/*"}):
        result = diff(API, WIDER, overrides={"accept": [{**entry, "reason": "all readers were asked"}]})
        assert (result.code, "1 accepted" in result.out) == (0, True)
    over = {"rule": rule, "reason": "for a month", "until": "2020-01-31"}
    result = diff(API, WIDER, overrides={"accept": [over]})
    assert result.code == 1
    assert f"no change is accepted by {rule} any more" in result.err


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"accept": [{"rule": "a", "reason": " "}]}, "state a reason"),
        ({"accept": [{"reason": "a"}]}, "a fingerprint or a rule"),
        ({"severity": {}}, "severity"),
        ({"severities": {"a": "ignore"}}, "ignore"),
    ],
)
def test_malformed_overrides_end_with_2(diff: Any, overrides: Any, says: str) -> None:
    result = diff(API, API, overrides=overrides)
    assert (result.code, says in result.err) == (2, True)


def test_breaking_changes_alone_are_shown_on_request(diff: Any) -> None:
    out = diff(API, WIDER, "--breaking-only").out
    assert "Breaking:" in out
    removed = diff(WIDER, API, "--breaking-only").out
    assert "Not breaking:" not in removed
    assert "1 other changes" in removed
