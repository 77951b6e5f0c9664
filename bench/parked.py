"""`wake_parked_p99`: time to wake a Run while a million other Runs are parked.

SQL statements copy the rows that the engine wrote for one Run with an open approval, in every table that a turn reads.
Each copy has its own ids. Each round wakes Runs that started from webhooks.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

import apsw
import asyncpg

from bench.expressions import company
from bench.harness import percentile
from bench.path import deliver
from bench.peers.process import Peer
from bench.w1 import Ask, Databases, new_location, open_store
from bench.waking import approvals, connectors, credit_requests
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker

PARKED_RUNS = 1_000_000
WAKES = 150
TEMPLATE = "PARKED-0"
KINDS = ("sqlite", "postgres")
TABLES = {
    "run": "id = '{run}'",
    "inbox": "run = '{run}'",
    "approval": "run = '{run}'",
    "leaf": "run = '{run}'",
    "head": f"key = '{TEMPLATE}'",
}
"""Conditions for the rows of a parked Run, by table. Its leaf is sealed already."""
NUMBERED = ("arrival", "rowid")
"""Columns that the store numbers itself."""
IDS = re.compile(r"(run|appr|leaf|evt)_[0-9a-z]{26,}")
HEX = {"sqlite": "printf('%08x', n.i * {step})", "postgres": "lpad(to_hex(n.i * {step}), 8, '0')"}
"""First digits of the copies' ids. They are spread evenly, as digests are, and written in order."""
NUMBERS = {
    "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})",
    "postgres": "with n(i) as (select generate_series(1::bigint, {count}))",
}


async def park(where: str, parked: int) -> None:
    """Fill the store at this location with parked Runs. Raises RuntimeError if some are missing."""
    async with open_store(where) as (store, ask):
        model = company()
        systems, _ = connectors()
        releases = Releases(store, model)
        await releases.publish(await store.now(), "bench")
        worker = Worker(store, releases, systems, "bench/0")
        running = asyncio.create_task(worker.run())
        try:
            await deliver(store, model, systems, credit_requests([TEMPLATE]))
            await approvals(ask, [TEMPLATE])
        finally:
            worker.stop()
            await running
        statements = await _copies(where, ask, parked - 1) if parked else []
    await _execute(where, statements)
    async with open_store(where) as (_, ask):
        ((count,),) = await ask("select count(*) from run where status = 'waiting' and due is not null")
    if count != max(1, parked):
        raise RuntimeError(f"{count} of {parked} runs are parked")


async def _copies(where: str, ask: Ask, count: int) -> list[str]:
    """Return the statements that create this number of copies of the parked Run."""
    kind = "postgres" if where.startswith("postgresql:") else "sqlite"
    ((run,),) = await ask(f"select id from run where bkey = '{TEMPLATE}'")
    statements = []
    for table, condition in TABLES.items():
        where_sql = condition.format(run=run)
        names = await _columns(kind, ask, table)
        rows = await ask(f"select {', '.join(names)} from {table} where {where_sql}")
        if not rows:
            raise RuntimeError(f"the parked run has no row in {table}")
        digits = HEX[kind].format(step=2**32 // (count + 1))
        columns = [
            _column_sql(name, [row[index] for row in rows], digits) for index, name in enumerate(names)
        ]
        statements.append(
            f"insert into {table} ({', '.join(names)}) {NUMBERS[kind].format(count=count)} "
            f"select {', '.join(columns)} from n cross join {table} t where {where_sql}"
        )
    return [*statements, "analyze"]


def _column_sql(name: str, values: Sequence[Any], digits: str) -> str:
    """Return the SQL of a column of the copies, with ids and the business key replaced by each copy's own."""
    sql = f"t.{name}"
    ids = {match[0] for value in values if isinstance(value, str) for match in IDS.finditer(value)}
    for id_ in sorted(ids):
        head, _, tail = id_.partition("_")
        sql = f"replace({sql}, '{id_}', '{head}_' || {digits} || '{tail[8:]}')"
    if any(isinstance(value, str) and TEMPLATE in value for value in values):
        sql = f"replace({sql}, '{TEMPLATE}', 'PARKED-' || {digits})"
    return sql


async def _columns(kind: str, ask: Ask, table: str) -> list[str]:
    if kind == "sqlite":
        names = [row[1] for row in await ask(f"pragma table_info({table})")]
    else:
        sql = f"select column_name from information_schema.columns where table_name = '{table}' order by ordinal_position"
        names = [row[0] for row in await ask(sql)]
    return [name for name in names if name not in NUMBERED]


async def _execute(where: str, statements: Sequence[str]) -> None:
    """Execute the statements while the store is closed. Durability is off, because the store is temporary."""
    if where.startswith("postgresql:"):
        session = await asyncpg.connect(where)
        try:
            for statement in statements:
                await session.execute(statement)
            await session.execute("checkpoint")
        finally:
            await session.close()
        return
    connection = apsw.Connection(where)
    try:
        for setting in ("journal_mode = off", "synchronous = off", "cache_size = -500000"):
            connection.execute(f"pragma {setting}")
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


class WakeParked:
    """99th percentile of the wake time on the slower of the two stores, with parked Runs and without."""

    unit = "milliseconds from an acknowledged wake to the call that follows, 99th percentile, on the slower store"
    peer = "the same without other parked runs"
    target = "< 250 ms"

    def __init__(self, parked: int = PARKED_RUNS, wakes: int = WAKES) -> None:
        self._parked = parked
        self._wakes = wakes
        self._databases = Databases()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._locations: dict[tuple[str, int], str] = {}
        self._rounds: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def _round(self, parked: int) -> float:
        return max(1e3 * percentile(self._wake(kind, parked)["seconds"], 0.99) for kind in KINDS)

    def _wake(self, kind: str, parked: int) -> dict[str, Any]:
        if (kind, parked) not in self._locations:
            self._locations[kind, parked] = self._runner.run(self._new(kind, parked))
        peer = Peer([sys.executable, "-m", "bench.waking", self._locations[kind, parked], str(self._wakes)])
        try:
            result = peer.answer()
        finally:
            peer.close()
        self._rounds.setdefault((kind, parked), []).append(result)
        return result

    async def _new(self, kind: str, parked: int) -> str:
        return await self._stack.enter_async_context(_parked(kind, self._databases, parked))

    def ours(self) -> float:
        return self._round(self._parked)

    def against(self) -> float:
        return self._round(0)

    def met(self, ours: float, ratio: float) -> bool:
        return ours < 250

    def note(self) -> str:
        parts = []
        for kind in KINDS:
            with_, without = self._rounds[kind, self._parked], self._rounds[kind, 0]
            figures = {
                share: median(1e3 * percentile(result["seconds"], share) for result in with_)
                for share in (0.5, 0.99)
            }
            memory, before = (median(r["megabytes"] for r in results) for results in (with_, without))
            busy, bare = (median(r["idle"] for r in results) for results in (with_, without))
            parts.append(
                f"{kind}: p50 {figures[0.5]:.1f}, p99 {figures[0.99]:.1f} ms; idle {busy:.1%} of a core against "
                f"{bare:.1%}, {memory:.0f} MB against {before:.0f}"
            )
        return (
            f"{self._parked:,} runs are parked at an approval; each round wakes {self._wakes} one by one, by the vote that "
            f"grants it. {'. '.join(parts)}."
        )

    def close(self) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()
            self._databases.close()


@asynccontextmanager
async def _parked(kind: str, databases: Databases, parked: int) -> AsyncIterator[str]:
    async with new_location(kind, databases) as where:
        await park(where, parked)
        yield where
