"""Queries of databases as exports: `sqlite:books.db: select ...` and `postgresql://host/books: select ...`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

from counterfoil.reconcile.exports.files import read_file
from counterfoil.reconcile.exports.table import (
    ExportRefused,
    ExportTable,
    NewBuilder,
    TableBuilder,
    joined,
    unique_names,
)

_QUERY = re.compile(
    r"(?P<base>sqlite:[^\n]+?|postgres(?:ql)?://\S+?):\s+"
    r"(?P<sql>(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:select|with|table|values)\b.*)",
    re.I | re.S,
)


def read_export(text: str) -> ExportTable:
    """Return the table of a query, of a file, or of several files with the same columns. Raises ExportRefused."""
    tables = read_exports(text)
    return joined(joined_name(tables), tables)


def joined_name(tables: Sequence[ExportTable]) -> str:
    return tables[0].name if len(tables) == 1 else f"{tables[0].name} and {len(tables) - 1} more"


def read_exports(text: str, builder_of: NewBuilder = TableBuilder) -> list[ExportTable]:
    """Return the table of a query or of a file, or the tables of several files.

    Several files are separated by commas or named by a pattern such as `may-*.csv`. Raises ExportRefused for an export
    that cannot be read.
    """
    match = _QUERY.fullmatch(text.strip())
    if match is None:
        if text.lower().startswith(("sqlite:", "postgresql://", "postgres://")):
            raise ExportRefused(
                "A query is written as `sqlite:books.db: select ...` or `postgresql://host/books: select ...`."
            )
        return [read_file(file, builder_of) for file in _files(text)]
    base, sql = match["base"], match["sql"]
    if base.lower().startswith("sqlite:"):
        return [_sqlite(base.partition(":")[2].removeprefix("//"), sql, builder_of)]
    return [asyncio.run(_postgres(base, sql, builder_of))]


def _files(text: str) -> list[str]:
    """Return the files that a text names. A name that exists is a file, whatever is in it."""
    if Path(text).exists():
        return [text]
    files: list[str] = []
    for part in text.split(",") if "," in text else [text]:
        name = part.strip()
        matches = (
            sorted(glob(name)) if any(mark in name for mark in "*?[") and not Path(name).exists() else [name]
        )
        if not matches:
            raise ExportRefused(f"No file fits {name}.")
        files += matches
    return files


def _sqlite(path: str, sql: str, builder_of: NewBuilder) -> ExportTable:
    import apsw

    if not Path(path).is_file():
        raise ExportRefused(f"{path} is no file.")
    try:
        database = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            cursor = database.execute(sql)
            notes: list[str] = []
            names = unique_names((column[0] for column in cursor.get_description()), notes)
            builder = builder_of(Path(path).name, names, "row")
            for place, row in enumerate(cursor, 1):
                builder.add(place, row)
        finally:
            database.close()
    except apsw.ExecutionCompleteError:
        raise ExportRefused(f"The query of {path} has no rows.") from None
    except apsw.Error as error:
        raise ExportRefused(f"The query of {path} failed: {error}.") from None
    table = builder.finish()
    table.notes = notes
    return table


async def _postgres(address: str, sql: str, builder_of: NewBuilder) -> ExportTable:
    import asyncpg

    name = address.rpartition("/")[2].partition("?")[0] or "postgresql"
    try:
        connection: Any = await asyncpg.connect(address)
    except (OSError, asyncpg.PostgresError, ValueError) as error:
        raise ExportRefused(f"{name} cannot be reached: {error}.") from None
    try:
        async with connection.transaction(readonly=True):
            statement = await connection.prepare(sql)
            notes: list[str] = []
            names = unique_names((a.name for a in statement.get_attributes()), notes)
            builder = builder_of(name, names, "row")
            place = 0
            async for record in statement.cursor(prefetch=5_000):
                place += 1
                builder.add(place, tuple(record))
    except asyncpg.PostgresError as error:
        raise ExportRefused(f"The query of {name} failed: {error}.") from None
    finally:
        await connection.close()
    table = builder.finish()
    table.notes = notes
    return table
