"""Empty stores for one use each, such as one test: they are removed at the end."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from counterfoil.core.errors import Misconfigured
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.store import SqlStore


@contextlib.asynccontextmanager
async def scratch_store(url: str) -> AsyncIterator[SqlStore]:
    """Open an empty store at `sqlite:PATH`, or in a schema of its own at `postgresql://...`.

    Raises Misconfigured if the file exists or the database cannot be reached.
    """
    if url.startswith(("postgresql://", "postgres://")):
        async with _in_schema(url) as in_schema:
            yield in_schema
        return
    path = Path(url.removeprefix("sqlite:"))
    if not url.startswith("sqlite:") and (":" in url or path.suffix not in (".db", ".sqlite")):
        raise Misconfigured(f"{url!r} names no store: use sqlite:PATH or postgresql://...")
    if path.exists():
        raise Misconfigured(f"{path} exists already; name a file that does not")
    store = await SqliteStore.open(path)
    try:
        yield store
    finally:
        await store.close()
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()


@contextlib.asynccontextmanager
async def _in_schema(dsn: str) -> AsyncIterator[PostgresStore]:
    schema = f"scratch_{secrets.token_hex(8)}"
    await _execute(dsn, f"create schema {schema}")
    try:
        store = await PostgresStore.open(f"{dsn}{'&' if '?' in dsn else '?'}search_path={schema}")
        try:
            yield store
        finally:
            await store.close()
    finally:
        await _execute(dsn, f"drop schema {schema} cascade")


async def _execute(dsn: str, command: str) -> None:
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError) as error:
        raise Misconfigured(f"PostgreSQL cannot be reached: {error}. Check its address.") from error
    try:
        await connection.execute(command)
    finally:
        await connection.close()
