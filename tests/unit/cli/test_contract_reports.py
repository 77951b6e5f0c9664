"""Reports of `contracts diff`: grouped by operation, path and component, and readable by people and by pipelines."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.cli.conftest import API, WIDER

GET = API["paths"]["/t"]["get"]  # type: ignore[index]


def with_values(*values: str) -> Any:
    return json.loads(json.dumps(API).replace('["x"]', json.dumps(values)))


def with_answers(schema: Any, paths: list[str]) -> Any:
    answer = json.dumps(GET).replace('{"$ref": "#/components/schemas/T"}', json.dumps(schema))
    return {**API, "paths": {path: {"get": json.loads(answer)} for path in paths}}


def large(revision: bool) -> Any:
    """Return a description with 40 components and 60 paths, of which the revision changes all."""
    fields = {f"f{at}": {"type": "string", "maxLength": 9} for at in range(6)}
    kept = (
        {name: part for name, part in fields.items() if name not in ("f1", "f2", "f3")}
        if revision
        else fields
    )
    enum = ["x", "y", "z"] if revision else ["x"]
    schemas = {f"S{at}": {"type": "object", "properties": {**kept, "e": {"enum": enum}}} for at in range(40)}
    paths = {}
    for at in range(60):
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/S{at % 40}"}}}
        limit = {
            "in": "query",
            "name": "limit",
            "schema": {"type": "integer", "maximum": 10 if revision else 99},
        }
        paths[f"/p{at}"] = {
            "get": {"parameters": [limit], "responses": {"200": {"description": "", "content": content}}}
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "", "version": ""},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def test_three_hundred_changes_are_a_summary_and_one_short_block_for_each_component(diff: Any) -> None:
    base, revision = large(revision=False), large(revision=True)
    output = json.loads(diff(base, revision, "--format", "json").out)
    assert len(output["changes"]) == 40 * 5 + 60
    lines = diff(base, revision).out.splitlines()
    assert lines[0].startswith("260 breaking, 0 undecided, 0 other changes")
    assert lines[1:5] == [
        " changes  breaking  rule",
        "     120       120  response-optional-property-removed",
        "      80        80  response-enum-value-added",
        "      60        60  request-max-decreased",
    ]
    blocks = "\n".join(lines).split("\n\n")[1:]
    assert len(blocks) == 41
    assert max(len(block.splitlines()) for block in blocks) <= 8
    assert (
        "  breaking   response-optional-property-removed  /properties/f1 and 2 more  (2 places)\n"
        in blocks[0]
    )
    assert "f1, f2, f3: the property is not delivered any more" in blocks[0]
    assert "also in GET /p1, GET /p10" in blocks[-1]
    assert "and 51 more" in blocks[-1]


@pytest.mark.parametrize("pair", [(API, WIDER), (WIDER, API), (large(False), large(True))])
def test_each_change_is_counted_in_one_group(diff: Any, pair: Any) -> None:
    output = json.loads(diff(*pair, "--format", "json").out)
    counts = {"breaking": 0, "undecided": 0, "accepted": 0, "other": 0}
    fingerprints: list[str] = []
    for group in output["groups"]:
        counts = {severity: counts[severity] + group[severity] for severity in counts}
        fingerprints += [name for finding in group["findings"] for name in finding["fingerprints"]]
    breaking = sum(change["breaking"] for change in output["changes"])
    assert counts == {
        "breaking": breaking,
        "undecided": 0,
        "accepted": 0,
        "other": len(output["changes"]) - breaking,
    }
    assert sorted(fingerprints) == sorted(change["fingerprint"] for change in output["changes"])


def test_a_group_in_json_names_its_findings_and_their_places(diff: Any) -> None:
    (group,) = json.loads(diff(API, WIDER, "--format", "json").out)["groups"]
    (fingerprint,) = group["findings"][0].pop("fingerprints")
    assert len(fingerprint) == 12
    assert group == {
        "kind": "schema", "name": "T", "used_by": ["GET /t"], "breaking": 1, "undecided": 0, "accepted": 0, "other": 0,
        "findings": [{
            "severity": "breaking", "rule": "response-enum-value-added", "message": "T.a: value 'y' was added", "in": ["schema T"],
        }],
    }  # fmt: skip


def test_values_of_one_list_are_folded(diff: Any) -> None:
    many = with_values("x", *(f"v{at}" for at in range(30)))
    out = diff(API, many).out
    assert out.count("response-enum-value-added  ") == 1
    assert "T.a: values 'v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7' and 22 more were added" in out
    assert out.startswith("30 breaking, 0 undecided")
    assert "      30        30  response-enum-value-added" in out
    rows = json.loads(diff(API, many, "--format", "json").out)["changes"]
    assert len({row["fingerprint"] for row in rows}) == 30


def test_equal_changes_of_several_operations_are_one_finding_that_names_them(diff: Any) -> None:
    pair = [with_answers({"enum": values}, ["/one", "/two"]) for values in (["x"], ["x", "y"])]
    out = diff(*pair).out
    assert out.count("response-enum-value-added") == 1
    assert "GET /one: 2 breaking\n" in out
    assert "             also in GET /two\n" in out
    assert "- also in `GET /two`" in diff(*pair, "--format", "markdown").out


def test_the_most_severe_blocks_and_findings_come_first(diff: Any) -> None:
    old = with_answers({"properties": {"a": {"maxLength": 2}, "b": {"enum": ["x"]}}}, ["/a", "/b"])
    new = json.loads(json.dumps(old))
    new["paths"]["/a"]["get"]["operationId"] = old["paths"]["/a"]["get"]["operationId"] = "first"
    new["paths"]["/a"]["get"]["operationId"] = "second"
    part = new["paths"]["/b"]["get"]["responses"]["200"]["content"]["application/json"]["schema"][
        "properties"
    ]
    part["a"]["maxLength"], part["b"]["enum"] = 1, ["x", "y"]
    lines = diff(old, new).out.splitlines()
    assert [line for line in lines if line and line[0] not in " 0123456789"] == [
        "GET /b: 1 breaking, 1 other",
        "GET /a: 1 other",
    ]
    assert [line.split()[0] for line in lines if re.match(r"  (breaking|other) ", line)] == [
        "breaking",
        "other",
        "other",
    ]


def test_places_of_every_kind_of_description_have_titles(diff: Any) -> None:
    schema = {"properties": {"a": {"type": "string"}}, "definitions": {"d": {"type": "string"}}}
    other = {
        "properties": {"a": {"type": "integer"}},
        "definitions": {"d": {"type": "string"}},
        "maxProperties": 1,
    }
    out = diff(schema, other).out
    assert "property a: 1 breaking" in out
    assert "the description: 1 breaking" in out
    events = {"asyncapi": "3.0.0", "channels": {"a": {"address": "a"}}}
    assert "channel a: 1 breaking" in diff(events, {"asyncapi": "3.0.0"}).out
    hooks = [
        {
            "openapi": "3.1.0",
            "webhooks": {"w": {"post": {"requestBody": {"content": {"a/b": {"schema": {"enum": values}}}}}}},
        }
        for values in (["x"], ["x", "y"])
    ]
    assert "POST webhook w: 1 breaking" in diff(*hooks).out


def test_a_markdown_page_has_a_part_for_each_operation_and_component(diff: Any) -> None:
    gone = {**WIDER, "paths": {**WIDER["paths"], "/u": WIDER["paths"]["/t"]}}
    out = diff({**gone, "components": API["components"]}, WIDER, "--format", "markdown").out
    assert out.startswith("# Changes of the contract\n\n**2 breaking")
    assert "## schema T\n\n1 breaking\n\nused by `GET /t`, `GET /u`\n\n" in out
    assert "- breaking: **response-enum-value-added**: T.a: value 'y' was added" in out
    assert "## /u\n\n1 breaking\n\n- breaking: **path-removed**" in out


def test_a_long_list_of_users_can_be_opened_in_markdown_and_is_counted_in_text(diff: Any) -> None:
    paths = {f"/t{at}": {"get": GET} for at in range(30)}
    pair = [{**side, "paths": paths} for side in (API, WIDER)]
    out = diff(*pair, "--format", "markdown").out
    assert "<details><summary>used by 30 operations</summary>" in out
    assert "`GET /t29`" in out
    assert "used by 30 operations, such as GET /t0, GET /t1, GET /t10\n" in diff(*pair).out


def test_text_of_a_description_is_no_markup(diff: Any) -> None:
    value = "<b>`x`</b> | [a](b)\n# no"
    out = diff(API, with_values("x", value), "--format", "markdown").out
    assert "<b>" not in out.replace("`\"<b>'x'</b> | [a](b)\\n# no\"`", "")
    assert "\n# no" not in out


def test_markdown_shows_text_as_it_is_written(diff: Any) -> None:
    name = "a&amp;b ~~c~~ $d$ \x1b[31me\x00 \u202ef"
    named = json.loads(json.dumps(API).replace('"b"', json.dumps(name)))
    out = diff(named, API, "--format", "markdown").out
    assert "a\\&amp;b \\~\\~c\\~\\~ \\$d\\$ " in out
    assert not set(out) & set("\x1b\x00\u202e")


def annotations(out: str) -> list[re.Match[str]]:
    lines = [line for line in out.splitlines() if line.startswith("::")]
    matches = [
        re.fullmatch(r"::(\w+) (?:file=([^,:]*),line=(\d+),)?title=([^,:]*)::(.*)", line) for line in lines
    ]
    assert all(matches)
    return [match for match in matches if match]


def test_annotations_stand_at_the_line_of_the_revision_with_the_escapes_of_the_workflow(diff: Any) -> None:
    revision = json.dumps(with_values("x", "50% off,\nnow"), indent=2)
    result = diff(API, revision, "--format", "github")
    (annotation,) = annotations(result.out)
    level, file, line, title, message = annotation.groups()
    assert (result.code, level, title) == (1, "error", "response-enum-value-added")
    assert file.endswith("revision.yaml")
    assert revision.splitlines()[int(line) - 1].strip() == '"a": {'
    assert '%0Aexample: "50%25 off,\\n' in message
    assert annotations(diff(API, API, "--format", "github").out) == []


@pytest.mark.parametrize(("words", "level"), [((), "warning"), (("--undecided=break",), "error")])
def test_an_undecided_change_is_a_warning_or_an_error_as_the_caller_says(
    diff: Any, words: Any, level: str
) -> None:
    outside = json.loads(json.dumps(API).replace('"b": {}', '"b": {"$ref": "https://example.com/b.json"}'))
    renamed = {**outside, "info": {"title": "Other", "version": "1"}}
    (annotation,) = annotations(diff(outside, renamed, "--format", "github", *words).out)
    assert annotation[1] == level
    root = ElementTree.fromstring(diff(outside, renamed, "--format", "junit", *words).out)
    assert (root.get("failures"), root.get("skipped")) == (("0", "1") if level == "warning" else ("1", "0"))


def test_operations_of_2_0_and_webhooks_have_lines_too(diff: Any) -> None:
    def swagger(values: list[str]) -> Any:
        answer = {"200": {"description": "", "schema": {"$ref": "#/definitions/T"}}}
        limit = {"in": "query", "name": "q", "type": "string", "enum": [*values[:1]]}
        return {
            "swagger": "2.0", "info": {"title": "", "version": ""}, "paths": {"/t": {"get": {"parameters": [limit], "responses": answer}}},
            "definitions": {"T": {"type": "object", "properties": {"a": {"type": "string", "enum": values}}}},
        }  # fmt: skip

    revision = json.dumps(swagger(["y", "x"]), indent=1)
    lines = {
        match[4]: revision.splitlines()[int(match[3]) - 1].strip()
        for match in annotations(diff(swagger(["x"]), revision, "--format", "github").out)
    }
    assert lines["response-enum-value-added"] == '"a": {'
    assert lines["request-enum-value-removed"] == '"parameters": ['


def test_junit_has_a_case_for_each_change_and_a_failure_for_each_breaking_one(diff: Any) -> None:
    named = json.loads(json.dumps(API).replace('"b"', '"b\\u0001\\uffff"'))
    root = ElementTree.fromstring(diff(named, with_values("y"), "--format", "junit").out)
    cases = root.findall("testsuite/testcase")
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "4", "2")
    assert len({case.get("name") for case in cases}) == 4
    assert {case.get("classname") for case in cases} == {"schema T"}
    failures = [case.find("failure") for case in cases if case.find("failure") is not None]
    assert {failure.get("type") for failure in failures if failure is not None} == {
        "response-enum-value-added",
        "response-optional-property-removed",
    }
    quiet = ElementTree.fromstring(diff(API, API, "--format", "junit").out)
    assert (quiet.get("tests"), quiet.get("failures"), len(quiet.findall("testsuite/testcase"))) == (
        "1",
        "0",
        1,
    )


def test_a_name_in_a_description_cannot_write_a_line_of_its_own(diff: Any) -> None:
    name = json.dumps("b\n::error::no\r\x1b[2K")
    named = json.loads(json.dumps(API).replace('"b"', name))
    for words in ((), ("--format", "github"), ("--format", "markdown")):
        out = diff(named, json.loads(json.dumps(named).replace(name, '"c"')), *words).out
        assert "error::no" in out
        assert "\n::error::no" not in out
        assert "\r" not in out
