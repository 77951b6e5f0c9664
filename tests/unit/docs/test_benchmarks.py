"""The figures in documents are those of bench/results.json, and those are rows that the benchmarks have."""

from __future__ import annotations

import json

from bench.__main__ import BENCHMARKS
from bench.harness import BEGIN, END, HEADLINES, PAGE, README, RESULTS, headlines, markdown


def test_the_documents_show_the_results_that_are_kept() -> None:
    kept = json.loads(RESULTS.read_text("utf-8"))
    for document, content in ((PAGE, kept), (README, headlines(kept))):
        shown = document.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
        assert shown == markdown(content)
    assert len(headlines(kept)["rows"]) == len(HEADLINES)


def test_no_result_outlives_its_row() -> None:
    kept = {row["name"] for row in json.loads(RESULTS.read_text("utf-8"))["rows"]}
    assert kept
    assert kept - set(BENCHMARKS) == set()
