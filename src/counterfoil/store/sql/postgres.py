"""The store for more than one process or machine: PostgreSQL through asyncpg, sessions at READ COMMITTED.

Every invariant is guarded by one locked row or unique index, so no stricter isolation is needed. A batch of
transitions is one transaction without savepoints. When one fails, all run again one by one, and it fails alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Self, TypeVar

import asyncpg

from counterfoil.core.clock import from_micros, micros, utc_now
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.store.port.maintenance import PutCheckpoint
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.wake import WakeKind, Wakes
from counterfoil.store.sql import migrate
from counterfoil.store.sql import verbs as verbs
from counterfoil.store.sql.cached_clock import CachedClock
from counterfoil.store.sql.group_commit import GroupCommit, ItemResult
from counterfoil.store.sql.primary import Connection, PrimaryConnector, time_limit
from counterfoil.store.sql.registry import perform
from counterfoil.store.sql.set_based import OWNED, Ask, Types, together, waves
from counterfoil.store.sql.statements import Request, Rollback, Row, Statement, Work, array_insert
from counterfoil.store.sql.store import SqlStore
from counterfoil.store.sql.store_health import StoreHealth
from counterfoil.store.sql.transaction import Tx

T = TypeVar("T")
log = logging.getLogger("counterfoil.store")

COMMITTERS = 3
READERS = 4
CHANNEL = "counterfoil_wake"
ATTEMPTS = 5
"""Attempts at a transition that loses to another session's locks, before its caller gets TryAgain."""
MIGRATION_LOCK = 0x636F756E746572
_SETTINGS = {
    "application_name": "counterfoil",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "5s",
    "statement_timeout": "30s",
    "lock_timeout": "4s",
    "synchronous_commit": "on",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "timezone": "UTC",
    "jit": "off",
}
NOW = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"
_CONTENDED = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.UniqueViolationError,
)
"""Another session was first: a new attempt sees what that session wrote."""
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    OSError,
)
"""The database is unreachable or cannot work: out of memory or disk, or read-only."""
LISTENER_CHECK_SECONDS = 3.0
MAX_NOTIFIED_RUNS = 150
"""Halted Runs that one notification names: PostgreSQL takes less than 8,000 bytes. A caller that waits for a Run polls as well."""
REPORT_SECONDS = 60.0
"""Timeout of a report or an export; everything else has `sessions.TRANSACTION_SECONDS`."""


class PostgresStore(SqlStore):
    """A Store in a PostgreSQL database that any number of processes may share; between `open` and `close`."""

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str, sessions: PrimaryConnector) -> None:
        self._pool = pool
        self._dsn = dsn
        self._sessions = sessions
        self._types: dict[str, tuple[str, ...]] = {}
        self._wakes = Wakes()
        self._health = StoreHealth()
        self._to_notify: set[str] = set()
        self._notify_due = asyncio.Event()
        self._closing = asyncio.Event()
        self._commits = GroupCommit(self._commit, _keys, COMMITTERS)
        self._reads = GroupCommit(self._read_together, committers=READERS)
        self._clock = CachedClock(self._ask_time)
        self._notifier = asyncio.create_task(self._notify())
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Return the store in this database, with its schema migrated under a lock.

        Raises Misconfigured when the database cannot be reached or was written by a newer version.
        """
        sessions = PrimaryConnector(dsn)
        pool = await asyncpg.create_pool(
            dsn,
            connect=sessions.connect,
            min_size=0,
            max_size=COMMITTERS + READERS + 1,
            server_settings=_SETTINGS,
            reset=_no_reset,
        )
        try:
            async with pool.acquire() as connection, connection.transaction():
                await _lock_migrations(connection)
                await connection.execute(migrate.TABLE)
                files = migrate.migrations("postgres")
                await _drive(migrate.migrate(files, micros(utc_now())), connection)
        except _LOST as error:
            pool.terminate()
            raise Misconfigured(f"PostgreSQL cannot be reached: {error}. Check its address.") from error
        except BaseException:
            pool.terminate()
            raise
        return cls(pool, dsn, sessions)

    async def close(self) -> None:
        """Answer everything in the queues, then close the connections."""
        await self._commits.close()
        await self._reads.close()
        self._closing.set()
        self._notify_due.set()
        await asyncio.gather(self._notifier, self._listener, return_exceptions=True)
        try:
            await asyncio.wait_for(self._pool.close(), 10)
        except (TimeoutError, *_LOST):
            self._pool.terminate()

    # ------------------------------------------------------------------ writing

    async def _commit(self, batch: Sequence[Transition[Any]]) -> list[ItemResult]:
        outcomes = await self._together(batch)
        if outcomes is None:
            outcomes = [await self._singly(transition) for transition in batch]
        for transition, outcome in zip(batch, outcomes, strict=True):
            if isinstance(transition, PutCheckpoint) and outcome.error is None:
                self._sessions.published = max(self._sessions.published, transition.checkpoint.size)
        if any(outcome.error is None for outcome in outcomes):
            self._health.committed()
        news: set[str] = {*self._wake_waiters(batch, outcomes)}
        for transition, outcome in zip(batch, outcomes, strict=True):
            if outcome.error is None and (run := transition.halts(outcome.answer)) is not None:
                news.add(run)
        if news:
            self._to_notify |= news
            self._notify_due.set()
        return outcomes

    async def _together(self, batch: Sequence[Transition[Any]]) -> list[ItemResult] | None:
        """Apply all in one transaction; None when one of them fails, and nothing was written."""
        if len(batch) == 1:
            return None
        try:
            async with self._transaction() as connection:
                return await self._waves(batch, connection)
        except ValueError:
            return None  # a value that cannot be sent; the connection is fine
        except _LOST as error:
            # The commit may have happened; applied again, transitions that won would read that they lost.
            lost = await self._lost(error)
            return [ItemResult(error=lost) for _ in batch]
        except Exception:
            # The failing transition fails again, alone, when all run one by one; the others succeed.
            return None

    async def _waves(self, batch: Sequence[Transition[Any]], connection: Connection) -> list[ItemResult]:
        ask, types = self._over(connection)
        effects = sorted({effect for transition in batch for effect in transition.effects_named()})
        owned: dict[str, set[str]] = {}
        for effect, run, rule, key in await ask(Statement(OWNED, (effects,))) if effects else ():
            owned.setdefault(effect, set()).update({run} if rule is None else {run, f"{rule}/{key}"})
        outcomes: dict[int, ItemResult] = {}
        for wave in waves(batch, owned):
            shared = len(wave) > 1
            works = [perform(Tx("postgres", shared=shared), transition) for _, transition in wave]
            for (number, _), outcome in zip(wave, await together(works, ask, types), strict=True):
                if outcome.error is not None:
                    raise outcome.error
                outcomes[number] = outcome
        return [outcomes[number] for number in range(len(batch))]

    def _over(self, connection: Connection) -> tuple[Ask, Types]:
        async def ask(request: Request) -> list[Row]:
            return await _answer(request, connection)

        async def types(sql: str) -> tuple[str, ...]:
            if sql not in self._types:
                prepared = await connection.prepare(sql)
                self._types[sql] = tuple(kind.name for kind in prepared.get_parameters())
            return self._types[sql]

        return ask, types

    async def _singly(self, transition: Transition[Any]) -> ItemResult:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._transaction() as connection:
                    return ItemResult(await _drive(perform(Tx("postgres"), transition), connection))
            except Rollback as nothing:
                return ItemResult(nothing.answer)
            except _CONTENDED as error:
                if attempt == ATTEMPTS:
                    return ItemResult(error=error if _is_defect(error) else _lock_conflict())
                await asyncio.sleep(0.01 * attempt**2)
            except ValueError as error:
                return ItemResult(error=error)
            except _LOST as error:
                return ItemResult(error=await self._lost(error))
            except Exception as error:
                return ItemResult(error=error)
        raise AssertionError("the last attempt returns")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """One transaction on a session of the pool.

        A connection lost before the commit has written nothing. Lost during the commit, the result is open: the caller
        gets TryAgain, because each transition's own guard (a version, an attempt, a todo, a unique id) makes a repeat
        harmless and shows the result of the first attempt.
        """
        async with self._pool.acquire() as connection, time_limit(connection), connection.transaction():
            yield connection

    async def _lost(self, error: BaseException) -> TryAgain:
        """Return the error for callers. Other sessions may be dead too, so all are replaced.

        Only operators learn the cause: it names the database's address.
        """
        self._health.failed(f"PostgreSQL is not available: {error}")
        self._clock.forget()
        await self._pool.expire_connections()
        return TryAgain("The store is not available. It is safe to repeat the request.", after=1.0)

    # ------------------------------------------------------------------ waking

    async def _notify(self) -> None:
        """Notify other processes of work and of halted Runs, after the commits and at most twenty times a second.

        NOTIFY inside of transactions takes a lock that all committers share.
        """
        while not self._closing.is_set():
            await self._notify_due.wait()
            self._notify_due.clear()
            what, self._to_notify = _notice(self._to_notify), set()
            with suppress(asyncpg.PostgresError, *_LOST):
                async with self._pool.acquire() as connection, time_limit(connection):
                    await connection.execute("select pg_notify($1, $2)", CHANNEL, what)
            await asyncio.sleep(0.05)

    async def _listen(self) -> None:
        """Receive notifications of other processes; a lost connection is replaced. Waiters poll as well."""
        while not self._closing.is_set():
            with suppress(asyncpg.PostgresError, *_LOST):
                connection = await self._sessions.connect(server_settings=_SETTINGS)
                try:
                    async with time_limit(connection):
                        await connection.add_listener(CHANNEL, self._heard)
                    while not await self._closes_within(LISTENER_CHECK_SECONDS):
                        # A connection that only listens does not notice its end without a query.
                        async with time_limit(connection):
                            await connection.execute("select 1")
                finally:
                    connection.terminate()
            await self._closes_within(1)

    async def _closes_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()

    def _heard(self, _connection: Any, _pid: int, _channel: str, what: Any) -> None:
        words = set(str(what).split(","))
        kinds = words.intersection(WakeKind)
        self._wakes.set(WakeKind(kind) for kind in kinds)
        for run in words - kinds:
            self._wakes.note_halted(run)

    # ------------------------------------------------------------------ reading

    async def now(self) -> datetime:
        return from_micros(await self._clock.micros())

    async def _ask_time(self) -> int:
        try:
            async with self._pool.acquire() as connection, time_limit(connection):
                return int(await connection.fetchval(NOW))
        except _LOST as error:
            raise await self._lost(error) from error

    async def _read_many(self, reads: Sequence[Callable[[], Work[Any]]]) -> list[ItemResult]:
        """Run short reads of about the same time on one snapshot and in one set of round trips."""
        async with (
            self._pool.acquire() as connection,
            time_limit(connection),
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await together([read() for read in reads], *self._over(connection))

    async def _read_together(self, reads: Sequence[Callable[[], Work[Any]]]) -> list[ItemResult]:
        try:
            return await self._read_many(reads)
        except _LOST as error:
            lost = await self._lost(error)
            return [ItemResult(error=lost) for _ in reads]

    async def _read(self, work: Work[T]) -> T:
        try:
            async with (
                self._pool.acquire() as connection,
                time_limit(connection, REPORT_SECONDS),
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return await _drive(work, connection)
        except _LOST as error:
            raise await self._lost(error) from error


async def _lock_migrations(connection: Connection) -> None:
    """Wait until no other process migrates the database, and take the time limits off this transaction.

    A new index of a large table takes minutes, in this process or in the one that it waits for.
    """
    for setting in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        await connection.execute(f"set local {setting} = 0")
    if not await connection.fetchval("select pg_try_advisory_xact_lock($1)", MIGRATION_LOCK):
        log.info("another process prepares the database; this one waits for it")
        await connection.execute("select pg_advisory_xact_lock($1)", MIGRATION_LOCK)


def _notice(news: set[str]) -> str:
    """Return the text of a notification: kinds of work, then ids of halted Runs."""
    kinds = news.intersection(WakeKind)
    return ",".join([*sorted(kinds), *sorted(news - kinds)[:MAX_NOTIFIED_RUNS]])


def _keys(transition: Transition[Any]) -> frozenset[str]:
    return transition.keys()


async def _drive(work: Coroutine[Any, Any, T], connection: Connection) -> T:
    """Run a coroutine to its end, answering its requests over a connection."""
    try:
        request = work.send(None)
        while True:
            try:
                rows = await _answer(request, connection)
            except Exception as error:
                request = work.throw(error)
            else:
                request = work.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        work.close()


async def _answer(request: Request, connection: Connection) -> list[Row]:
    if isinstance(request, Statement):
        sql, args = request.sql, request.args
    else:
        sql = array_insert(request.table, request.ignore, request.returning)
        args = tuple(list(column) for column in zip(*request.rows, strict=True))
    rows: list[Row] = await connection.fetch(sql, *args)
    return rows


async def _no_reset(connection: Connection) -> None:
    """Reset nothing: no session changes its settings, so none needs a round trip when it is returned."""


def _is_defect(error: BaseException) -> bool:
    """Report whether the error is a defect: a unique index that always refuses is not contention."""
    return isinstance(error, asyncpg.UniqueViolationError)


def _lock_conflict() -> TryAgain:
    return TryAgain("The store was busy with the same rows; nothing was changed.", after=0.5)
