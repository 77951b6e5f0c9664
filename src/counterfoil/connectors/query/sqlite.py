"""Pages of a query on a SQLite file, which is opened to be read only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import apsw.ext

from counterfoil.connectors.query.paging import (
    KeyPlace,
    build_page,
    check_columns,
    null_statement,
    page_statement,
)
from counterfoil.connectors.query.settings import BookQuery
from counterfoil.connectors.sdk import Page
from counterfoil.core.errors import Misconfigured, TryAgain

STEPS = 10_000
"""Instructions of the database between two looks at the clock."""
BUSY_MS = 2_000
_EXACT = " collate binary"
"""Two keys that differ only by case are two keys, whatever the column says."""


class SqliteBooks:
    """Reads one file. Every call has a connection of its own, so none sees a lock of another."""

    def __init__(self, file: str) -> None:
        self._file = file

    def read(self, name: str, book: BookQuery, cursor: str | None, limit: int, timeout: float) -> Page:
        """Return a page. Raises TryAgain or Misconfigured."""
        place = KeyPlace.read(cursor, book)
        after = () if place is None else place.after
        with _Connection(self._file, timeout) as database:
            columns = database.columns(name, book)
            if place is None and database.rows(null_statement(book), ()):
                raise Misconfigured(f"the query of {name} has a row without a key: {', '.join(book.key)}")
            statement = page_statement(book, ["?"] * len(after), str(limit + 1), _EXACT)
            rows = database.rows(statement, after)
        if any(isinstance(row[columns.index(key)], float | bytes) for row in rows for key in book.key):
            raise Misconfigured(f"the key of {name} is no text and no whole number; cast it in the query")
        return build_page(book.form(name), columns, rows, limit, cursor or "")

    def check(self, name: str, book: BookQuery, timeout: float) -> None:
        """Check that a query can be read, without a row of it. Raises TryAgain or Misconfigured."""
        with _Connection(self._file, timeout) as database:
            database.columns(name, book)
            database.rows(page_statement(book, (), "0"), ())


class _Connection:
    def __init__(self, file: str, timeout: float) -> None:
        self._file, self._until = file, time.monotonic() + timeout

    def __enter__(self) -> _Connection:
        if not Path(self._file).is_file():
            raise TryAgain(f"there is no database {self._file}")
        try:
            self._database = apsw.Connection(self._file, flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.Error as error:
            raise TryAgain(f"the database {self._file} cannot be opened: {error}") from error
        self._database.set_busy_timeout(BUSY_MS)
        self._database.set_progress_handler(lambda: time.monotonic() > self._until, STEPS)
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def columns(self, name: str, book: BookQuery) -> list[str]:
        """Return the names of the columns. Raises Misconfigured if one that the settings name is missing."""
        with _errors():
            described = apsw.ext.query_info(self._database, book.query).description
        columns = [str(column[0]) for column in described]
        check_columns(name, book, columns)
        return columns

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[Sequence[Any]]:
        with _errors():
            return list(self._database.execute(statement, parameters))


@contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of the database into TryAgain or Misconfigured."""
    try:
        yield
    except apsw.InterruptError:
        raise TryAgain("the query took too long; the columns of its key need an index") from None
    except (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.CantOpenError) as error:
        raise TryAgain(f"the database cannot be read now: {error}") from error
    except apsw.Error as error:
        raise Misconfigured(f"the query failed: {error}") from error
