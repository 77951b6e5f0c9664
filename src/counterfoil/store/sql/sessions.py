"""Sessions of a PostgreSQL that may fall silent, or move to another host.

An address may name several hosts (`postgresql://a:5432,b:5432/db`). The one is taken that can be written to and whose
timeline is the newest: a former primary that comes back is behind the one promoted in its place.
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

CONNECT = 5.0
"""Seconds in which a host must have given a session. One that says nothing must not keep us from asking the others."""
SILENCE = 10.0
"""Seconds after which a transaction that is not done is given up, whatever the network thinks of its connection."""
_TIMELINE = "select ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint"
Connection = Any  # asyncpg's pool hands out proxies that its stubs type apart from connections


@asynccontextmanager
async def patience(connection: Connection, seconds: float | None = None) -> AsyncIterator[None]:
    """End the session when the body takes longer than `seconds`, or SILENCE.

    The session is cut, not asked to cancel: a COMMIT that waits for a replica and is cancelled has happened on the
    primary alone, and others would see it.
    """
    timer = asyncio.get_running_loop().call_later(
        SILENCE if seconds is None else seconds, connection.terminate
    )
    try:
        yield
    finally:
        timer.cancel()


def hosts(dsn: str) -> list[str]:
    """The address once for each of the hosts that it names."""
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


class Sessions:
    """Gives sessions on the primary, wherever it is; remembers where it was and how far its history goes."""

    def __init__(self, dsn: str) -> None:
        self._hosts = hosts(dsn)
        self._timeline = -1
        self.published = 0
        """The size of the largest checkpoint that this process has put into the database."""

    async def connect(self, *_: object, **settings: Any) -> asyncpg.Connection[Any]:
        """A session on the host that takes writes.

        Raises ConnectionError with each host's words when none does, and Misconfigured when one was promoted that does
        not hold what this process has published.
        """
        known = self._hosts[:1] if self._timeline >= 0 and len(self._hosts) > 1 else []
        whys: list[str] = []
        for asked in (known, self._hosts):
            tried = await asyncio.gather(*(_try(dsn, settings) for dsn in asked))
            best = max((t for t in tried if t.connection), key=lambda t: t.timeline, default=None)
            for other in tried:
                if other.connection is not None and other is not best:
                    other.connection.terminate()
            if best is None or best.connection is None:
                whys = [each.why for each in tried]
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
        """Nothing may be decided on a history that has lost what was published."""
        if not self.published:
            return
        try:
            async with patience(connection):
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
        async with asyncio.timeout(CONNECT):
            connection = await asyncpg.connect(
                dsn, target_session_attrs=SessionAttribute.read_write, **settings
            )
            return _Attempt(dsn, connection, await _timeline(connection))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if connection is not None:
            connection.terminate()
        return _Attempt(dsn, why=str(error) or f"no answer within {CONNECT:g} s")


async def _timeline(connection: asyncpg.Connection[Any]) -> int:
    """How often a server was promoted in this database's history; 0 where the server does not tell."""
    try:
        return int(await connection.fetchval(_TIMELINE))
    except asyncpg.PostgresError:
        return 0
