"""W1 on our side: five sequential calls, from the delivery that starts them to the finished Run.

Each Run is keyed and started by its own delivery, acknowledged when it is durable. Each call has its intent, outcome and
leaf, and the last one a counterfoil. The systems respond at once from the same process.

In the closed loop each client waits for the end of its Run before it sends the next delivery. In the open loop it sends the
next as soon as the former is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw
import asyncpg

from bench import processor
from bench.expressions import company
from bench.harness import Unavailable
from bench.path import CLIENTS, TIMEOUT_SECONDS, LocalSystem, deliver, send_one
from counterfoil.connectors.sdk import Connector, Outcome, Request
from counterfoil.core import ids, wire
from counterfoil.core.run import TERMINAL
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests import postgres

RUNS = 1000
WARM_UP_RUNS = 20
"""Runs before the measurement, so that one-time compilation and connections are not measured."""
STEPS = 5
POLL_SECONDS = 0.005
"""Interval between polls for the end of the last Runs, after their last call."""
LOST_WAKE_SECONDS = 0.5
"""A client that waits for its Run reads it after this time even if nothing woke it."""
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
"""Settings of PostgreSQL for both sides of a row; everything else, such as fsync, has its default."""
UNFINISHED = "select count(*) from run where status in ('ready', 'waiting')"
DONE = (
    "select count(*) from run where workflow = 'five-calls' and status = 'done'",
    "select count(*) from effect where state = 'confirmed'",
    "select count(*) from foil where state = 'open'",
    "select count(distinct run) from leaf where version is not null",
)
"""Queries that count the completed work: Runs, calls, counterfoils, Runs with a leaf for their turns."""

Store = SqliteStore | PostgresStore
Loop = Literal["closed", "open"]


class Cost(NamedTuple):
    """What a number of workflows took. `database` is 0 where the database is in the same process."""

    steps: int
    seconds: float
    processor: float
    """Processor seconds of the processes that carry the workflows, clients included where they are in one of them."""
    database: float
    """Processor seconds of the database server."""

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.steps / self.seconds

    def __str__(self) -> str:
        ours = f"{1000 * self.processor / self.steps:.2f} ms"
        return (
            f"{ours} and {1000 * self.database / self.steps:.2f} ms in the database"
            if self.database
            else ours
        )


Ask = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
"""Runs a query on a separate connection and returns its rows."""


class CountingSystem(LocalSystem):
    """System that sets `enough` after the expected number of calls."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.expected = 0
        self.enough = asyncio.Event()

    async def send(self, request: Request, timeout: float) -> Outcome:
        self.expected -= 1
        if self.expected == 0:
            self.enough.set()
        return await super().send(request, timeout)


class Databases:
    """PostgreSQL server for the rows of a benchmark, started for the first database."""

    def __init__(self, cluster: postgres.Cluster | None = None) -> None:
        """Use the caller's running `cluster`, or start one that `close` stops."""
        self._cluster = cluster
        self._own = cluster is None

    async def new(self) -> str:
        """Create an empty database and return its address. Raises Unavailable."""
        if self._cluster is None:
            try:
                self._cluster = postgres.start(settings=SETTINGS)
            except postgres.PostgresUnavailable as missing:
                raise Unavailable(str(missing)) from missing
        return self._cluster.dsn(await self._cluster.create())

    def processes(self, kind: str = "postgres") -> set[int]:
        """Return the processes of the server at this moment; none for an embedded store."""
        return (
            processor.family(self._cluster.pid) if self._cluster is not None and kind == "postgres" else set()
        )

    async def drop(self, dsn: str) -> None:
        assert self._cluster is not None
        await self._cluster.drop(dsn.rpartition("/")[2].partition("?")[0])

    def close(self) -> None:
        if self._own and self._cluster is not None:
            self._cluster.stop()
            self._cluster = None


@contextlib.asynccontextmanager
async def new_location(kind: str, databases: Databases) -> AsyncIterator[str]:
    """Yield a file path or an address for a new store of this kind; on leaving, delete it."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
            yield str(Path(folder) / "bench.sqlite")
        return
    dsn = await databases.new()
    try:
        yield dsn
    finally:
        await databases.drop(dsn)


@contextlib.asynccontextmanager
async def open_store(where: str) -> AsyncIterator[tuple[Store, Ask]]:
    """Open the store at this location; yield it with a query function on a separate connection."""
    store: Store
    if where.startswith("postgresql:"):
        store = await PostgresStore.open(where)
        session = await asyncpg.connect(where)

        async def ask(sql: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await session.fetch(sql)]

        try:
            yield store, ask
        finally:
            await session.close()
            await store.close()
        return
    store = await SqliteStore.open(where)
    reader = apsw.Connection(where)
    reader.set_busy_timeout(60_000)

    async def read(sql: str) -> list[tuple[Any, ...]]:
        return list(reader.execute(sql))

    try:
        yield store, read
    finally:
        reader.close()
        await store.close()


@contextlib.asynccontextmanager
async def new_store(kind: str, databases: Databases) -> AsyncIterator[tuple[Store, Ask]]:
    """Open a new store of this kind; on leaving, close and delete it."""
    async with new_location(kind, databases) as where, open_store(where) as opened_there:
        yield opened_there


def orders(first: int, count: int) -> list[tuple[str, bytes]]:
    """Return (system, body) of the deliveries that start Runs; each order has its own key."""
    return [
        (
            "support",
            wire.write_json(
                {"type": "order.placed", "credit": f"O-{n}", "order": f"O-{n}", "revision": 1, "cents": 5_000 + n,
                 "currency": "USD"}
            ),
        )
        for n in range(first, first + count)
    ]  # fmt: skip


class FiveCalls:
    """W1 on our stores."""

    def __init__(self, databases: Databases, runs: int = RUNS, warm: int = WARM_UP_RUNS) -> None:
        self.databases = databases
        self.runs = runs
        self.warm = warm
        self.model = company()

    def connectors(self) -> tuple[dict[str, Connector], CountingSystem]:
        ledger = CountingSystem(["ledger.order.post"])
        return {
            "support": LocalSystem([]),
            "billing": LocalSystem(["billing.order.take"]),
            "ledger": ledger,
        }, ledger

    def cost(self, kind: str, loop: Loop = "closed") -> Cost:
        """Return the cost from the first delivery until the last Run is done."""
        return asyncio.run(self._measure(kind, loop))

    async def _measure(self, kind: str, loop: Loop) -> Cost:
        async with new_store(kind, self.databases) as (store, ask):
            connectors, ledger = self.connectors()
            releases = Releases(store, self.model)
            await releases.publish(await store.now(), "bench")
            worker = Worker(store, releases, connectors, "bench/1")
            running = asyncio.create_task(worker.run())
            process = self._closed if loop == "closed" else self._open
            try:
                await process(store, connectors, ledger, ask, orders(0, self.warm))
                servers = self.databases.processes(kind)
                database, used, began = processor.seconds(servers), time.process_time(), time.perf_counter()
                await process(store, connectors, ledger, ask, orders(self.warm, self.runs))
                passed, used = time.perf_counter() - began, time.process_time() - used
                database = processor.seconds(servers) - database
            finally:
                worker.stop()
                await running
            await assert_done(ask, self.runs + self.warm)
            return Cost(self.runs * STEPS, passed, used, database)

    async def _open(
        self,
        store: Store,
        connectors: dict[str, Connector],
        ledger: CountingSystem,
        ask: Ask,
        bodies: Sequence[tuple[str, bytes]],
    ) -> None:
        ledger.expected = len(bodies)
        ledger.enough.clear()
        await deliver(store, self.model, connectors, bodies)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await ledger.enough.wait()
            while (await ask(UNFINISHED))[0][0]:
                await asyncio.sleep(POLL_SECONDS)

    async def _closed(
        self,
        store: Store,
        connectors: dict[str, Connector],
        ledger: CountingSystem,
        ask: Ask,
        bodies: Sequence[tuple[str, bytes]],
    ) -> None:
        ledger.expected = len(bodies) + 1
        left = iter(bodies)

        async def client() -> None:
            for system, body in left:
                await send_one(store, self.model, connectors, system, body)
                await _end_of(store, ids.run_id("five-calls", wire.read_json(body)["order"], 0))

        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _end_of(store: Store, run: str) -> None:
    """Return when the Run has ended, as the gateway's callers learn it."""
    with store.watch_run(run) as watch:
        while (loaded := await store.load(run)) is None or loaded.run.status not in TERMINAL:
            await watch.wait(LOST_WAKE_SECONDS)


async def assert_done(ask: Ask, runs: int) -> None:
    """Raise RuntimeError unless this number of Runs is done, with calls, counterfoils and leaves."""
    counts = [int((await ask(sql))[0][0]) for sql in DONE]
    if counts != [runs, runs * STEPS, runs, runs]:
        raise RuntimeError(
            f"runs, calls, counterfoils, runs with leaves: {counts}; the figure would be wrong"
        )
