"""Tables for people: ids stay whole in a terminal of any width, and a count agrees with its noun."""

from __future__ import annotations

import pytest

from counterfoil.cli.output import write_table
from counterfoil.core.plural import counted

ID = "run_8f3a1c0e9b7d4f5a6c2e1d0b9a8f7e6d"
KEY = "credit:northwind:2026-11-30T12:00:00Z:0001"
ROW = [
    "T-1001, outage of the whole system in the night",
    "Northwind Traders",
    "support-credit-to-erp",
    "1,000.00 USD",
    KEY,
    ID,
]
COLUMNS = ["DOCUMENT", "CUSTOMER", "WORKFLOW", "EXPOSURE>", "KEY", "ID"]


@pytest.mark.parametrize("width", [20, 60, 80, 132, 250])
def test_no_word_of_a_table_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    for name, value in {"COLUMNS": str(width), "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    write_table(COLUMNS, [ROW, ["T-1", "", "w", "", "k", "run_1"]], "empty")
    words = capsys.readouterr().out.replace("\x1b[0m", "").replace("\x1b[1m", "").split()
    assert {ID, KEY, *COLUMNS[:3], "Northwind", "1,000.00"} <= set(words)


def test_a_table_without_rows_is_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(COLUMNS, [], "No Run fits.")
    assert capsys.readouterr().out == "No Run fits.\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0 errors"), (1, "1 error"), (2, "2 errors")])
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "error") == text
    assert counted(count, "leaf", "leaves") == text.replace("errors", "leaves").replace("error", "leaf")
