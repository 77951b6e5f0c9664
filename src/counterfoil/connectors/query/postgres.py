"""Pages of a query on a PostgreSQL database, each in a transaction that reads only and ends in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from counterfoil.connectors.query.paging import (
    KeyPlace,
    build_page,
    check_columns,
    null_statement,
    page_statement,
    quoted,
)
from counterfoil.connectors.query.settings import BookQuery
from counterfoil.connectors.sdk import Page
from counterfoil.core.errors import Misconfigured, TryAgain

MAX_CONNECTIONS = 4
IDLE_SECONDS = 60.0
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ObjectInUseError,
)
"""Errors after which the same statement may succeed."""
_NO_KEYS = frozenset({"bytea", "json", "jsonb", "xml"})


class PostgresBooks:
    """Reads one database."""

    def __init__(self, url: str, password: str | None) -> None:
        self._url, self._password = url, password
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def read(self, name: str, book: BookQuery, cursor: str | None, limit: int, timeout: float) -> Page:
        """Return a page. Raises TryAgain or Misconfigured."""
        place = KeyPlace.read(cursor, book)
        async with self._call(timeout) as connection:
            head = await connection.prepare(book.query)
            columns = [attribute.name for attribute in head.get_attributes()]
            check_columns(name, book, columns)
            types = {a.name: _type(name, a.name, a.type) for a in head.get_attributes() if a.name in book.key}
            if place is None and await connection.fetchrow(null_statement(book)) is not None:
                raise Misconfigured(f"the query of {name} has a row without a key: {', '.join(book.key)}")
            after = () if place is None else tuple(str(value) for value in place.after)
            marks = [f"${n}::text::{types[key]}" for n, key in enumerate(book.key, 1)] if after else []
            rows = await connection.fetch(page_statement(book, marks, str(limit + 1)), *after)
        return build_page(book.form(name), columns, [tuple(row) for row in rows], limit, cursor or "")

    async def check(self, name: str, book: BookQuery, timeout: float) -> None:
        """Check that a query can be read, without a row of it. Raises TryAgain or Misconfigured."""
        async with self._call(timeout) as connection:
            head = await connection.prepare(book.query)
            check_columns(name, book, [attribute.name for attribute in head.get_attributes()])
            await connection.fetch(page_statement(book, (), "0"))

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _open_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    password=self._password,
                    min_size=0,
                    max_size=MAX_CONNECTIONS,
                    max_inactive_connection_lifetime=IDLE_SECONDS,
                    server_settings={"application_name": "counterfoil"},
                )
            return self._pool

    @asynccontextmanager
    async def _call(self, timeout: float) -> AsyncIterator[Any]:
        """Yield a connection in a transaction of its own. Errors of the database become TryAgain or Misconfigured."""
        try:
            async with asyncio.timeout(timeout):
                pool = await self._open_pool()
                async with pool.acquire() as connection, connection.transaction(readonly=True):
                    await connection.execute(f"set local statement_timeout = {max(1, int(timeout * 1000))}")
                    yield connection
        except asyncpg.exceptions.ClientConfigurationError as error:
            raise Misconfigured(f"the address of the database is wrong: {error}") from error
        except (TimeoutError, asyncpg.QueryCanceledError) as error:
            raise TryAgain(
                "the database did not answer in time; the columns of a key need an index"
            ) from error
        except _AWAY as error:
            raise TryAgain(f"the database cannot be read now: {error}") from error
        except asyncpg.PostgresError as error:
            raise Misconfigured(f"the database refused the query: {error}") from error


def _type(name: str, column: str, type_: asyncpg.Type) -> str:
    """Return the name of the type of a key, to which the text of a cursor is cast. Raises Misconfigured without one."""
    if type_.kind != "scalar" or type_.name in _NO_KEYS:
        raise Misconfigured(
            f"the key `{column}` of {name} has the type {type_.name}; cast it to text in the query"
        )
    return type_.name if type_.schema == "pg_catalog" else f"{quoted(type_.schema)}.{quoted(type_.name)}"
