"""Planted bugs: the simulator sees each of them, within a few seeds. A simulator that sees nothing proves nothing."""

from __future__ import annotations

import pytest

from tests.simulate.bugs import BUGS, SNAPSHOT_BUG, Bug, plans, planted
from tests.simulate.play import play

WITHIN = 12
"""Seeds, counted from the one that is known to see the bug: code that has moved on moves what a seed does."""


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_is_seen(bug: Bug) -> None:
    with planted(bug):
        if any(play(plan).violations for plan in plans(bug, WITHIN)):
            return
    pytest.fail(f"no seed of {bug.first} to {bug.first + WITHIN - 1} sees it")


def test_there_are_at_least_twenty_of_different_kinds() -> None:
    assert len({bug.edits for bug in BUGS}) == len(BUGS) >= 20


def test_a_snapshot_that_differs_from_the_rows_is_seen_by_its_own_invariant_alone() -> None:
    with planted(SNAPSHOT_BUG):
        violations = [v for plan in plans(SNAPSHOT_BUG, WITHIN) for v in play(plan).violations]
    assert violations
    assert [v for v in violations if not v.startswith("0: ")] == []
