"""Sessions of a PostgreSQL that may stop answering or move to another host.

An address may name several hosts (`postgresql://a:5432,b:5432/db`). The host that accepts writes and has the newest
timeline is used: a former primary that returns is behind the host promoted in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from counterfoil.core.errors import Misconfigured

CONNECT_SECONDS = 5.0
"""Timeout for a session with one host. A silent host must not keep the process from trying the others."""
TRANSACTION_SECONDS = 10.0
"""Timeout of a transaction, whatever the state of its connection."""
_TIMELINE = "select ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint"
Connection = Any  # asyncpg's pool hands out proxies that its stubs type apart from connections


@asynccontextmanager
async def time_limit(connection: Connection, seconds: float | None = None) -> AsyncIterator[None]:
    """Close the session when the body takes longer than `seconds`, by default TRANSACTION_SECONDS.

    The session is cut instead of cancelled: a COMMIT that is cancelled while it waits for a replica has happened on
    the primary alone, and others would see it.
    """
    delay = TRANSACTION_SECONDS if seconds is None else seconds
    timer = asyncio.get_running_loop().call_later(delay, connection.terminate)
    try:
        yield
    finally:
        timer.cancel()


def hosts(dsn: str) -> list[str]:
    """Return the address once for each host that it names."""
    scheme, _, rest = dsn.partition("://")
    ends = [at for at in (rest.find("/"), rest.find("?")) if at >= 0]
    authority, more = (rest[: min(ends)], rest[min(ends) :]) if ends else (rest, "")
    user, at, names = authority.rpartition("@")
    return [f"{scheme}://{user}{at}{name}{more}" for name in names.split(",")]


@dataclass(frozen=True, slots=True)
class _Attempt:
    dsn: str
    connection: asyncpg.Connection[Any] | None = None
    timeline: int = 0
    why: str = ""


class PrimaryConnector:
    """Opens sessions on the primary, wherever it runs; remembers its host and the timeline of its history."""

    def __init__(self, dsn: str) -> None:
        self._hosts = hosts(dsn)
        self._timeline = -1
        self.published = 0
        """Size of the largest checkpoint that this process has stored."""

    async def connect(self, *_: object, **settings: Any) -> asyncpg.Connection[Any]:
        """Return a session on the host that accepts writes.

        Raises ConnectionError with the error of each host when none does. Raises Misconfigured when the promoted host
        lacks a checkpoint that this process has published.
        """
        last_host = self._hosts[:1] if self._timeline >= 0 and len(self._hosts) > 1 else []
        whys: list[str] = []
        for dsns in (last_host, self._hosts):
            attempts = await asyncio.gather(*(_try(dsn, settings) for dsn in dsns))
            best = max((t for t in attempts if t.connection), key=lambda t: t.timeline, default=None)
            for other in attempts:
                if other.connection is not None and other is not best:
                    other.connection.terminate()
            if best is None or best.connection is None:
                whys = [attempt.why for attempt in attempts]
            elif best.timeline < self._timeline:
                best.connection.terminate()
                whys = [f"it is behind the primary that was written to before: timeline {best.timeline}"]
            else:
                if best.timeline > self._timeline:
                    await self._check_moved(best.connection)
                self._timeline = best.timeline
                self._hosts.sort(key=lambda dsn: dsn != best.dsn)
                return best.connection
        raise ConnectionError("; ".join(whys))

    async def _check_moved(self, connection: asyncpg.Connection[Any]) -> None:
        """Raise Misconfigured when the new primary lacks a published checkpoint: its history is not usable."""
        if not self.published:
            return
        try:
            async with time_limit(connection):
                newest = await connection.fetchval("select coalesce(max(size), 0) from checkpoint")
        except BaseException:
            connection.terminate()
            raise
        if newest < self.published:
            connection.terminate()
            raise Misconfigured(
                f"the primary has moved to a server that is behind: a checkpoint over {self.published} leaves was "
                f"published, its newest is over {newest}. Stop; see docs/how-to/postgresql-in-production.md"
            )


async def _try(dsn: str, settings: dict[str, Any]) -> _Attempt:
    connection = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            writes = SessionAttribute.read_write
            connection = await asyncpg.connect(dsn, target_session_attrs=writes, **settings)
            return _Attempt(dsn, connection, await _timeline(connection))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if connection is not None:
            connection.terminate()
        return _Attempt(dsn, why=str(error) or f"no answer within {CONNECT_SECONDS:g} s")


async def _timeline(connection: asyncpg.Connection[Any]) -> int:
    """Return the number of promotions in this database's history; 0 where the server does not report it."""
    try:
        return int(await connection.fetchval(_TIMELINE))
    except asyncpg.PostgresError:
        return 0
