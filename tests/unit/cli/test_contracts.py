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
    def run(old: Any, new: Any, *words: str, reads: Any = None) -> Completed:
        names = []
        for name, content in (("base.json", old), ("revision.yaml", new), ("reads.yaml", reads)):
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text)
            names.append(str(tmp_path / name))
        options = ["--reads", names[2]] if reads is not None else []
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
    assert output.keys() == {"kind", "profile", "direction", "breaking", "changes"}
    assert output["changes"][0] == {
        "rule": "response-enum-value-added", "where": "/components/schemas/T/properties/a", "direction": "backward",
        "breaking": True, "decided": True, "users": 1, "message": "T.a: value 'y' was added", "example": "y",
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
