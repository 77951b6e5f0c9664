"""The benchmarks of the whole path do the work that they say they do."""

from __future__ import annotations

import pytest

from bench.path import GovernedOverhead, W1Limit
from bench.w1 import Databases, FiveCalls, opened, proven
from tests.postgres import Cluster


def test_the_replay_brings_the_same_runs_to_their_end() -> None:
    row = W1Limit(runs=3)
    assert row.ours() > 0
    assert row.against() > 0
    assert "3 runs of 5 steps" in row.note()


def test_the_overhead_says_where_time_goes() -> None:
    note = GovernedOverhead(runs=2).note()
    assert "SQLite writer" in note
    assert "SQLite reader" in note
    assert "rules" in note


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_five_calls_are_done_and_proven(kind: str, postgres: Cluster) -> None:
    assert FiveCalls(Databases(postgres), runs=3, warm=1).seconds(kind) > 0


async def test_runs_that_were_not_done_are_no_figure(postgres: Cluster) -> None:
    async with opened("sqlite", Databases(postgres)) as (_, ask):
        with pytest.raises(RuntimeError, match="would be false"):
            await proven(ask, 1)
