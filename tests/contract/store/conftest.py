"""Fixtures of the stores under one contract: `store` is each of them in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from counterfoil.store.memory import MemoryStore
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests import postgres as real_postgres
from tests.contract.store import samples as s

_DATABASES: dict[int, str] = {}
"""The database with the schema in it, by the port of its server; tests of one process share it in turn."""
_EMPTY = """
do $$ declare name text; begin
  for name in select tablename from pg_tables where schemaname = 'public' and tablename <> 'migration' loop
    execute format('delete from %I', name);
  end loop;
  insert into tree_edge values (1, 0, '[]');
  alter sequence receipt_no_seq restart;
  alter sequence run_arrival_seq restart;
end $$
"""


async def empty_database(cluster: real_postgres.Cluster) -> str:
    """The address of a database that has the schema and nothing else: emptied, which is faster than made."""
    if cluster.port not in _DATABASES:
        name = await cluster.create()
        store = await PostgresStore.open(cluster.dsn(name))
        await store.close()
        _DATABASES[cluster.port] = name
    dsn = cluster.dsn(_DATABASES[cluster.port])
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set session_replication_role = replica")
        await connection.execute(_EMPTY)
    finally:
        await connection.close()
    return dsn


@pytest.fixture
async def places(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[s.Places]:
    """Opens stores by kind; all on one file or database each, closed after the test."""
    stack = AsyncExitStack()
    dsn: list[str] = []

    async def open_(kind: str) -> Any:
        if kind == "memory":
            return MemoryStore()
        if kind == "sqlite":
            store: Any = await SqliteStore.open(tmp_path / "store.db")
        else:
            if not dsn:
                dsn.append(await empty_database(request.getfixturevalue("postgres")))
            store = await PostgresStore.open(dsn[0])
        stack.push_async_callback(store.close)
        return store

    async with stack:
        yield open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: s.Places) -> Any:
    return await places(request.param)


@pytest.fixture
async def two(places: s.Places) -> tuple[Any, Any]:
    """Two processes' worth of connections to one PostgreSQL."""
    return await places("postgres"), await places("postgres")


@pytest.fixture
async def dsn(postgres: real_postgres.Cluster) -> str:
    return await empty_database(postgres)
