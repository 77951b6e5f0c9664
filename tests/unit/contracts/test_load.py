"""Descriptions are read exactly, within limits, and with the files that they refer to."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.contracts import compare_openapi
from counterfoil.contracts.load import load
from counterfoil.contracts.openapi.document import references
from counterfoil.json_or_yaml import LIMITS, UnreadableText, parse


def test_json_and_yaml_say_the_same() -> None:
    assert parse(b'{"a": 1.10, "b": [true, null, "no"]}') == parse(b"a: 1.10\nb: [true, null, no]\n")
    assert parse(b"a: 1.10")["a"] == Decimal("1.10")


def test_words_and_dates_of_yaml_are_texts() -> None:
    assert parse(b"a: no\nb: 2024-01-31\nc: 12:30:45\n200: x\nd: 0x10") == {
        "a": "no", "b": "2024-01-31", "c": "12:30:45", "200": "x", "d": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a: 1\na: 2\n", "line 2: duplicate key 'a'"),
        (b'{"a": 1, "a": 2}', "a"),
        (b"? [a]\n: 1\n", "the key is not a text"),
        (b"a: &x [*x]\n", "recursive|alias"),
        (b"\xff\xfe", "UTF-8"),
        (b"a: [", "line 1: did not find"),
        (b"a: !!python/object:os.system {}\n", "constructor"),
        (b"[" * 300 + b"]" * 300, "deep"),
        (b"- " * 6000 + b"a", "deep"),
        (b"a: " + b"[" * 6000 + b"]" * 6000, "deep"),
        (b"a: " + b"1" * 200, "too long"),
        (b"a: 1e999999", "too long"),
    ],
)
def test_what_is_not_to_be_trusted_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(UnreadableText, match=says):
        parse(text)


def test_aliases_count_as_often_as_they_stand_for_something() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 9)]
    with pytest.raises(UnreadableText, match="aliases"):
        parse("\n".join(lines).encode())


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(LIMITS.size + 1)
    with pytest.raises(UnreadableText, match="larger than"):
        load(path)


ROOT = """
openapi: 3.1.0
paths:
  /a:
    get:
      responses:
        "200":
          description: fine
          content: {application/json: {schema: {$ref: 'parts/thing.yaml#/Thing'}}}
"""


def test_files_beside_a_description_belong_to_it(tmp_path: Path) -> None:
    for name, kind in (("old", "string"), ("new", "integer")):
        folder = tmp_path / name / "parts"
        folder.mkdir(parents=True)
        (folder.parent / "api.yaml").write_text(ROOT)
        (folder / "thing.yaml").write_text("Thing: {properties: {a: {$ref: '#/A'}}}\nA: {$ref: more.json}\n")
        (folder / "more.json").write_text(f'{{"type": "{kind}"}}')
    old, new = (load(tmp_path / name / "api.yaml") for name in ("old", "new"))
    assert not compare_openapi(old, old).changes
    breaking = [
        (change.rule, change.where) for change in compare_openapi(old, new).changes if change.breaking
    ]
    assert [rule for rule, _ in breaking] == ["response-type-changed"]
    assert "more.json" in breaking[0][1] or "thing.yaml" in breaking[0][1]


def test_nothing_outside_of_the_folder_is_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("Thing: {}")
    folder = tmp_path / "api"
    folder.mkdir()
    (folder / "api.yaml").write_text(ROOT.replace("parts/thing.yaml", "../secret.yaml"))
    assert "Thing: {}" not in str(description := load(folder / "api.yaml"))
    assert any(reference.startswith("../secret.yaml") for reference in references(description))
