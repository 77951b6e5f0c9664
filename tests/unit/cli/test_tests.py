"""The command `test`: its output, its reports and its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from counterfoil.cli.commands import app_with
from counterfoil.cli.failure import CommandFailed
from counterfoil.model import read
from tests.source import ROOT

KINDS = ROOT / "examples" / "kinds"
FAILING = """\
kind: test
name: broken
doc: It expects what does not happen.
given: [{after: 1s}]
expect: {runs: [{workflow: credit}]}
"""


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app_with(["test"]), ["test", *words], catch_exceptions=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "kinds"
    shutil.copytree(KINDS, copy)
    (copy / "failing.yaml").write_text(FAILING)
    return copy


def test_passing_tests_end_with_zero() -> None:
    result = invoke(str(KINDS))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "ok    credit-needs-support-lead")


def test_a_failure_ends_with_one_and_shows_place_and_difference(folder: Path) -> None:
    result = invoke(str(folder))
    assert result.exit_code == 1
    assert result.output.splitlines()[:4] == [
        f"FAIL  broken  {folder / 'failing.yaml'}:2",
        "      It expects what does not happen.",
        "      runs[0] credit: there is none",
        "          there are no runs",
    ]


@pytest.mark.parametrize("flag", [["--json"], ["--format", "json"]])
def test_the_result_as_json(folder: Path, flag: list[str]) -> None:
    assert json.loads(invoke(str(folder), *flag).output) == {
        "passed": 1,
        "failed": 1,
        "cases": [
            {
                "name": "broken",
                "ok": False,
                "difference": "runs[0] credit: there is none\n    there are no runs",
            },
            {"name": "credit-needs-support-lead", "ok": True, "difference": None},
        ],
    }


def test_names_choose_tests(folder: Path) -> None:
    assert json.loads(invoke(str(folder), "credit-", "--json").output)["passed"] == 1
    (folder / "more.yaml").write_text(FAILING.replace("broken", "broken-again"))
    for word, chosen in (("broken", ["broken"]), ("brok", ["broken", "broken-again"])):
        cases = json.loads(invoke(str(folder), word, "--json").output)["cases"]
        assert [case["name"] for case in cases] == chosen
    result = invoke(str(folder), "brokn")
    assert isinstance(result.exception, CommandFailed)
    assert "did you mean `broken`?" in str(result.exception)


def test_the_junit_report(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    invoke(str(folder), "--junit", str(report))
    root = ElementTree.parse(report).getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    failed = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert [(case.get("name"), case.get("line")) for case in failed] == [("broken", "2")]


def test_a_folder_that_does_not_pass_check_is_not_tested(folder: Path) -> None:
    (folder / "failing.yaml").write_text(FAILING.replace("workflow: credit", "workflow: credits"))
    result = invoke(str(folder))
    assert isinstance(result.exception, CommandFailed)
    assert "failing.yaml:5: test: there is no workflow `credits`" in result.output
    assert "did you mean `credit`?" in result.output


def test_a_test_is_no_part_of_a_release(folder: Path) -> None:
    with_tests = read(folder)[0]
    (folder / "failing.yaml").unlink()
    assert read(folder)[0].digest == with_tests.digest
    assert with_tests.from_json(with_tests.to_json()).document("test", "broken") is None


def test_a_test_of_an_environment_has_its_overlays(folder: Path) -> None:
    """The overlay raises the automatic tier, so the credit that needs a person elsewhere needs none there."""
    (folder / "failing.yaml").unlink()
    (folder / "sandbox.yaml").write_text(
        "kind: overlay\nname: trial\nowner: finance\nof: {environment: trial}\nchanges:\n  - kind: policy\n"
        "    name: credit-approval\n    loosens: nothing real is paid in a trial\n"
        "    set: {approval: {matrix: [{automatic: true}]}}\n"
    )
    text = (folder / "test.yaml").read_text()
    trial = text[: text.index("  - {approve:")].replace("credit-needs-support-lead", "automatic-in-a-trial")
    expect = "expect: {approvals: [{policy: credit-approval, automatic: true}]}\n"
    (folder / "trial.yaml").write_text(trial.replace("now:", "environment: trial\nnow:") + expect)
    cases = json.loads(invoke(str(folder), "--json").output)["cases"]
    assert [(case["name"], case["difference"]) for case in cases] == [
        ("credit-needs-support-lead", None),
        ("automatic-in-a-trial", None),
    ]
