"""The harness of the benchmarks: it alternates, takes medians, prints a table and writes what it measured."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from bench.__main__ import BENCHMARKS
from bench.expressions import Guard, InvoiceMapping, per_second
from bench.harness import machine, measure, run

FIELDS = {"name", "ours", "against", "ratio", "target", "met", "note"}


class Played:
    """A benchmark with figures that are known beforehand, noting the order in which they were asked for."""

    unit = "things per second"
    peer = "another thing"
    target = ">= 2"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._ours: Iterator[float] = iter([10.0, 90.0, 30.0])
        self._against: Iterator[float] = iter([5.0, 10.0, 10.0])

    def ours(self) -> float:
        self.asked.append("ours")
        return next(self._ours)

    def against(self) -> float:
        self.asked.append("against")
        return next(self._against)

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 2

    def note(self) -> str:
        return "Played."


def test_rounds_alternate_and_medians_are_kept() -> None:
    played = Played()
    row = measure("played", played)
    assert played.asked == ["ours", "against"] * 3
    assert (row.ours, row.against, row.ratio, row.met) == (30.0, 10.0, 3.0, True)
    assert row.note == "things per second, against another thing. Played."


def test_fewer_than_three_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        measure("played", Played(), rounds=2)


def test_a_tiny_row_is_printed_and_written(tmp_path: Path) -> None:
    printed = io.StringIO()
    results = tmp_path / "results.json"
    rows = run(
        {"guard": lambda: Guard(seconds=0.002)}, Console(file=printed, width=160), results, remark="Busy."
    )
    written = json.loads(results.read_text("utf-8"))
    assert written.keys() == {"date", "machine", "rows"}
    assert written["machine"] == f"{machine()}. Busy."
    assert [row.keys() for row in written["rows"]] == [FIELDS]
    (row,) = rows
    assert written["rows"][0]["ours"] == row.ours > 0
    assert "guard" in printed.getvalue()
    assert ">= 1,000,000 per second" in printed.getvalue()


def test_the_mapping_and_its_peer_agree() -> None:
    assert InvoiceMapping(seconds=0.002).ours() > 0


def test_work_is_counted() -> None:
    done = []
    rate = per_second(lambda: done.append(1), seconds=0.01)
    assert 0 < rate <= len(done) / 0.01


def test_rows_have_names_that_the_command_takes() -> None:
    assert set(BENCHMARKS) == {
        "guard", "mapping", "w1_vs_limit", "governed_overhead", "cold_start", "idle_memory", "usage_vs_limit",
        "usage_vs_limit_postgres",
    }  # fmt: skip
