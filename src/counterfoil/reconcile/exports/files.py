"""Exports by their format: delimited text, JSON, JSON lines, Parquet and XLSX."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.reconcile.exports.delimited import read_delimited
from counterfoil.reconcile.exports.layout import build, flattened
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable, TableBuilder, unique_names

_JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
_XLSX_SUFFIXES = frozenset({".xlsx", ".xlsm"})


def read_file(text: str) -> ExportTable:
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
            return _read_json(path)
        if suffix == ".parquet":
            return _read_parquet(path)
        if suffix in _XLSX_SUFFIXES:
            return _read_xlsx(path, sheet)
        if suffix == ".xls":
            raise ExportRefused(f"{path.name} has the format before Excel 2007; save it as .xlsx or .csv.")
        return read_delimited(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ExportRefused(f"{path} cannot be read: {why}.") from error


# ------------------------------------------------------------------ JSON


def _read_json(path: Path) -> ExportTable:
    """Return the table of a list of objects, of one object for each line, or of a list inside an object."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportRefused(f"{path.name} is no UTF-8 text: {error.reason} at byte {error.start}.") from None
    if not text.strip():
        raise ExportRefused(f"{path.name} is empty.")
    notes: list[str] = []
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(text, parse_float=Decimal)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                complete = " The export is not complete: export it again." if _is_cut(text, error) else ""
                raise ExportRefused(f"{path.name}, line {error.lineno}: {error.msg}.{complete}") from None
        else:
            return _of_objects(path.name, enumerate(_records(path.name, value, notes), 1), "row", notes)
    return _of_objects(path.name, _lines(path.name, text), "line", notes)


def _lines(name: str, text: str) -> Iterator[tuple[int, Any]]:
    last = text.rstrip().count("\n") + 1
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, parse_float=Decimal)
        except json.JSONDecodeError as error:
            cut = " The export is not complete: export it again." if number >= last else ""
            raise ExportRefused(f"{name}, line {number}: {error.msg}.{cut}") from None


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


def _of_objects(name: str, records: Iterable[tuple[int, Any]], unit: str, notes: list[str]) -> ExportTable:
    rows: list[tuple[int, dict[str, Any]]] = []
    columns: dict[str, None] = {}
    for place, record in records:
        if not isinstance(record, dict):
            raise ExportRefused(
                f"{name}, {unit} {place}: a record is an object, and this is {str(record)[:40]!r}."
            )
        row = dict(flattened(record))
        columns |= dict.fromkeys(row)
        rows.append((place, row))
    if not rows:
        raise ExportRefused(f"{name} has no records.")
    builder = TableBuilder(name, list(columns), unit)
    for place, row in rows:
        builder.add(place, [row.get(column) for column in columns])
    table = builder.finish()
    table.notes = notes
    return table


# ------------------------------------------------------------------ Parquet


def _read_parquet(path: Path) -> ExportTable:
    import duckdb

    try:
        with duckdb.connect() as database:
            relation = database.read_parquet(str(path))
            return of_rows(path.name, relation.columns, relation.fetchall())
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise ExportRefused(f"{path.name} is no complete Parquet file: {first}") from None


def of_rows(name: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> ExportTable:
    """Return the table of rows with a value for each column."""
    notes: list[str] = []
    builder = TableBuilder(name, unique_names(columns, notes))
    for place, row in enumerate(rows, 1):
        builder.add(place, row)
    table = builder.finish()
    table.notes = notes
    return table


# ------------------------------------------------------------------ XLSX


def _read_xlsx(path: Path, sheet: str) -> ExportTable:
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
        return build(path.name, rows, "row", notes)
    finally:
        book.close()


def _has_rows(sheet: Any) -> bool:
    return any(any(cell is not None for cell in row) for row in sheet.iter_rows(values_only=True))
