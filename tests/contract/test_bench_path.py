"""The benchmarks of the whole path do the work that they say they do."""

from __future__ import annotations

from bench.path import GovernedOverhead, W1Limit


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
