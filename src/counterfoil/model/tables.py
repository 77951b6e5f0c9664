"""Finance-owned tables: rows by key, effective-dated, looked up by day."""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.model.kinds import Table

MAX_CSV_BYTES = 16 * 1024 * 1024


class Rows:
    """A table's rows, ready to look up. Keys compare as text: a CSV knows nothing else."""

    def __init__(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        self.table = table
        found: dict[tuple[str, ...], list[tuple[date, Any]]] = {}
        for row in rows:
            key = tuple(str(row[name]) for name in table.key)
            found.setdefault(key, []).append((valid_from(table, row), row[table.value]))
        self._by_key = {key: sorted(values, key=lambda v: v[0]) for key, values in found.items()}

    def lookup(self, keys: Sequence[object], on: date) -> Any:
        """`value` of the row in force on a day: the latest that is valid from that day or before; else None."""
        values = self._by_key.get(tuple(str(key) for key in keys))
        if not values:
            return None
        position = bisect_right(values, on, key=lambda v: v[0])
        return values[position - 1][1] if position else None


def valid_from(table: Table, row: dict[str, Any]) -> date:
    """The first day of a row; without one it is in force for ever."""
    text = row.get(table.valid_from) if table.valid_from else None
    return date.fromisoformat(text) if text else date.min


def columns(table: Table) -> list[str]:
    """The columns that look-ups read."""
    return [*table.key, table.value, *([table.valid_from] if table.valid_from else [])]


def read_csv(
    text: str, file: str, wanted: Sequence[str] = ()
) -> tuple[list[tuple[int, dict[str, Any]]], list[Finding]]:
    """(line, row) of a CSV with a header that has the wanted columns; empty cells are left out of a row. What stands
    in a wanted column has no blank before or after it: nobody sees it, and no look-up would find it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    findings: list[Finding] = []
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) != len(header):
                    findings.append(Finding("table-row", "the header names a column twice", file, 1, 1))
                    return [], findings
                missing = [name for name in wanted if name not in header]
                if missing:
                    message = f"no column `{missing[0]}` in the header; there are: {', '.join(header)}"
                    fix = "separate columns by commas" if ";" in cells[0] or "\t" in cells[0] else ""
                    return [], [Finding("table-row", message[:300], file, 1, 1, fix=fix)]
            elif cells and len(cells) != len(header):
                message = f"{len(cells)} cells under {len(header)} columns"
                findings.append(Finding("table-row", message, file, line, 1))
            elif cells:
                row = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
                blank = next(
                    (name for name in wanted if name in row and row[name] != row[name].strip()), None
                )
                if blank is not None:
                    message = f"a blank stands before or after `{row[blank].strip()}`"
                    findings.append(Finding("table-row", message, file, line, 1, fix="remove it"))
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        findings.append(Finding("table-row", f"not CSV: {error}", file, reader.line_num or 1, 1))
    return rows, findings


def row_faults(table: Table, rows: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """(position, what is wrong) for rows that cannot be looked up, or that contradict each other."""
    faults: list[tuple[int, str]] = []
    seen: dict[tuple[Any, ...], int] = {}
    for position, row in enumerate(rows):
        missing = [name for name in (*table.key, table.value) if name not in row]
        if missing:
            faults.append((position, f"no `{missing[0]}` in this row"))
            continue
        odd = next((n for n, v in row.items() if isinstance(v, dict | list)), None)
        if odd is not None:
            faults.append((position, f"`{odd}` must be a single value"))
            continue
        try:
            begins = valid_from(table, row)
        except (ValueError, TypeError):
            faults.append((position, f"`{table.valid_from}` is not a date such as 2026-01-31"))
            continue
        key = (*(str(row[name]) for name in table.key), begins)
        if key in seen:
            faults.append((position, f"the same key and first day as row {seen[key] + 1}"))
        seen.setdefault(key, position)
    return faults
