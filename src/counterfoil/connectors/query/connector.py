"""The `query` connector: a system whose books are queries on the company's own database. It only reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from counterfoil.connectors.query.postgres import PostgresBooks
from counterfoil.connectors.query.settings import BookQuery, QuerySettings, read
from counterfoil.connectors.query.sqlite import SqliteBooks
from counterfoil.connectors.read_only import ReadOnlySystem
from counterfoil.connectors.sdk import Page, SystemConfig, WrongConfiguration
from counterfoil.core.errors import Misconfigured


def connect(config: SystemConfig) -> QuerySystem:
    """Build the connector that `config.settings` describe; see `QuerySettings`. Raises one WrongConfiguration."""
    settings, problems = read(config)
    if problems or settings is None:
        raise WrongConfiguration(problems)
    return QuerySystem(config, settings)


class QuerySystem(ReadOnlySystem):
    """Connector of one database, on SQLite or PostgreSQL."""

    def __init__(self, config: SystemConfig, settings: QuerySettings) -> None:
        super().__init__(config.name)
        self._books = settings.books
        self.listings: Mapping[str, Sequence[str]] = {
            name: (book.form(name).type,) for name, book in self._books.items()
        }
        self._file = None if settings.file is None else SqliteBooks(settings.file)
        self._server = PostgresBooks(config.url, config.secrets.get("password"))

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        book = self._books.get(listing)
        if book is None:
            raise Misconfigured(f"{self._name} has no book {listing}")
        if self._file is not None:
            return await asyncio.to_thread(self._file.read, listing, book, cursor, limit, timeout)
        return await self._server.read(listing, book, cursor, limit, timeout)

    async def check(self, timeout: float) -> None:
        for name, book in self._books.items():
            await self._check(name, book, timeout)

    async def _check(self, name: str, book: BookQuery, timeout: float) -> None:
        if self._file is not None:
            await asyncio.to_thread(self._file.check, name, book, timeout)
        else:
            await self._server.check(name, book, timeout)

    async def close(self) -> None:
        await self._server.close()
