"""A slip in YAML is reported on its own line, with its likely cause; in governance files and in descriptions of APIs."""

from __future__ import annotations

import pytest

from counterfoil.json_or_yaml import UnreadableText
from counterfoil.json_or_yaml import parse as parse_description
from counterfoil.model.source import parse

COLON, INDENT, BRACKET, QUOTE = (
    "a key ends with a colon",
    "is the indent right?",
    "close the bracket",
    "end the quoted",
)
SLIPS = [
    ("kind: role\nname: a\ndoc: Note: this is it\n", 3, "quote the text of `doc`: it contains `: `"),
    ("kind: w\nsteps:\n  - check: a\n    doc: one: two\n", 4, "quote the text of `doc`: it contains `: `"),
    ("kind: w\nsteps:\n  - check: a: b\n", 3, "quote the text of `check`: it contains `: `"),
    ("kind: role\nname: a\n  doc: x\n", 3, INDENT),
    ("kind: w\nsteps:\n   - check: a\n     doc: x\n    once: true\n", 5, INDENT),
    ("kind: w\nsteps: - check: a\n", 2, "A list begins on the line below its key"),
    ("kind: role\nname a\ndoc: x\n", 2, COLON),
    ("kind: role\nname:a\ndoc: x\n", 2, COLON),
    ("kind: role\nname: a\ndoc x\n", 3, COLON),
    ("kind: role\nname: a\n\n# text\nowner b\n\n\ndoc: x\n", 5, COLON),
    ("kind: s\nsettings:\n  loopback true\n  auth: {scheme: none}\n", 3, COLON),
    ("kind: s\nsettings:\n  loopback true # text\n\n  auth: {scheme: none}\n", 3, COLON),
    ("kind: role\nmay: [a, b\nname: x\ndoc: y\n", 2, BRACKET),
    ("kind: role\nx: {a: b\nname: x\n", 2, BRACKET),
    ("kind: role\nx: {a: b c: d}\n", 2, BRACKET),
    ('kind: role\nname: "a\ndoc: x\nother: y\n', 2, QUOTE),
    ("kind: role\nname: 'a' b\n", 2, "nothing follows a quoted text"),
    ("kind: role\nname: @a\n", 2, "quote the text"),
    ('kind: role\nname: "a\\d"\n', 2, "single quotes"),
]


@pytest.mark.parametrize("before", ["", "kind: role\nname: other\n---\n"])
@pytest.mark.parametrize(("text", "line", "cause"), SLIPS)
def test_a_slip_in_a_governance_file(text: str, line: int, cause: str, before: str) -> None:
    _, (finding,) = parse(before + text, "file.yaml")
    assert (finding.rule, finding.line) == ("syntax", line + before.count("\n"))
    assert cause in finding.fix


@pytest.mark.parametrize(("text", "line", "cause"), SLIPS)
def test_a_slip_in_a_description(text: str, line: int, cause: str) -> None:
    with pytest.raises(UnreadableText) as refused:
        parse_description(text.encode())
    assert str(refused.value).startswith(f"line {line}: ")
    assert cause in str(refused.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n  "openapi": "3.1.0",\n  "paths": {}],\n}\n', 3),
        ('{"openapi": "3.1.0"\n "paths": {}}\n', 2),
        ('{"openapi": "3.1.0",\n "paths": {\n', 2),
        ('{\n "a": 1,\n "a": nope}\n', 3),
    ],
)
def test_broken_json_is_reported_with_its_line(text: str, line: int) -> None:
    with pytest.raises(UnreadableText) as refused:
        parse_description(text.encode())
    assert str(refused.value).startswith(f"line {line}: ")
    assert "byte" not in str(refused.value)
