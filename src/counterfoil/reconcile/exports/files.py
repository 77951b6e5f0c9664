"""Exports by their format: delimited text, JSON, JSON lines, Parquet and XLSX."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from counterfoil.reconcile.exports.delimited import read_delimited
from counterfoil.reconcile.exports.layout import build, flattened
from counterfoil.reconcile.exports.table import (
    ExportRefused,
    ExportTable,
    NewBuilder,
    TableBuilder,
    unique_names,
)

_JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
_XLSX_SUFFIXES = frozenset({".xlsx", ".xlsm"})
FETCHED_ROWS = 10_000


def read_file(text: str, builder_of: NewBuilder = TableBuilder) -> ExportTable:
    """Return the table of a file. Raises ExportRefused for one that cannot be read.

    The suffix names the format; every other suffix is delimited text. `book.xlsx#Sheet` names a sheet.
    """
    name, mark, sheet = text.partition("#")
    path = Path(name if mark and Path(name).suffix.lower() in _XLSX_SUFFIXES else text)
    sheet = sheet if str(path) == name else ""
    try:
        if path.is_dir():
            raise ExportRefused(f"{path} is a folder; name one file of it.")
        if path.stat().st_size == 0:
            raise ExportRefused(f"{path.name} is empty.")
        suffix = path.suffix.lower()
        if suffix in _JSON_SUFFIXES:
            return _read_json(path, builder_of)
        if suffix == ".parquet":
            return _read_parquet(path, builder_of)
        if suffix in _XLSX_SUFFIXES:
            return _read_xlsx(path, sheet, builder_of)
        if suffix == ".xls":
            raise ExportRefused(f"{path.name} has the format before Excel 2007; save it as .xlsx or .csv.")
        return read_delimited(path, builder_of)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ExportRefused(f"{path} cannot be read: {why}.") from error


# ------------------------------------------------------------------ JSON


def _read_json(path: Path, builder_of: NewBuilder) -> ExportTable:
    """Return the table of a list of objects, of one object for each line, or of a list inside an object."""
    notes: list[str] = []
    try:
        if path.suffix.lower() != ".json":
            return _of_objects(path.name, partial(_lines, path), "line", notes, builder_of)
        text = path.read_text("utf-8-sig")
        if not text.strip():
            raise ExportRefused(f"{path.name} is empty.")
        try:
            value = json.loads(text, parse_float=Decimal)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                complete = " The export is not complete: export it again." if _is_cut(text, error) else ""
                raise ExportRefused(f"{path.name}, line {error.lineno}: {error.msg}.{complete}") from None
            return _of_objects(path.name, partial(_lines, path), "line", notes, builder_of)
        records = _records(path.name, value, notes)
        return _of_objects(path.name, lambda: enumerate(records, 1), "row", notes, builder_of)
    except UnicodeDecodeError as error:
        raise ExportRefused(f"{path.name} is no UTF-8 text: {error.reason} at byte {error.start}.") from None


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the records of a file with one on each line. Only a line is in memory."""
    number, empty = 0, True
    with path.open(encoding="utf-8-sig") as file:
        for part in file:
            for line in part.splitlines():
                number += 1
                if not line.strip():
                    continue
                empty = False
                try:
                    yield number, json.loads(line, parse_float=Decimal)
                except json.JSONDecodeError as error:
                    cut = (
                        ""
                        if any(rest.strip() for rest in file)
                        else " The export is not complete: export it again."
                    )
                    raise ExportRefused(f"{path.name}, line {number}: {error.msg}.{cut}") from None
    if empty:
        raise ExportRefused(f"{path.name} is empty.")


def _is_cut(text: str, error: json.JSONDecodeError) -> bool:
    return error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated")


def _records(name: str, value: Any, notes: list[str]) -> list[Any]:
    """Return the list of records: the value itself, or the longest list in it."""
    if isinstance(value, list):
        return value
    lists = (
        {key: part for key, part in value.items() if isinstance(part, list)}
        if isinstance(value, dict)
        else {}
    )
    if not lists:
        raise ExportRefused(f"{name} has no list of records.")
    key = max(lists, key=lambda k: len(lists[k]))
    notes.append(f"The records are those of {key!r}.")
    return list(lists[key])


def _of_objects(
    name: str,
    records: Callable[[], Iterable[tuple[int, Any]]],
    unit: str,
    notes: list[str],
    builder_of: NewBuilder,
) -> ExportTable:
    """Return the table of objects. They are read twice: only all of them say which columns there are."""
    columns: dict[str, None] = {}
    for place, record in records():
        if not isinstance(record, dict):
            raise ExportRefused(
                f"{name}, {unit} {place}: a record is an object, and this is {str(record)[:40]!r}."
            )
        columns |= dict.fromkeys(column for column, _ in flattened(record))
    if not columns:
        raise ExportRefused(f"{name} has no records.")
    builder = builder_of(name, list(columns), unit)
    for place, record in records():
        row = dict(flattened(record))
        builder.add(place, [row.get(column) for column in columns])
    table = builder.finish()
    table.notes = notes
    return table


# ------------------------------------------------------------------ Parquet


def _read_parquet(path: Path, builder_of: NewBuilder) -> ExportTable:
    import duckdb

    try:
        with duckdb.connect() as database:
            result = database.execute("from read_parquet(?)", [str(path)])
            columns = [column[0] for column in result.description]
            return of_rows(path.name, columns, _fetched(result), builder_of)
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise ExportRefused(f"{path.name} is no complete Parquet file: {first}") from None


def _fetched(result: Any) -> Iterator[Sequence[Any]]:
    while rows := result.fetchmany(FETCHED_ROWS):
        yield from rows


def of_rows(
    name: str,
    columns: Iterable[str],
    rows: Iterable[Sequence[Any]],
    builder_of: NewBuilder = TableBuilder,
) -> ExportTable:
    """Return the table of rows with a value for each column."""
    notes: list[str] = []
    builder = builder_of(name, unique_names(columns, notes), "row")
    for place, row in enumerate(rows, 1):
        builder.add(place, row)
    table = builder.finish()
    table.notes = notes
    return table


# ------------------------------------------------------------------ XLSX


def _read_xlsx(path: Path, sheet: str, builder_of: NewBuilder) -> ExportTable:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, EOFError) as error:
        raise ExportRefused(f"{path.name} is no complete XLSX file: {error}.") from None
    try:
        names = book.sheetnames
        if sheet and sheet not in names:
            raise ExportRefused(f"{path.name} has no sheet {sheet!r}; it has: {', '.join(names)}.")
        chosen = [sheet] if sheet else [n for n in names if _has_rows(book[n])][:1]
        if not chosen:
            raise ExportRefused(f"{path.name} is empty.")
        notes = [f"Sheet {chosen[0]!r} of {len(names)} was read."] if len(names) > 1 else []
        rows = ((n, list(row)) for n, row in enumerate(book[chosen[0]].iter_rows(values_only=True), 1))
        return build(path.name, rows, "row", notes, builder_of=builder_of)
    finally:
        book.close()


def _has_rows(sheet: Any) -> bool:
    return any(any(cell is not None for cell in row) for row in sheet.iter_rows(values_only=True))
