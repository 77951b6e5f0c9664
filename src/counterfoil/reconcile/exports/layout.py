"""Layout of an export: titles above the header, the header, repeated headers, and totals below the data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from counterfoil.reconcile.exports.table import (
    Builder,
    ExportRefused,
    ExportTable,
    NewBuilder,
    StatedTotal,
    TableBuilder,
    filled,
    is_empty,
    unique_names,
    without_trailing_empty,
)
from counterfoil.reconcile.values import DateForm, NumberForm

HEAD_ROWS = 200
"""Rows in which the header is looked for."""
MAX_TRAILER_ROWS = 20
_TOTAL = re.compile(
    r"\W*(?:grand |sub-?|zwischen)?(?:total|totals|sum|summe|gesamt|gesamtsumme|gesamtbetrag|saldo|balance|montant total|"
    r"records?|rows?|lines?|count|anzahl|end of (?:report|file|list)|eof|report generated|generated|exported|ende)\b.*",
    re.IGNORECASE,
)
_NUMBERS = NumberForm()
_DATES = DateForm()
Places = Iterable[tuple[int, list[Any]]]


def build(
    name: str,
    rows: Places,
    unit: str,
    notes: Sequence[str] = (),
    *,
    complete: bool = True,
    builder_of: NewBuilder = TableBuilder,
) -> ExportTable:
    """Return the table of numbered rows. Raises ExportRefused where a row does not fit its header.

    `complete` is False where the file ends inside its last row.
    """
    rows = iter(rows)
    head = [(place, without_trailing_empty(row)) for place, row in islice(rows, HEAD_ROWS)]
    head = [(place, row) for place, row in head if row]
    if not head:
        raise ExportRefused(f"{name} is empty.")
    all_notes = list(notes)
    header, start = _header(head, all_notes)
    columns = unique_names(header, all_notes)
    builder = builder_of(name, columns, unit)
    width, repeated = len(columns), 0
    # The last rows are held back: they may be totals.
    waiting: list[tuple[int, list[Any]]] = []
    for place, row in chain(head[start:], ((p, without_trailing_empty(r)) for p, r in rows)):
        if not row:
            continue
        if row == header:
            repeated += 1
            continue
        waiting.append((place, row))
        if len(waiting) > MAX_TRAILER_ROWS:
            _add(builder, *waiting.pop(0), width)
    data, trailers = _without_trailers(waiting, width)
    if not complete and not trailers and data and len(data[-1][1]) < width:
        place, row = data[-1]
        raise ExportRefused(
            f"{name} ends inside {unit} {place}, which has {len(row)} of {width} columns. The export is not complete: "
            "export it again, or delete that row."
        )
    for place, row in data:
        _add(builder, place, row, width)
    table = builder.finish()
    if repeated:
        all_notes.append(f"The header stands {repeated + 1} times; it was read once.")
    written = [] if start == 0 or head[start - 1][1] is not header else header
    table.form.has_titles, table.form.names_as_written = start > 1, columns == written
    if trailers:
        table.form.trailer = next(str(cell).strip() for cell in trailers[0][1] if not is_empty(cell))
        all_notes.append(
            f"{'Rows' if len(trailers) > 1 else 'A row'} below the data: {_described(trailers)}."
        )
        table.stated = [
            StatedTotal(p, tuple((row + [None] * width)[:width]))
            for p, row in trailers
            if _states_number(row)
        ]
    table.notes = all_notes
    return table


def _add(builder: Builder, place: int, row: list[Any], width: int) -> None:
    if len(row) > width:
        raise ExportRefused(
            f"{builder.table.name}, {builder.table.unit} {place} has {len(row)} values, and the header {width} columns. "
            "A value with the separator in it needs quotes: correct that row, or export the file again."
        )
    builder.add(place, row + [None] * (width - len(row)))


def _header(head: list[tuple[int, list[Any]]], notes: list[str]) -> tuple[list[Any], int]:
    """Return the names of the columns, and the position of the first row of data."""
    widths = Counter(filled(row) for _, row in head)
    usual = max((w for w, n in widths.items() if n >= max(2, len(head) // 4)), default=max(widths))
    for position, (place, row) in enumerate(head):
        if filled(row) < max(1, usual - usual // 3):
            continue
        if any(_is_data(cell) for cell in row):
            width = max(len(row) for _, row in head)
            notes.append(
                f"There is no header; the columns are numbered from left to right, and data begins at {place}."
            )
            return [f"column {n}" for n in range(1, width + 1)], position
        if position:
            notes.append(f"The {'row' if position == 1 else f'{position} rows'} above the header: left out.")
        return row, position + 1
    return head[0][1], 1


def _is_data(cell: Any) -> bool:
    """Report whether a cell is a value and no name of a column: a number or a date."""
    if is_empty(cell):
        return False
    if not isinstance(cell, str):
        return True
    return _NUMBERS.read(cell) is not None or _DATES.read(cell) is not None


def _without_trailers(
    rows: list[tuple[int, list[Any]]], width: int
) -> tuple[list[tuple[int, list[Any]]], list[tuple[int, list[Any]]]]:
    """Separate rows of data from the totals and remarks below them."""
    end = len(rows)
    while end and _is_trailer(rows[end - 1][1], width):
        end -= 1
    return rows[:end], rows[end:]


def _is_trailer(row: Sequence[Any], width: int) -> bool:
    first = next(cell for cell in row if not is_empty(cell))
    says_so = isinstance(first, str) and _TOTAL.fullmatch(first.strip()) is not None
    return says_so and (width == 1 or filled(row) < width)


def _states_number(row: Sequence[Any]) -> bool:
    return any(not is_empty(cell) and _is_data(cell) for cell in row)


def _described(rows: Sequence[tuple[int, Sequence[Any]]]) -> str:
    texts = (" ".join(str(cell).strip() for cell in row if not is_empty(cell)) for _, row in rows[:3])
    return "; ".join(texts) + ("; ..." if len(rows) > 3 else "")


def flattened(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested object by dotted names; a list is its text."""
    for key, part in value.items():
        if isinstance(part, dict) and part:
            yield from flattened(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(part) if isinstance(part, list | dict) else part
