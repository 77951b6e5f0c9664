"""W1 on our side: five calls one after another, from the delivery that starts them to the Run that is done.

Every Run is started by a delivery of its own, acknowledged when it is durable, and keyed; each call has its intent,
its outcome and its leaf, and the last one a counterfoil. The systems answer at once from inside the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import asyncpg

from bench.expressions import company
from bench.harness import Unavailable
from bench.path import PATIENCE, Inside, hand_in
from counterfoil.connectors.sdk import Connector, Outcome, Request
from counterfoil.core import wire
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests import postgres

RUNS = 1000
WARM = 20
"""Runs before the clock starts: what is compiled and connected once is not what is measured."""
STEPS = 5
LOOK = 0.005
"""Seconds between looks at whether the last Runs are done, once their last call was made."""
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
"""PostgreSQL for every party of a row alike; everything else, such as fsync, is as it comes."""
UNFINISHED = "select count(*) from run where status in ('ready', 'waiting')"
DONE = (
    "select count(*) from run where workflow = 'five-calls' and status = 'done'",
    "select count(*) from effect where state = 'confirmed'",
    "select count(*) from foil where state = 'open'",
    "select count(distinct run) from leaf where version is not null",
)
"""What was done, from the rows: Runs, calls, counterfoils, Runs with a leaf for their turns."""

Store = SqliteStore | PostgresStore
Ask = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
"""Answers a question in SQL with its rows, from beside the store."""


class Last(Inside):
    """A system that says when it was called as often as was wanted."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.wanted = 0
        self.enough = asyncio.Event()

    async def send(self, request: Request, timeout: float) -> Outcome:
        self.wanted -= 1
        if self.wanted == 0:
            self.enough.set()
        return await super().send(request, timeout)


class Databases:
    """A PostgreSQL for the rows of a benchmark, started when the first database is asked for."""

    def __init__(self, cluster: postgres.Cluster | None = None) -> None:
        """On somebody else's server, which stays up, when there is one."""
        self._cluster = cluster
        self._own = cluster is None

    async def new(self) -> str:
        """The address of an empty database. Raises Unavailable."""
        if self._cluster is None:
            try:
                self._cluster = postgres.start(settings=SETTINGS)
            except postgres.PostgresUnavailable as missing:
                raise Unavailable(str(missing)) from missing
        return self._cluster.dsn(await self._cluster.create())

    async def drop(self, dsn: str) -> None:
        assert self._cluster is not None
        await self._cluster.drop(dsn.rpartition("/")[2].partition("?")[0])

    def close(self) -> None:
        if self._own and self._cluster is not None:
            self._cluster.stop()
            self._cluster = None


@contextlib.asynccontextmanager
async def place(kind: str, databases: Databases) -> AsyncIterator[str]:
    """A file's path or an address for a new store of this kind; nothing is left of it."""
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
async def at(where: str) -> AsyncIterator[tuple[Store, Ask]]:
    """The store at that place, and how to read in it from beside."""
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
    beside = apsw.Connection(where)
    beside.set_busy_timeout(60_000)

    async def read(sql: str) -> list[tuple[Any, ...]]:
        return list(beside.execute(sql))

    try:
        yield store, read
    finally:
        beside.close()
        await store.close()


@contextlib.asynccontextmanager
async def opened(kind: str, databases: Databases) -> AsyncIterator[tuple[Store, Ask]]:
    """A new store of this kind, for as long as it is used."""
    async with place(kind, databases) as where, at(where) as opened_there:
        yield opened_there


def orders(first: int, count: int) -> list[tuple[str, bytes]]:
    """(system, body) of the deliveries that start Runs; each order has a key of its own."""
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
    """W1 on a store: `seconds` for so many Runs, or what else `drive` is given to do with the running engine."""

    def __init__(self, databases: Databases, runs: int = RUNS, warm: int = WARM) -> None:
        self.databases = databases
        self.runs = runs
        self.warm = warm
        self.model = company()

    def connectors(self) -> tuple[dict[str, Connector], Last]:
        ledger = Last(["ledger.order.post"])
        return {"support": Inside([]), "billing": Inside(["billing.order.take"]), "ledger": ledger}, ledger

    def seconds(self, kind: str) -> float:
        """From the first delivery until the last Run is done."""
        return asyncio.run(self._measured(kind))

    async def _measured(self, kind: str) -> float:
        async with opened(kind, self.databases) as (store, ask):
            connectors, ledger = self.connectors()
            releases = Releases(store, self.model)
            await releases.publish(await store.now(), "bench")
            pump = Worker(store, releases, connectors, "bench/1")
            running = asyncio.create_task(pump.run())
            try:
                await self._through(store, connectors, ledger, ask, orders(0, self.warm))
                began = time.perf_counter()
                await self._through(store, connectors, ledger, ask, orders(self.warm, self.runs))
                passed = time.perf_counter() - began
            finally:
                pump.stop()
                await running
            await proven(ask, self.runs + self.warm)
            return passed

    async def _through(
        self,
        store: Store,
        connectors: dict[str, Connector],
        ledger: Last,
        ask: Ask,
        bodies: Sequence[tuple[str, bytes]],
    ) -> None:
        ledger.wanted = len(bodies)
        ledger.enough.clear()
        await hand_in(store, self.model, connectors, bodies)
        async with asyncio.timeout(PATIENCE):
            await ledger.enough.wait()
            while (await ask(UNFINISHED))[0][0]:
                await asyncio.sleep(LOOK)


async def proven(ask: Ask, runs: int) -> None:
    """Raises RuntimeError unless so many Runs are done, with their calls, their counterfoil and their leaves."""
    found = [int((await ask(sql))[0][0]) for sql in DONE]
    if found != [runs, runs * STEPS, runs, runs]:
        raise RuntimeError(f"runs, calls, counterfoils, runs with leaves: {found}; the figure would be false")
