"""The README's figures are those of bench/results.json, and those are rows that the benchmarks have."""

from __future__ import annotations

import json

from bench.__main__ import BENCHMARKS
from bench.harness import BEGIN, END, README, RESULTS, markdown


def test_the_readme_shows_the_results_that_are_kept() -> None:
    text = README.read_text("utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == markdown(json.loads(RESULTS.read_text("utf-8")))


def test_no_result_outlives_its_row() -> None:
    kept = {row["name"] for row in json.loads(RESULTS.read_text("utf-8"))["rows"]}
    assert kept
    assert kept - set(BENCHMARKS) == set()
