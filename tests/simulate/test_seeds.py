"""A hundred seeds of the simulator, and that a seed says everything: the same one gives the same timeline."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulate.plan import AtCommit, planned
from tests.simulate.play import Played, play
from tests.simulate.shrink import report, shrunk

SEEDS = 100
BATCH = 25
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_a_company_keeps_every_invariant_whatever_befalls_it(first: int) -> None:
    for seed in range(first, first + BATCH):
        played = play(planned(seed))
        if played.violations:
            pytest.fail(report(shrunk(played, tries=60)), pytrace=False)


def _digest(played: Played) -> str:
    return hashlib.sha256("\n".join(map(str, played.timeline)).encode()).hexdigest()


def test_the_same_seed_gives_the_same_timeline_whatever_the_hash_seed() -> None:
    digests = {_digest(play(planned(seed))) for seed in (7, 7)}
    code = (
        "from tests.simulate.test_seeds import _digest, planned, play;"
        "print(_digest(play(planned(7))), _digest(play(planned(12))))"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        printed = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
            cwd=ROOT,
        ).stdout.split()
        digests.add(printed[0])
        assert printed[1] == _digest(play(planned(12)))
    assert len(digests) == 1


def test_seeds_are_rich_in_events() -> None:
    """A simulator in which nothing happens finds nothing."""
    many = [play(planned(seed)) for seed in range(20)]
    happened_texts = " ".join(what for played in many for _, _, what in played.timeline)
    assert sum(played.commits for played in many) > 20 * 80
    for happened in (
        "is killed", "is stopped", "goes on", "loses the database", "as unknown", "as refused", "as confirmed (look-up)",
        "ResendUnknown", ": held", "started [", "drop [", "rejects", "approves", "decides", "ConcludeAndTurn", "is dead",
        "to ledger-de", "reads ledger.rate.read", "of us is broken, and de shows it", "of de is broken, and us shows it",
    ):  # fmt: skip
        assert happened in happened_texts, f"in no seed: {happened}"


def test_what_fails_is_shrunk_to_what_it_takes() -> None:
    """A violation that one crash causes is reported with that crash and little else."""
    plan = planned(3)

    def failing(smaller: object) -> Played:
        assert isinstance(smaller, type(plan))
        crashes = [item for _, item in smaller.items if isinstance(item, AtCommit)]
        violations = ("1: planted",) if len(crashes) >= 1 else ()
        return Played(smaller, violations, ((0.0, "judge", "planted"),), 0, 0.0)

    crash = AtCommit(4, "crash", True, 1.0)
    full = failing(
        type(plan)(plan.seed, plan.workers, plan.deaf, plan.named, (*plan.items, (len(plan.items), crash)))
    )
    least = shrunk(full, failing)
    assert [type(item) for _, item in least.plan.items] == [AtCommit]
    assert "again: python -m tests.simulate --seed 3 --keep" in report(least)
