"""XLSX files in bounded memory: each row goes to disk when the next one begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from counterfoil.sheets.cells import Cell, is_like_formula

MAX_SHEET_ROWS = 1_048_000
"""Rows of one sheet; the format has 576 more."""
_REPEATABLE = datetime(2000, 1, 1, tzinfo=UTC)
"""Creation time of a file: the same rows give the same bytes."""
_MAX_CELL_CHARS = 32_767
_MAX_EXACT_DIGITS = 15
"""Digits of a number that a spreadsheet keeps; a longer one is written as text."""
_COLUMN_CHARS = 18


@contextmanager
def new_workbook(target: Path | IO[bytes], title: str, folder: Path | None = None) -> Iterator[Any]:
    """Yield a workbook and write it at the end, unless there is an error. No text of it becomes a formula, a link or a number.

    Rows that are finished are in `folder` until then.
    """
    import xlsxwriter  # 0.1 s, for files alone

    options = {
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "constant_memory": True,
        "tmpdir": None if folder is None else str(folder),
    }
    book = xlsxwriter.Workbook(str(target) if isinstance(target, Path) else target, options)
    book.set_properties({"title": title, "created": _REPEATABLE.replace(tzinfo=None)})
    try:
        yield book
    except BaseException:
        for sheet in book.worksheets():  # half a table is no file: only the rows on disk are closed
            sheet._opt_close()
        raise
    if not book.fileclosed:
        book.close()


class TableSheets:
    """A sheet with a table, and one that states what the table is."""

    def __init__(self, book: Any, title: str, columns: Sequence[str]) -> None:
        self._book, self._formats = book, dict[str, Any]()
        self._bold = book.add_format({"bold": True})
        self._literal = book.add_format({"quote_prefix": True})
        self._sheet = book.add_worksheet(title)
        self._sheet.set_column(0, len(columns) - 1, _COLUMN_CHARS)
        self._sheet.freeze_panes(1, 0)
        self._sheet.write_row(0, 0, columns, self._bold)
        self._columns = len(columns)
        self.rows = 0

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        for row in rows:
            self.rows += 1
            for column, cell in enumerate(row):
                self._write(self._sheet, self.rows, column, cell)

    def finish(self, statement: Iterable[Sequence[Cell]]) -> None:
        """Write the second sheet: each label with its value."""
        self._sheet.autofilter(0, 0, self.rows, self._columns - 1)
        sheet = self._book.add_worksheet("Statement")
        sheet.set_column(0, 1, 2 * _COLUMN_CHARS)
        for number, line in enumerate(statement):
            for column, cell in enumerate(line):
                self._write(sheet, number, column, cell)

    def _write(self, sheet: Any, row: int, column: int, cell: Cell) -> None:
        if cell is None or cell == "":
            return
        if isinstance(cell, datetime):
            value = cell.astimezone(UTC).replace(tzinfo=None)
            sheet.write_datetime(row, column, value, self._format("yyyy-mm-dd hh:mm:ss"))
        elif isinstance(cell, str):
            text = cell if len(cell) <= _MAX_CELL_CHARS else f"{cell[: _MAX_CELL_CHARS - 1]}…"
            sheet.write_string(row, column, text, self._literal if is_like_formula(text) else None)
        elif len(str(abs(cell)).replace(".", "")) > _MAX_EXACT_DIGITS:
            sheet.write_string(row, column, f"{cell:f}" if isinstance(cell, Decimal) else str(cell))
        elif isinstance(cell, Decimal):
            sheet.write_number(row, column, float(cell), self._format(_number_format(cell)))
        else:
            sheet.write_number(row, column, cell)

    def _format(self, number_format: str) -> Any:
        if number_format not in self._formats:
            self._formats[number_format] = self._book.add_format({"num_format": number_format})
        return self._formats[number_format]


def _number_format(amount: Decimal) -> str:
    """Return the format with the decimals that an amount has: those of its currency."""
    exponent = amount.as_tuple().exponent
    decimals = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    return "#,##0" + ("." + "0" * decimals if decimals else "")
