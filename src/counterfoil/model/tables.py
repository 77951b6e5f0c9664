"""Tables that finance owns: effective-dated rows, looked up by key and day."""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias

from counterfoil.core.finding import Finding
from counterfoil.model.kinds import Table

_NUMBER = re.compile(r"-?\d+\.\d+")
MAX_CSV_BYTES = 16 * 1024 * 1024
Line: TypeAlias = tuple[int, dict[str, Any]]
"""Number of a line in the file, from 1, and its row."""


class TableRows:
    """Rows of a table, indexed by key. Keys compare as text, because a CSV has no other type; a number finds `19.0` and `19`."""

    def __init__(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        self.table = table
        values: dict[tuple[str, ...], list[tuple[date, Any]]] = {}
        for row in rows:
            key = tuple(key_text(row[name]) for name in table.key)
            values.setdefault(key, []).append((valid_from(table, row), row[table.value]))
        self._by_key = {key: sorted(rows_of_key, key=lambda v: v[0]) for key, rows_of_key in values.items()}
        self._by_number = {
            tuple(map(_as_number, key)): rows_of_key for key, rows_of_key in self._by_key.items()
        }

    @property
    def names(self) -> frozenset[str]:
        """The values of the first key column."""
        return frozenset(key[0] for key in self._by_key)

    def lookup(self, keys: Sequence[object], on: date) -> Any:
        """Return the value of the latest row that is valid from that day or before; None if there is none."""
        texts = tuple(key_text(key) for key in keys)
        values = self._by_key.get(texts)
        if values is None and any(isinstance(key, Decimal) for key in keys):
            values = self._by_number.get(texts)
        if not values:
            return None
        position = bisect_right(values, on, key=lambda v: v[0])
        return values[position - 1][1] if position else None


def key_text(key: object) -> str:
    """Return a part of a key as text. A decimal has no zeros at its end, however its source writes it."""
    if isinstance(key, Decimal) and key.is_finite():
        text = f"{key:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(key)


def _as_number(text: str) -> str:
    """Return the text of a number as `key_text` writes it, and every other text as it is."""
    return key_text(Decimal(text)) if _NUMBER.fullmatch(text) else text


def valid_from(table: Table, row: dict[str, Any]) -> date:
    """Return the first day of a row; the earliest possible day if it has none."""
    text = row.get(table.valid_from) if table.valid_from else None
    return date.fromisoformat(text) if text else date.min


def columns(table: Table) -> list[str]:
    """Return the columns that look-ups read."""
    return [*table.key, table.value, *([table.valid_from] if table.valid_from else [])]


def read_csv(text: str, file: str, required: Sequence[str] = ()) -> tuple[list[Line], list[Finding]]:
    """Return (line, row) of a CSV whose header has the required columns; a row omits its empty cells.

    A value in a required column has no leading or trailing blank: it is invisible, and no look-up would match.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Line] = []
    findings: list[Finding] = []
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) != len(header):
                    findings.append(Finding("table-row", "the header has a column twice", file, 1, 1))
                    return [], findings
                missing = [name for name in required if name not in header]
                if missing:
                    message = f"the header has no column `{missing[0]}`; it has: {', '.join(header)}"
                    fix = "separate the columns with commas" if ";" in cells[0] or "\t" in cells[0] else ""
                    return [], [Finding("table-row", message[:300], file, 1, 1, fix=fix)]
            elif cells and len(cells) != len(header):
                message = f"the row has {len(cells)} cells, the header {len(header)} columns"
                findings.append(Finding("table-row", message, file, line, 1))
            elif cells:
                row = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
                cells_read = (row.get(name, "") for name in required)
                padded = next((cell for cell in cells_read if cell != cell.strip()), None)
                if padded is not None:
                    message = f"there is a blank before or after `{padded.strip()}`"
                    findings.append(Finding("table-row", message, file, line, 1, fix="remove it"))
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        findings.append(Finding("table-row", f"not CSV: {error}", file, reader.line_num or 1, 1))
    return rows, findings


def row_faults(table: Table, rows: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """Return (position, problem) for rows that no look-up can use, or that contradict each other."""
    faults: list[tuple[int, str]] = []
    first: dict[tuple[Any, ...], int] = {}
    for position, row in enumerate(rows):
        missing = [name for name in (*table.key, table.value) if name not in row]
        if missing:
            faults.append((position, f"this row has no `{missing[0]}`"))
            continue
        nested = next((n for n, v in row.items() if isinstance(v, dict | list)), None)
        if nested is not None:
            faults.append((position, f"`{nested}` must be a single value"))
            continue
        try:
            begins = valid_from(table, row)
        except (ValueError, TypeError):
            faults.append((position, f"`{table.valid_from}` is not a date such as 2026-01-31"))
            continue
        key = (*(key_text(row[name]) for name in table.key), begins)
        if key in first:
            faults.append((position, f"this row has the same key and first day as row {first[key] + 1}"))
        first.setdefault(key, position)
    return faults
