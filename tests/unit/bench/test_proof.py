"""The row `prove`: its workflow holds, and both sides are measured on the same decisions."""

from __future__ import annotations

from bench.proof import PROVEN, WORKFLOW, ProveTenSteps
from counterfoil.model import read


def test_the_workflow_that_is_proven_has_ten_steps() -> None:
    model, found = read(PROVEN)
    assert found == []
    assert len(model.workflow(WORKFLOW).steps.steps) == 10


def test_both_sides_are_measured() -> None:
    row = ProveTenSteps(faults=0)
    assert row.ours() > row.against() > 0
    assert "states" in row.note()
