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
from bench.harness import (
    BEGIN,
    END,
    Unavailable,
    machine,
    markdown,
    measure,
    percentile,
    run,
    show_in,
)

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


def test_a_row_that_cannot_be_had_is_skipped_with_its_reason(tmp_path: Path) -> None:
    class Missing(Played):
        def against(self) -> float:
            raise Unavailable("there is no such engine here")

    printed = io.StringIO()
    rows = run(
        {"missing": Missing, "played": Played}, Console(file=printed, width=160), tmp_path / "results.json"
    )
    assert [row.name for row in rows] == ["played"]
    assert "missing skipped: there is no such engine here" in printed.getvalue()


def test_what_a_benchmark_holds_is_let_go_even_when_it_fails() -> None:
    closed = []

    class Failing(Played):
        def against(self) -> float:
            raise RuntimeError("the work was not done")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(RuntimeError, match="not done"):
        measure("failing", Failing())
    assert closed == [True]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 201)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (100.0, 198.0)


def test_a_percentile_of_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="99 values do not tell"):
        percentile([1.0] * 99, 0.99)


def test_the_readme_s_table_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    row = {"name": "played", "ours": 12_000.0, "against": 0.5, "ratio": 24_000.0, "target": None, "met": None}
    content = {
        "date": "2026-11-24T00:00:00+00:00",
        "machine": "M",
        "rows": [{**row, "note": "things, x. y."}],
    }
    show_in(readme, content)
    text = readme.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert markdown(content) in text
    assert "| `played` | things, x | 12,000 | 0.5 | 24,000 | - | - |" in text


def test_a_readme_without_a_place_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n", "utf-8")
    with pytest.raises(ValueError, match="no place"):
        show_in(readme, {"date": "2026-11-24", "machine": "M", "rows": []})


def test_rows_have_names_that_the_command_takes() -> None:
    assert set(BENCHMARKS) == {
        "guard", "mapping", "w1_vs_dbos", "w1_vs_restate", "w1_vs_limit", "wake_parked_p99", "latency_added_p99",
        "governed_overhead", "two_workers_one_killed", "usage_vs_limit", "usage_vs_limit_postgres", "cold_start",
        "idle_memory", "contract_vs_parse", "impact_events", "prove",
    }  # fmt: skip
