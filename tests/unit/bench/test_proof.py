"""The row `prove`: its workflow passes, and both sides execute the same decisions."""

from __future__ import annotations

from pathlib import Path

from bench.proof import TEN_STEPS, WORKFLOW, ProveTenSteps
from counterfoil.core.finding import errors
from counterfoil.model import read
from tests.companies.base import documents, write
from tests.companies.proven import COMPANY


def test_the_proven_workflow_has_ten_steps(tmp_path: Path) -> None:
    text = documents(COMPANY, TEN_STEPS.read_text("utf-8"))
    model, findings = read(write(tmp_path, text))
    assert errors(findings) == []
    assert len(model.workflow(WORKFLOW).steps.steps) == 10


def test_both_sides_are_measured() -> None:
    row = ProveTenSteps(faults=0)
    assert row.ours() > 0
    assert row.against() > 0
    assert "states" in row.note()
