"""Cells of a table and their form in CSV: amounts keep their decimals, times are UTC, and no text is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias

Cell: TypeAlias = str | int | Decimal | datetime | None
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
"""First characters of a text that a spreadsheet may execute (OWASP, CSV Injection), full-width ones included."""
BYTE_ORDER_MARK = "\ufeff"
"""First character of a CSV file: without it, spreadsheets read UTF-8 in the encoding of the computer."""


def is_like_formula(text: str) -> bool:
    """Test whether a spreadsheet may execute a text."""
    return text.startswith(FORMULA_STARTS)


def csv_text(cell: Cell) -> str:
    """Return a cell of a CSV file. A text like a formula begins with an apostrophe; a number never does."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and is_like_formula(text) else text


def csv_lines(rows: Iterable[Sequence[Cell]]) -> str:
    """Return the lines of rows, as RFC 4180 has them."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([csv_text(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def csv_statement(lines: Iterable[Sequence[Cell]], width: int) -> str:
    """Return what follows the rows of a CSV file: an empty line, then each label in column 1 with its value in column 2."""
    return "\r\n" + csv_lines([*line, *[""] * (width - len(line))] for line in lines)
