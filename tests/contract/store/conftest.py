"""The stores under one contract: `store` is each of them in turn, `kept` those that outlive their process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from counterfoil.store.memory import MemoryStore
from counterfoil.store.postgres import PostgresStore
from counterfoil.store.sqlite import SqliteStore
from tests import postgres as real_postgres

_TEMPLATES: dict[int, str] = {}
"""A migrated database to copy from, by the port of its server."""


@asynccontextmanager
async def database(cluster: real_postgres.Cluster) -> AsyncIterator[str]:
    """The address of a database of one test's own with the schema in it."""
    if cluster.port not in _TEMPLATES:
        template = await cluster.create()
        store = await PostgresStore.open(cluster.dsn(template))
        await store.close()
        _TEMPLATES[cluster.port] = template
    name = await cluster.create(_TEMPLATES[cluster.port])
    try:
        yield cluster.dsn(name)
    finally:
        await cluster.drop(name)


@pytest.fixture
async def places(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
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
                dsn.append(await stack.enter_async_context(database(request.getfixturevalue("postgres"))))
            store = await PostgresStore.open(dsn[0])
        stack.push_async_callback(store.close)
        return store

    async with stack:
        yield open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: Callable[[str], Awaitable[Any]]) -> Any:
    return await places(request.param)


@pytest.fixture
async def two(places: Callable[[str], Awaitable[Any]]) -> tuple[Any, Any]:
    """Two processes' worth of connections to one PostgreSQL."""
    return await places("postgres"), await places("postgres")


@pytest.fixture
async def dsn(postgres: real_postgres.Cluster) -> AsyncIterator[str]:
    async with database(postgres) as address:
        yield address
