"""`counterfoil match`: the states of a history for a person, for a program, and of files that cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from counterfoil.cli.main import main
from tests.source import ROOT

DATA = ROOT / "tests" / "matching" / "data"


def match(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["counterfoil", "match", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def written(tmp_path: Path, name: str) -> str:
    """Return a file with the history of one written row."""
    content: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    file = tmp_path / "history.json"
    file.write_text(json.dumps(content["history"]), "utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (
            "row-02",
            [
                ["document", "state", "reason", "residual"],
                ["INV-100", "broken", "amount: gross less by 10.00", "10.00 EUR"],
                ["Match INV-100: broken"],
            ],
        ),
        (
            "row-04",
            [
                ["document", "state", "reason", "residual"],
                ["CM-9", "over", "over: ERP-CM-6 is shown as well", "120.00 EUR"],
                ["ERP-CM-6", "over", "shown, but not asserted: see CM-9"],
                ["Match CM-9: over"],
            ],
        ),
    ],
)
def test_a_person_reads_state_reason_and_residual(
    row: str,
    lines: list[list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, output, error = match(capsys, monkeypatch, written(tmp_path, row))
    assert (code, error) == (0, "")
    shown = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines()]
    assert shown == lines


def test_a_program_reads_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, _ = match(capsys, monkeypatch, written(tmp_path, "row-30"), "--format", "json")
    answer = json.loads(output)
    assert code == 0
    assert [foil["state"] for foil in answer["foils"]] == ["matched"]
    assert answer["unmatched"] == []


def test_a_version_with_several_contents_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "row-32-tie-content")
    _, output, _ = match(capsys, monkeypatch, file, "--format", "json")
    (clash,) = json.loads(output)["clashes"]
    _, text, _ = match(capsys, monkeypatch, file)
    assert f"Version {clash['version']} of {clash['document']} has several contents." in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "history.json: "),
        ('{"legs": {}}', "documents"),
        ('{"legs": {}, "documents": [], "shape": "2:1"}', "shape"),
    ],
)
def test_an_unreadable_file_ends_with_2(
    text: str | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "history.json"
    if text is not None:
        file.write_text(text, "utf-8")
    code, output, error = match(capsys, monkeypatch, str(file))
    assert (code, output) == (2, "")
    assert message in error
