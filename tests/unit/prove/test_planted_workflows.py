"""Mistakes that pass every other check: a proof finds each of them, at its step, with a short path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from counterfoil.core.finding import errors
from counterfoil.model import Model, read
from counterfoil.prove import Proof, findings, prove
from counterfoil.prove.invariants import INVARIANTS
from tests.companies.base import write
from tests.companies.proven import COMPANY

HERE = Path(__file__).parent
PLANTED = HERE / "planted"

MISTAKES = [
    ("refusal-passed-over", "half-done", "memo", "refused"),
    ("retries-passed-over", "half-done", "posted", "refused as transient at every try"),
    ("stop-halfway", "half-undone", "memo", "ledger.credit.post over 100.00 USD: refused"),
    ("approval-after-posting", "unapproved", "memo", "starts the run"),
    ("rejected-goes-on", "unapproved", "memo", "rejects"),
    ("expired-goes-on", "unapproved", "memo", "no person decides"),
    ("stale-goes-on", "unapproved", "posted", "no longer valid"),
    ("requester-approves", "approved-by-requester", "approve0", "as its requester"),
    ("amount-of-another", "more-than-approved", "memo", "twice the amount"),
    ("foil-timeout-passed-over", "foil-unmatched", "memo", "not settled"),
    ("no-wait-for-foil", "foil-unmatched", "memo", "ledger.credit.post over 100.00 USD: done"),
    ("taken-back-by-hand", "half-undone", "memo", "bills.memo.void: done"),
    ("signal-posts-twice", "posted-twice", "signal0/0", "again, as another fact"),
    ("announced-twice", "emitted-twice", "emit0", "no longer valid"),
    ("no-way-back", "no-way-back", "memo", "refused"),
    ("items-left", "half-done", "each1/do/0", "refused"),
    ("job-never-seen", "stuck", "booked", "another integration accepts it"),
    ("larger-than-open", "credit-within-open", "", "invoice.open is"),
]
"""File, broken invariant, its step, and a part of the timeline."""
UNREACHED = [
    ("event-that-never-matches", "wait3", "no event that was tried matches"),
    ("step-that-never-runs", "call4", "never ran"),
]
SOUND = ("sound", "again-on-another-day")
MAX_LINES = 8
"""Maximum lines of a timeline: these mistakes are simple."""


def planted(name: str, folder: Path) -> Model:
    """Return the company with one workflow. It passes every check."""
    shutil.copy(PLANTED / f"{name}.yaml", write(folder, COMPANY))
    model, all_findings = read(folder)
    assert errors(all_findings) == []
    return model


def proof_of(name: str, folder: Path, faults: int = 1) -> Proof:
    return prove(planted(name, folder), "credit", faults)


@pytest.mark.parametrize(("name", "invariant", "step", "expected"), MISTAKES)
def test_a_planted_mistake_is_found_on_a_short_path(
    name: str, invariant: str, step: str, expected: str, tmp_path: Path
) -> None:
    proof = proof_of(name, tmp_path)
    matches = [b for b in proof.broken if (b.invariant, b.step) == (invariant, step)]
    assert matches, [(b.invariant, b.step) for b in proof.broken]
    (broken,) = matches
    assert expected in " | ".join(line.what for line in broken.timeline)
    assert len(broken.timeline) <= MAX_LINES
    assert broken.faults == sum(bool(line.fault) for line in broken.timeline) <= 1
    text = broken.text()
    assert text.startswith(invariant)
    assert f" {len(broken.timeline)}. " in text
    assert "broken: " in text
    assert "do:     " in text


@pytest.mark.parametrize(("name", "step", "words"), UNREACHED)
def test_unreachable_parts_are_reported(name: str, step: str, words: str, tmp_path: Path) -> None:
    proof = proof_of(name, tmp_path)
    assert proof.holds
    assert any(where == step and words in what for where, what in proof.dead), proof.dead


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workflow_holds_under_two_faults(name: str, tmp_path: Path) -> None:
    proof = proof_of(name, tmp_path, 2)
    assert (proof.broken, proof.dead, proof.complete) == ((), (), True)
    assert len(proof.states) == 3
    assert min(proof.states) >= 10


def test_at_least_fifteen_different_mistakes_are_planted() -> None:
    files = {path.stem for path in PLANTED.glob("*.yaml")}
    assert files == {m[0] for m in MISTAKES} | {u[0] for u in UNREACHED} | set(SOUND)
    assert len(MISTAKES) >= 15
    assert len({m[1] for m in MISTAKES}) >= 10


def test_the_readme_describes_each_planted_mistake() -> None:
    page = (PLANTED / "README.md").read_text("utf-8")
    expected = {name: f"`{invariant}`" for name, invariant, *_ in MISTAKES}
    expected |= {name: "a step that never runs" for name, *_ in UNREACHED}
    for name, finding in expected.items():
        doc = (PLANTED / f"{name}.yaml").read_text("utf-8").splitlines()[2].removeprefix("doc: ")
        assert f"| `{name}` | {doc} | {finding} |\n" in page


def test_a_finding_stands_at_the_line_of_its_step(tmp_path: Path) -> None:
    model = planted("stop-halfway", tmp_path)
    (finding, *_) = findings(model, prove(model, "credit", 1))
    assert finding.rule == "half-undone"
    assert finding.severity == "error"
    lines = (tmp_path / "stop-halfway.yaml").read_text("utf-8").splitlines()
    assert lines[finding.line - 1].strip() == "- id: memo"
    assert "counterfoil prove credit" in finding.fix


def test_a_counterfoil_without_a_wait_is_a_warning_of_check(tmp_path: Path) -> None:
    model = planted("no-wait-for-foil", tmp_path)
    assert [f.severity for f in findings(model, prove(model, "credit", 1))] == ["warning"]


def test_every_invariant_is_in_the_reference() -> None:
    page = (HERE.parents[2] / "docs" / "reference" / "governance.md").read_text("utf-8")
    for name, invariant in INVARIANTS.items():
        assert f"| `{name}` | {invariant.meaning} |" in page
