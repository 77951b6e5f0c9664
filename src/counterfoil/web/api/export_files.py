"""Exports as responses: rows go out or to disk page by page, and the statement follows the last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import msgspec
from litestar.response import Stream

from counterfoil.sheets.cells import BYTE_ORDER_MARK, Cell, csv_lines, csv_statement
from counterfoil.sheets.workbook import MAX_SHEET_ROWS, TableSheets, new_workbook
from counterfoil.web.api.export_tables import Rows, TableRow
from counterfoil.web.api.statements import major
from counterfoil.web.http.problems import Problem

CHUNK_BYTES = 64 * 1024
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV_TYPE = "text/csv; charset=utf-8; header=present"


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A list that is written to a file."""

    name: str
    """Name of the list in its address."""
    title: str
    columns: tuple[str, ...]
    money: str
    """Column that the totals sum; empty for a list without money."""
    query: Mapping[str, str]
    """Filters by name."""
    as_of: datetime
    release: str
    author: str


class Sums:
    """Number of rows, and their money by currency, as they pass."""

    def __init__(self) -> None:
        self.rows = 0
        self.minor: dict[str, int] = {}

    def add(self, rows: Sequence[TableRow]) -> None:
        self.rows += len(rows)
        for row in rows:
            for money in row.money:
                self.minor[money.currency] = self.minor.get(money.currency, 0) + money.minor


def query_text(query: Mapping[str, str]) -> str:
    """Return filters in words."""
    return "; ".join(f"{name.replace('_', ' ')}: {text}" for name, text in query.items()) or "all rows"


def statement_lines(export: Export, sums: Sums) -> list[tuple[str, Cell]]:
    """Return the labels of a statement with their values."""
    lines: list[tuple[str, Cell]] = [
        ("Statement", export.title),
        ("Query", query_text(export.query)),
        ("As of (UTC)", export.as_of),
        ("Release", export.release),
        ("Rows", sums.rows),
    ]
    lines += [
        (f"Total of {export.money}, {currency}", major(minor, currency))
        for currency, minor in sorted(sums.minor.items())
    ]
    return [*lines, ("Author", export.author)]


async def csv_response(export: Export, rows: Rows) -> Stream:
    """Return a CSV file. What cannot be read fails here, before the response begins."""
    first = await anext(rows)
    return Stream(_csv(export, first, rows), media_type=CSV_TYPE, headers=_headers(export, "csv"))


async def _csv(export: Export, first: list[TableRow], rows: Rows) -> AsyncIterator[str]:
    sums = Sums()
    sums.add(first)
    yield BYTE_ORDER_MARK + csv_lines([export.columns, *(row.cells for row in first)])
    async for page in rows:
        sums.add(page)
        yield csv_lines(row.cells for row in page)
    yield csv_statement(statement_lines(export, sums), len(export.columns))


async def xlsx_response(export: Export, rows: Rows) -> Stream:
    """Return an XLSX file. Raises Problem 422 if a sheet has no room for the rows."""
    sums = Sums()
    with (
        ExitStack() as stack,
        TemporaryDirectory(prefix="counterfoil-export-") as folder,
        new_workbook(file := stack.enter_context(TemporaryFile()), export.title, Path(folder)) as book,
    ):
        sheets = TableSheets(book, export.title, export.columns)
        async for page in rows:
            sums.add(page)
            if sums.rows > MAX_SHEET_ROWS:
                raise Problem(
                    422, f"A sheet has room for {MAX_SHEET_ROWS:,} rows. Narrow the filter, or export CSV."
                )
            sheets.write(row.cells for row in page)
        sheets.finish(statement_lines(export, sums))
        await asyncio.to_thread(book.close)
        stack.pop_all()  # the file has no name, and ends with the response
    file.seek(0)
    return Stream(_chunks(file), media_type=XLSX_TYPE, headers=_headers(export, "xlsx"))


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _headers(export: Export, ending: str) -> dict[str, Any]:
    name = f"counterfoil-{export.name}-{export.as_of:%Y%m%dT%H%M%SZ}.{ending}"
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
