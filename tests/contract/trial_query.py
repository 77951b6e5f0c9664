"""Samples of the conformance suite for the query connector, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import asyncpg

from counterfoil.connectors import query
from counterfoil.connectors.conformance import Samples
from counterfoil.connectors.sdk import Connector, SystemConfig

TABLE = "create table invoice (id integer primary key, company text, total numeric(12, 2), day date)"
ROW = "insert into invoice values ({n}, 'c{company}', {n}.50, '2026-03-0{day}')"
BOOKS: dict[str, Any] = {
    "invoices": {"query": "select * from invoice", "key": "id"},
    "by_company": {
        "query": "with i as (select company, id as no, total from invoice) select * from i -- all of them",
        "key": ["company", "no"],
        "type": "invoice",
    },
}


def row(n: int) -> str:
    return ROW.format(n=n, company=n % 2, day=1 + n % 9)


@asynccontextmanager
async def query_on_sqlite(folder: Path) -> AsyncIterator[tuple[Connector, Samples]]:
    path = folder / "ledger.db"
    database = apsw.Connection(str(path))
    database.execute(TABLE)
    config = SystemConfig("ledger", "", settings={"file": str(path), "books": BOOKS})
    numbers = iter(range(1, 1000))

    async def touch() -> None:
        database.execute(row(next(numbers)))

    def moved(config: SystemConfig, url: str) -> SystemConfig:
        return replace(config, settings={**config.settings, "file": f"{path}.away"})

    samples = Samples(query.connect, config, {}, touch=touch, moved=moved)
    yield query.connect(config), samples
    database.close()


@asynccontextmanager
async def query_on_postgres(dsn: str) -> AsyncIterator[tuple[Connector, Samples]]:
    database = await asyncpg.connect(dsn)
    await database.execute(TABLE)
    config = SystemConfig("ledger", dsn, settings={"books": BOOKS})
    numbers = iter(range(1, 1000))

    async def touch() -> None:
        await database.execute(row(next(numbers)))

    def moved(config: SystemConfig, url: str) -> SystemConfig:
        host = url.partition("://")[2].strip("/")
        return replace(config, url=f"postgresql://postgres@{host}/ledger")

    samples = Samples(query.connect, config, {}, touch=touch, moved=moved)
    yield query.connect(config), samples
    await database.close()
