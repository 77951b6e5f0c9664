"""The harness of the benchmarks: alternating rounds, medians, the printed table and the written results."""

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

FIELDS = {"name", "ours", "against", "ratio", "target", "met", "note", "measured"}


class FakeBenchmark:
    """Benchmark with fixed figures that records the order of its calls."""

    unit = "things per second"
    peer = "another thing"
    target = ">= 2"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._ours: Iterator[float] = iter([10.0, 90.0, 30.0])
        self._against: Iterator[float] = iter([5.0, 10.0, 10.0])

    def ours(self) -> float:
        self.calls.append("ours")
        return next(self._ours)

    def against(self) -> float:
        self.calls.append("against")
        return next(self._against)

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 2

    def note(self) -> str:
        return "Fake."


def test_rounds_alternate_and_the_result_has_medians() -> None:
    benchmark = FakeBenchmark()
    row = measure("fake", benchmark)
    assert benchmark.calls == ["ours", "against"] * 3
    assert (row.ours, row.against, row.ratio, row.met) == (30.0, 10.0, 3.0, True)
    assert row.note == "things per second, relative to another thing. Fake."


def test_fewer_than_three_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="not reliable"):
        measure("fake", FakeBenchmark(), rounds=2)


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


def test_rows_that_a_run_does_not_measure_stay_with_their_date(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    console = Console(file=io.StringIO())
    run({"one": FakeBenchmark, "two": FakeBenchmark}, console, results)
    former = json.loads(results.read_text("utf-8"))
    former["rows"][1]["measured"] = "2026-11-24T00:00:00+00:00"
    results.write_text(json.dumps(former), "utf-8")
    run({"one": FakeBenchmark, "three": FakeBenchmark}, console, results)
    rows = json.loads(results.read_text("utf-8"))["rows"]
    assert [row["name"] for row in rows] == ["one", "two", "three"]
    assert rows[1] == former["rows"][1]
    assert rows[0]["measured"] > rows[1]["measured"]
    run({"three": FakeBenchmark}, console, results, remark="Another machine.")
    assert [row["name"] for row in json.loads(results.read_text("utf-8"))["rows"]] == ["three"]


def test_the_mapping_and_its_peer_agree() -> None:
    assert InvoiceMapping(seconds=0.002).ours() > 0


def test_work_is_counted() -> None:
    done = []
    rate = per_second(lambda: done.append(1), seconds=0.01)
    assert 0 < rate <= len(done) / 0.01


def test_an_unavailable_row_is_skipped_with_its_reason(tmp_path: Path) -> None:
    class Missing(FakeBenchmark):
        def against(self) -> float:
            raise Unavailable("there is no such engine here")

    printed = io.StringIO()
    rows = run(
        {"missing": Missing, "fake": FakeBenchmark},
        Console(file=printed, width=160),
        tmp_path / "results.json",
    )
    assert [row.name for row in rows] == ["fake"]
    assert "missing skipped: there is no such engine here" in printed.getvalue()


def test_a_benchmark_is_closed_even_if_it_fails() -> None:
    closed = []

    class Failing(FakeBenchmark):
        def against(self) -> float:
            raise RuntimeError("the work was not done")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(RuntimeError, match="not done"):
        measure("failing", Failing())
    assert closed == [True]


def test_a_percentile_is_a_measured_value() -> None:
    values = [float(n) for n in range(1, 201)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (100.0, 198.0)


def test_a_percentile_of_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="99 values are too few"):
        percentile([1.0] * 99, 0.99)


def test_only_the_readme_s_table_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    row = {"name": "played", "ours": 12_000.0, "against": 0.5, "ratio": 24_000.0, "target": None, "met": None}
    content = {
        "date": "2026-11-24T00:00:00+00:00",
        "machine": "M",
        "rows": [{**row, "note": "things, x. y.", "measured": "2026-11-24T00:00:00+00:00"}],
    }
    show_in(readme, content)
    text = readme.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert markdown(content) in text
    assert "| `played` | things, x | 12,000 | 0.5 | 24,000 | - | - |" in text


def test_a_readme_without_marks_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n", "utf-8")
    with pytest.raises(ValueError, match="no place"):
        show_in(readme, {"date": "2026-11-24", "machine": "M", "rows": []})


def test_the_command_accepts_the_name_of_every_row() -> None:
    assert set(BENCHMARKS) == {
        "guard", "mapping", "w1_vs_dbos", "w1_vs_restate", "w1_vs_limit", "wake_parked_p99", "latency_added_p99",
        "governed_overhead", "two_workers_one_killed", "usage_vs_limit", "usage_vs_limit_postgres", "cold_start",
        "command_version", "command_help", "command_runs", "idle_memory", "contract_vs_parse", "impact_events", "prove",
        "reconcile_vs_join", "reconcile_vs_datacompy",
    }  # fmt: skip
