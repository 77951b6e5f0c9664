"""The embedded store: one SQLite file, one process, one writer thread and several readers.

A transition is acknowledged once its transaction is in the write-ahead log and synced. The file belongs to one server
process at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import apsw

from counterfoil.core.clock import micros, utc_now
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.wake import Wakes
from counterfoil.store.sql import migrate
from counterfoil.store.sql import verbs as verbs
from counterfoil.store.sql.group_commit import GroupCommit, ItemResult
from counterfoil.store.sql.registry import VERBS, perform
from counterfoil.store.sql.sqlite_file import FileOwnership
from counterfoil.store.sql.statements import (
    Request,
    Rollback,
    Row,
    Statement,
    Work,
    lite_args,
    lite_insert,
    run_sync,
    to_sqlite,
)
from counterfoil.store.sql.store import SqlStore
from counterfoil.store.sql.store_health import StoreHealth
from counterfoil.store.sql.transaction import Tx, write_leaves

T = TypeVar("T")

OLDEST = (3, 51, 3)
"""Earlier versions can lose a commit when the write-ahead log is reset (sqlite.org/wal.html)."""
READERS = 2
DISK = (
    apsw.BusyError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.CorruptError,
    apsw.NotADBError,
)  # fmt: skip
"""Errors of the file, not of a transition."""


class SqliteStore(SqlStore):
    """A Store in one file; between `open` and `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ownership = FileOwnership(path)
        self._closed = False
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._wakes = Wakes()
        self._health = StoreHealth()
        self._writer = ThreadPoolExecutor(1, "counterfoil-writer", self._connect)
        self._readers = ThreadPoolExecutor(READERS, "counterfoil-reader", self._connect_reader)

    @classmethod
    async def open(cls, path: str | Path) -> Self:
        """Return the store in this file, which is created where there is none.

        Raises Misconfigured when another process has it open, naming that process, when the file was written
        by a newer version, or when the SQLite library is too old.
        """
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if version < OLDEST:
            raise Misconfigured(
                f"SQLite {apsw.sqlite_lib_version()} may lose commits: install apsw 3.51.3 or newer."
            )
        store = cls(Path(path))
        try:
            await asyncio.get_running_loop().run_in_executor(store._writer, store._migrate)
        except BaseException:
            store._release_file()
            raise
        # One writer applies transitions one after another, so no keys are needed.
        store._commits = GroupCommit(store._commit)
        store._reads = GroupCommit(store._read_many, committers=READERS)
        return store

    async def close(self) -> None:
        """Answer everything in the queues, then close the file. A second call does nothing."""
        await self._commits.close()
        await self._reads.close()
        if not self._closed:
            self._closed = True
            self._release_file()

    def _release_file(self) -> None:
        for pool in (self._readers, self._writer):
            pool.shutdown(wait=True)
        for connection in self._connections:
            connection.close()
        self._ownership.release()

    # ------------------------------------------------------------------ connections

    def _connect(self) -> None:
        connection = apsw.Connection(str(self.path), statementcachesize=500)
        self._connections.append(connection)
        self._local.connection = connection
        connection.set_busy_timeout(5000)
        # Without it SQLite compiles a statement again whenever a bound value could change its plan, which costs more
        # than running it.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        for setting in (
            "journal_mode = wal",
            "synchronous = full",
            "foreign_keys = on",
            "temp_store = memory",
            "cache_size = -65536",
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"pragma {setting}")

    def _connect_reader(self) -> None:
        self._connect()
        self._local.connection.execute("pragma query_only = on")

    def _migrate(self) -> None:
        connection = self._local.connection
        connection.execute("begin immediate")
        try:
            connection.execute(migrate.TABLE)
            run_sync(migrate.migrate(migrate.migrations("sqlite"), micros(utc_now())), self._answer)
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
        self._ownership.remember_name(connection)

    def _answer(self, request: Request) -> list[Row]:
        connection: apsw.Connection = self._local.connection
        if isinstance(request, Statement):
            return list(connection.execute(to_sqlite(request.sql), lite_args(request.args)))
        sql = lite_insert(request.table, request.ignore, request.returning)
        if len(request.rows) == 1:
            return list(connection.execute(sql, request.rows[0]))
        return list(connection.executemany(sql, request.rows))

    # ------------------------------------------------------------------ writing

    async def _commit(self, batch: Sequence[Transition[Any]]) -> list[ItemResult]:
        outcomes = await asyncio.get_running_loop().run_in_executor(self._writer, self._write, batch)
        self._wake_waiters(batch, outcomes)
        return outcomes

    def _write(self, batch: Sequence[Transition[Any]]) -> list[ItemResult]:
        """Write one transaction. When a transition fails, all run again with savepoints, so that it fails alone."""
        connection: apsw.Connection = self._local.connection
        try:
            connection.execute("begin immediate")
            outcomes = self._together(batch)
            if outcomes is None:
                connection.execute("rollback")
                connection.execute("begin immediate")
                outcomes = [self._alone(connection, transition) for transition in batch]
            connection.execute("commit")
        except DISK as error:
            self._roll_back(connection)
            raise self._unavailable("could not be written, nothing happened", error) from error
        except BaseException:
            self._roll_back(connection)
            raise
        self._health.committed()
        return outcomes

    def _together(self, batch: Sequence[Transition[Any]]) -> list[ItemResult] | None:
        """Apply all, with their audit leaves in one insert; None when one of them fails."""
        outcomes, leaves = [], []
        try:
            for transition in batch:
                step = Tx("sqlite")
                outcomes.append(ItemResult(run_sync(VERBS[type(transition)](step, transition), self._answer)))
                leaves += step.leaves
            run_sync(write_leaves(leaves), self._answer)
        except DISK:
            raise
        except Exception:
            return None
        return outcomes

    def _alone(self, connection: apsw.Connection, transition: Transition[Any]) -> ItemResult:
        connection.execute("savepoint one")
        try:
            outcome = ItemResult(run_sync(perform(Tx("sqlite"), transition), self._answer))
        except DISK:
            raise
        except Rollback as nothing:
            connection.execute("rollback to one")
            outcome = ItemResult(nothing.answer)
        except Exception as error:
            connection.execute("rollback to one")
            outcome = ItemResult(error=error)
        connection.execute("release one")
        return outcome

    def _unavailable(self, what: str, error: apsw.Error) -> TryAgain:
        """Return the error for callers; only operators learn the path and the cause."""
        self._health.failed(f"{self.path} {what}: {error}")
        return TryAgain(f"The store {what}. It is safe to repeat the request.")

    def _roll_back(self, connection: apsw.Connection) -> None:
        with contextlib.suppress(apsw.SQLError):  # a full disk has rolled back by itself
            connection.execute("rollback")

    # ------------------------------------------------------------------ reading

    async def now(self) -> datetime:
        """Return the time of this process, which owns the file."""
        return utc_now()

    async def _read(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._snapshot, work)

    async def _read_many(self, reads: Sequence[Callable[[], Work[Any]]]) -> list[ItemResult]:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._snapshots, reads)

    def _snapshots(self, reads: Sequence[Callable[[], Work[Any]]]) -> list[ItemResult]:
        """Run short reads of about the same time on one snapshot."""
        outcomes = []
        with self._reading():
            for read in reads:
                try:
                    outcomes.append(ItemResult(run_sync(read(), self._answer)))
                except DISK:
                    raise
                except Exception as error:
                    outcomes.append(ItemResult(error=error))
        return outcomes

    def _snapshot(self, work: Work[T]) -> T:
        with self._reading():
            return run_sync(work, self._answer)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Hold one snapshot. Raises TryAgain for an error of the file."""
        connection: apsw.Connection = self._local.connection
        try:
            connection.execute("begin")
            try:
                yield
            finally:
                with contextlib.suppress(apsw.SQLError):  # an error of the file has ended it by itself
                    connection.execute("commit")
        except DISK as error:
            raise self._unavailable("could not be read", error) from error


def read_file(path: Path, read: Callable[[], Work[T]]) -> T:
    """Run a read on a file that a server may have open, without changing it. Raises Misconfigured."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5000)
            connection.execute("begin")
            return run_sync(read(), lambda request: _select(connection, request))
        finally:
            connection.close()
    except apsw.Error as error:
        raise Misconfigured(
            f"{path} cannot be read: {error}. If an earlier version wrote it, start this version once."
        ) from error


def _select(connection: apsw.Connection, request: Request) -> list[Row]:
    assert isinstance(request, Statement)
    return list(connection.execute(to_sqlite(request.sql), lite_args(request.args)))
