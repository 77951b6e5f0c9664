"""`wake_parked_p99`: how long a Run takes to wake while a million others are parked beside it.

The million is copied set-wise from the rows that the engine wrote for one Run that waits for an approval, under ids
of its own, in every table that a turn reads; each round wakes Runs that came through the front door.
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
from bench.path import hand_in
from bench.peers.process import Peer
from bench.w1 import Ask, Databases, at, place
from bench.waking import approvals, asked, connectors
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker

PARKED = 1_000_000
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
"""What a parked Run has in the tables that a turn reads. Its leaf is one that was sealed already."""
NUMBERED = ("arrival", "rowid")
"""Columns that the store counts itself."""
IDS = re.compile(r"(run|appr|leaf|evt)_[0-9a-z]{26,}")
HEX = {"sqlite": "printf('%08x', n.i * {step})", "postgres": "lpad(to_hex(n.i * {step}), 8, '0')"}
"""The first digits of the copies' ids: spread evenly over where ids made of digests lie, and written in order."""
NUMBERS = {
    "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})",
    "postgres": "with n(i) as (select generate_series(1::bigint, {count}))",
}


async def park(where: str, parked: int) -> None:
    """Fill the store at that place with parked Runs. Raises RuntimeError when they are not all there."""
    async with at(where) as (store, ask):
        model = company()
        systems, _ = connectors()
        releases = Releases(store, model)
        await releases.publish(await store.now(), "bench")
        pump = Worker(store, releases, systems, "bench/0")
        running = asyncio.create_task(pump.run())
        try:
            await hand_in(store, model, systems, asked([TEMPLATE]))
            await approvals(ask, [TEMPLATE])
        finally:
            pump.stop()
            await running
        statements = await _copies(where, ask, parked - 1) if parked else []
    await _execute(where, statements)
    async with at(where) as (_, ask):
        ((count,),) = await ask("select count(*) from run where status = 'waiting' and due is not null")
    if count != max(1, parked):
        raise RuntimeError(f"{count} of {parked} runs are parked")


async def _copies(where: str, ask: Ask, count: int) -> list[str]:
    """Statements that copy the parked Run so many times."""
    kind = "postgres" if where.startswith("postgresql:") else "sqlite"
    ((run,),) = await ask(f"select id from run where bkey = '{TEMPLATE}'")
    statements = []
    for table, condition in TABLES.items():
        chosen = condition.format(run=run)
        names = await _columns(kind, ask, table)
        rows = await ask(f"select {', '.join(names)} from {table} where {chosen}")
        if not rows:
            raise RuntimeError(f"the parked run has nothing in {table}")
        digits = HEX[kind].format(step=2**32 // (count + 1))
        made = [_made_of(name, [row[at_] for row in rows], digits) for at_, name in enumerate(names)]
        statements.append(
            f"insert into {table} ({', '.join(names)}) {NUMBERS[kind].format(count=count)} "
            f"select {', '.join(made)} from n cross join {table} t where {chosen}"
        )
    return [*statements, "analyze"]


def _made_of(name: str, values: Sequence[Any], digits: str) -> str:
    """A column of the copies: as it is, with ids and the business key made each copy's own."""
    made = f"t.{name}"
    found = {id_[0] for value in values if isinstance(value, str) for id_ in IDS.finditer(value)}
    for id_ in sorted(found):
        head, _, tail = id_.partition("_")
        made = f"replace({made}, '{id_}', '{head}_' || {digits} || '{tail[8:]}')"
    if any(isinstance(value, str) and TEMPLATE in value for value in values):
        made = f"replace({made}, '{TEMPLATE}', 'PARKED-' || {digits})"
    return made


async def _columns(kind: str, ask: Ask, table: str) -> list[str]:
    if kind == "sqlite":
        names = [row[1] for row in await ask(f"pragma table_info({table})")]
    else:
        sql = f"select column_name from information_schema.columns where table_name = '{table}' order by ordinal_position"
        names = [row[0] for row in await ask(sql)]
    return [name for name in names if name not in NUMBERED]


async def _execute(where: str, statements: Sequence[str]) -> None:
    """While nobody has the store open; what a power cut would do to it meanwhile is nobody's loss."""
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
    """The 99th percentile on the slower of the two stores, with the parked ones and without."""

    unit = "milliseconds from an acknowledged wake to the call that follows, 99th percentile, on the slower store"
    peer = "the same with nothing else parked"
    target = "< 250 ms"

    def __init__(self, parked: int = PARKED, wakes: int = WAKES) -> None:
        self._parked = parked
        self._wakes = wakes
        self._databases = Databases()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._places: dict[tuple[str, int], str] = {}
        self._found: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def _round(self, parked: int) -> float:
        return max(1e3 * percentile(self._wake(kind, parked)["seconds"], 0.99) for kind in KINDS)

    def _wake(self, kind: str, parked: int) -> dict[str, Any]:
        if (kind, parked) not in self._places:
            self._places[kind, parked] = self._runner.run(self._new(kind, parked))
        peer = Peer([sys.executable, "-m", "bench.waking", self._places[kind, parked], str(self._wakes)])
        try:
            found = peer.answer()
        finally:
            peer.close()
        self._found.setdefault((kind, parked), []).append(found)
        return found

    async def _new(self, kind: str, parked: int) -> str:
        return await self._stack.enter_async_context(_parked(kind, self._databases, parked))

    def ours(self) -> float:
        return self._round(self._parked)

    def against(self) -> float:
        return self._round(0)

    def met(self, ours: float, ratio: float) -> bool:
        return ours < 250

    def note(self) -> str:
        said = []
        for kind in KINDS:
            with_, without = self._found[kind, self._parked], self._found[kind, 0]
            figures = {
                share: median(1e3 * percentile(found["seconds"], share) for found in with_)
                for share in (0.5, 0.99)
            }
            memory, before = (median(f["megabytes"] for f in found) for found in (with_, without))
            busy, bare = (median(f["idle"] for f in found) for found in (with_, without))
            said.append(
                f"{kind}: p50 {figures[0.5]:.1f}, p99 {figures[0.99]:.1f} ms; idle {busy:.1%} of a core against "
                f"{bare:.1%}, {memory:.0f} MB against {before:.0f}"
            )
        return (
            f"{self._parked:,} runs parked at an approval, {self._wakes} woken one by one in each round by the vote that "
            f"grants it. {'. '.join(said)}."
        )

    def close(self) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()
            self._databases.close()


@asynccontextmanager
async def _parked(kind: str, databases: Databases, parked: int) -> AsyncIterator[str]:
    async with place(kind, databases) as where:
        await park(where, parked)
        yield where
