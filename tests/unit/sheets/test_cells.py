"""Cells of exports: texts are never formulas, numbers are always numbers."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from counterfoil.sheets.cells import csv_lines, csv_statement, csv_text
from counterfoil.sheets.workbook import TableSheets, new_workbook

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", '=HYPERLINK("http://x")')


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_like_a_formula_begins_with_an_apostrophe(text: str) -> None:
    assert csv_text(text) == f"'{text}"
    assert next(csv.reader(io.StringIO(csv_lines([[text]]), newline=""))) == [f"'{text}"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Decimal("-12.50"), "-12.50"),
        (Decimal("1E+3"), "1000"),
        (-3, "-3"),
        (None, ""),
        ("a-b", "a-b"),
        (datetime(2026, 12, 3, 1, 0, tzinfo=timezone(timedelta(hours=1))), "2026-12-03 00:00:00"),
    ],
)
def test_numbers_and_times_are_plain(cell: Any, text: str) -> None:
    assert csv_text(cell) == text


def test_the_statement_follows_an_empty_line_in_as_many_columns() -> None:
    text = csv_lines([["a", "b", "c"], [1, 2, 3]]) + csv_statement([("Rows", 1)], 3)
    assert text == "a,b,c\r\n1,2,3\r\n\r\nRows,1,\r\n"


def _written(folder: Path, rows: list[list[Any]]) -> Any:
    with new_workbook(folder / "t.xlsx", "T", folder) as book:
        sheets = TableSheets(book, "Rows", ["a"])
        sheets.write(rows)
        sheets.finish([("Rows", sheets.rows), ("=1", "=2")])
    return openpyxl.load_workbook(folder / "t.xlsx")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_sheet_has_texts_as_texts(tmp_path: Path, text: str) -> None:
    book = _written(tmp_path, [[text]])
    cell = book["Rows"]["A2"]
    assert (cell.data_type, cell.value.replace("_x000D_", "\r"), cell.quotePrefix) == ("s", text, True)
    assert book["Statement"]["A2"].data_type == book["Statement"]["B2"].data_type == "s"


def test_a_sheet_has_amounts_with_the_decimals_of_their_currency(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        [Decimal("-12.50")],
        [Decimal("1200")],
        [Decimal("1.234")],
        [7],
        [Decimal("12345678901234567.89")],
    ]
    sheet = _written(tmp_path, rows)["Rows"]
    cells = [sheet.cell(row, 1) for row in range(2, 7)]
    assert [cell.value for cell in cells] == [-12.5, 1200, 1.234, 7, "12345678901234567.89"]
    assert [cell.number_format for cell in cells[:3]] == ["#,##0.00", "#,##0", "#,##0.000"]


def test_a_text_that_is_too_long_for_a_cell_is_cut(tmp_path: Path) -> None:
    value = _written(tmp_path, [["x" * 40_000]])["Rows"]["A2"].value
    assert (len(value), value[-1]) == (32_767, "…")


def test_rows_are_on_disk_until_the_end_and_no_file_remains(tmp_path: Path) -> None:
    _written(tmp_path, [["a"], [None], [""]])
    assert [path.name for path in tmp_path.iterdir()] == ["t.xlsx"]
