"""Statements as values, yielded by coroutines and answered by a database.

Verbs are written once, as coroutines that await these requests and nothing else. SQLite's writer thread answers them
at once; PostgreSQL's committer answers them over the network. Statements use `$1..$n`, `= any($n::t[])` for lists and
`for update`. `to_sqlite` translates them for SQLite, where one writer makes row locks needless.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from counterfoil.store.sql.columns import SqlTable

Dialect = Literal["sqlite", "postgres"]
Row: TypeAlias = Sequence[Any]
R = TypeVar("R")
T = TypeVar("T")


class Statement:
    """One statement, answered by its rows."""

    __slots__ = ("args", "sql")

    def __init__(self, sql: str, args: tuple[Any, ...]) -> None:
        self.sql = sql
        self.args = args

    def __await__(self) -> Generator[Request, list[Row], list[Row]]:
        return (yield self)


class Insert:
    """Rows for one table, in the order of its columns.

    `ignore` leaves out rows whose key exists. `returning` names columns of the inserted rows.
    """

    __slots__ = ("ignore", "returning", "rows", "table")

    def __init__(self, table: SqlTable[Any], rows: Sequence[Row], ignore: bool, returning: str) -> None:
        self.table = table
        self.rows = rows
        self.ignore = ignore
        self.returning = returning

    def __await__(self) -> Generator[Request, list[Row], list[Row]]:
        return (yield self)


Request: TypeAlias = Statement | Insert
Work: TypeAlias = Coroutine[Request, list[Row], T]


async def one(sql: str, *args: Any) -> Row | None:
    rows = await Statement(sql, args)
    return rows[0] if rows else None


async def records(table: SqlTable[R], rest: str, *args: Any) -> list[R]:
    """Return the records of a table; `rest` follows its name in the statement."""
    return [table.read(row) for row in await Statement(f"{table.select} {rest}", args)]


async def record(table: SqlTable[R], rest: str, *args: Any) -> R | None:
    row = await one(f"{table.select} {rest}", *args)
    return None if row is None else table.read(row)


class Rollback(Exception):
    """Raised to answer `answer` and undo everything that the transition has written."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


def run_sync(work: Coroutine[Any, Any, T], answer: Callable[[Request], list[Row]]) -> T:
    """Run a coroutine to its end, answering its requests at once; database errors are raised inside it."""
    try:
        request = work.send(None)
        while True:
            try:
                rows = answer(request)
            except Exception as error:
                request = work.throw(error)
            else:
                request = work.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        work.close()


_LITE = (
    (re.compile(r"\$(\d+)"), r"?\1"),
    (re.compile(r"= any\((\?\d+)::\w+\[\]\)"), r"in (select value from json_each(\1))"),
    (re.compile(r"<> all\((\?\d+)::\w+\[\]\)"), r"not in (select value from json_each(\1))"),
    (re.compile(r"::\w+"), ""),
    (re.compile(r"\s+for (?:no key update|update|share)(?: of \w+)?(?: skip locked)?"), ""),
)


@cache
def to_sqlite(sql: str) -> str:
    for pattern, replacement in _LITE:
        sql = pattern.sub(replacement, sql)
    return sql


def lite_args(args: Sequence[Any]) -> tuple[Any, ...]:
    """Return arguments for SQLite: a list becomes JSON text."""
    return tuple(msgspec.json.encode(arg).decode() if type(arg) is list else arg for arg in args)


@cache
def lite_insert(table: SqlTable[Any], ignore: bool, returning: str) -> str:
    marks = ", ".join("?" for _ in table.columns)
    return f"insert into {table.name} ({table.names}) values ({marks}){_tail(ignore, returning)}"  # noqa: S608


@cache
def array_insert(table: SqlTable[Any], ignore: bool, returning: str) -> str:
    """Return an insert for PostgreSQL: one array per column, any number of rows."""
    arrays = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(table.types, 1))
    return (
        f"insert into {table.name} ({table.names}) select * from unnest({arrays})"  # noqa: S608
        f"{_tail(ignore, returning)}"
    )


def _tail(ignore: bool, returning: str) -> str:
    return (" on conflict do nothing" if ignore else "") + (f" returning {returning}" if returning else "")
