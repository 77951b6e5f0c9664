"""`contracts lint`, and lint warnings of `check`: places, exit codes, and files that are not a contract."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from counterfoil.cli.commands import COMMANDS, app_with
from tests.source import ROOT

RUNNER = CliRunner()
SCHEMA = """{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$id": "https://acme.example/credit/v1",
  "title": "Credit", "description": "A credit.",
  "type": "object",
  "properties": {
    "currency": {"type": "string"},
    "amount": {"type": "number"}
  }
}
"""
EVENT = """kind: event
name: credit.asked.v1
data:
  credit_id: id
  amount: decimal
---
kind: table
name: rates
key: [currency]
value: rate
rows: []
"""


def lint(*words: str) -> tuple[int, str]:
    result = RUNNER.invoke(app_with(COMMANDS), ["contracts", "lint", *words])
    return result.exit_code, result.output


def test_a_finding_in_a_foreign_file_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "credit.json").write_text(SCHEMA)
    code, output = lint(str(tmp_path / "credit.json"))
    assert code == 1
    assert f"{tmp_path}/credit.json:8: money-exact: " in output
    assert output.endswith("1 file, 1 finding\n")


def test_a_folder_is_searched_and_unreadable_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "credit.json").write_text(SCHEMA.replace("number", "integer"))
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "events.yaml").write_text(EVENT)
    code, output = lint(str(tmp_path), "--format", "json")
    assert code == 1
    assert [(Path(f["file"]).name, f["line"], f["rule"]) for f in json.loads(output)] == [
        ("broken.yaml", 0, "unreadable"),
        ("events.yaml", 5, "money-exact"),
    ]


def test_a_good_contract_has_no_finding(tmp_path: Path) -> None:
    (tmp_path / "credit.json").write_text(SCHEMA.replace("number", "integer"))
    assert lint(str(tmp_path)) == (0, "1 file, 0 findings\n")


def test_files_that_use_patterns_are_checked_as_written() -> None:
    assert lint(str(ROOT / "examples" / "acme"))[1].endswith(" 0 findings\n")


def test_a_file_that_is_not_a_contract_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken.yaml").write_text("a: [")
    for name in ("other.json", "broken.yaml", "gone.yaml"):
        result = RUNNER.invoke(app_with(COMMANDS), ["contracts", "lint", str(tmp_path / name)])
        assert "CommandFailed" in repr(result.exception)


def test_check_reports_lint_findings_as_warnings(tmp_path: Path) -> None:
    RUNNER.invoke(app_with(COMMANDS), ["init", str(tmp_path / "company")])
    assert RUNNER.invoke(app_with(COMMANDS), ["check", str(tmp_path / "company")]).output.endswith(
        "0 errors, 0 warnings\n"
    )
    path = tmp_path / "company" / "2-contracts.yaml"
    path.write_text(
        path.read_text() + "---\nkind: event\nname: call.made.v1\nproduced: http\ndata: {phone: string}\n"
    )
    result = RUNNER.invoke(app_with(COMMANDS), ["check", str(tmp_path / "company")])
    assert result.exit_code == 0
    assert "warning: pii-mark" in result.output
