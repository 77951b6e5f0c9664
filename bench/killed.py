"""`two_workers_one_killed`: seconds until all work is done after one of two workers is killed.

Each Run makes five calls to an outside system that takes a tenth of a second per call. Part-way through, one of two
workers gets SIGKILL and is not restarted. The time ends when the outside system has received every call.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from statistics import median

from bench.expressions import company
from bench.outside import Outside
from bench.path import LocalSystem, deliver
from bench.peers import dbos
from bench.peers.process import Peer
from bench.peers.restate import Restate
from bench.w1 import STEPS, UNFINISHED, Databases, assert_done, open_store, orders
from counterfoil.flow.context.releases import Releases

RUNS = 100
KILL_SHARE = 0.4
"""Share of the calls made when the worker is killed."""
TIMEOUT_SECONDS = 240.0
TAKEOVER_SECONDS = 10.0
"""Time for DBOS's other executor to take over, before the killed one is restarted."""


class TwoWorkersOneKilled:
    """Ours on PostgreSQL, relative to Restate. DBOS, which waits for a restart, is in the note."""

    unit = "seconds from the kill of one of two workers until every call was made"
    peer = "Restate with two service processes at one address"
    target: str | None = None

    def __init__(self, runs: int = RUNS) -> None:
        self._runs = runs
        self._databases = Databases()
        self._repeated: dict[str, list[int]] = {}
        self._dbos: list[tuple[bool, float]] = []

    def _timed(self, side: str, outside: Outside, kill: Callable[[], None]) -> float:
        """Kill when the share is done, and return the seconds until the rest is done."""
        self.kill(outside, kill)
        began = time.perf_counter()
        self._reach(outside, self._runs * STEPS)
        seconds = time.perf_counter() - began
        self._repeated.setdefault(side, []).append(outside.repeated)
        return seconds

    def kill(self, outside: Outside, kill: Callable[[], None]) -> None:
        """Kill when the share is done. Raises RuntimeError if too little work is left for a figure."""
        self._reach(outside, round(self._runs * STEPS * KILL_SHARE))
        kill()
        if outside.done > self._runs * STEPS * 0.8:
            raise RuntimeError(f"{outside.done} of {self._runs * STEPS} calls were made before the kill")

    def _reach(self, outside: Outside, calls: int, timeout: float = TIMEOUT_SECONDS) -> None:
        deadline = time.monotonic() + timeout
        while outside.done < calls:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{outside.done} of {calls} calls were made in {timeout:.0f} s")
            time.sleep(0.01)

    def ours(self) -> float:
        dsn = asyncio.run(self._databases.new())
        outside = Outside()
        crew: list[Peer] = []
        try:
            asyncio.run(self._deliver(dsn))
            for name in ("a", "b"):
                crew.append(Peer([sys.executable, "-m", "bench.crew", dsn, f"{name}/1", str(outside.port)]))
            for peer in crew:
                peer.answer(60)
            seconds = self._timed("ours", outside, crew[0].kill)
            asyncio.run(self._wait_until_done(dsn))
            return seconds
        finally:
            for peer in crew:
                peer.close()
            outside.close()
            asyncio.run(self._databases.drop(dsn))

    async def _deliver(self, dsn: str) -> None:
        model = company()
        async with open_store(dsn) as (store, _):
            await Releases(store, model).publish(await store.now(), "bench")
            await deliver(store, model, {"support": LocalSystem([])}, orders(0, self._runs))

    async def _wait_until_done(self, dsn: str) -> None:
        """Wait until every Run is done in the store. Raises RuntimeError or TimeoutError."""
        async with open_store(dsn) as (_, ask), asyncio.timeout(TIMEOUT_SECONDS):
            while (await ask(UNFINISHED))[0][0]:
                await asyncio.sleep(0.05)
            await assert_done(ask, self._runs)

    def against(self) -> float:
        self._dbos.append(self._on_dbos())
        outside = Outside()
        try:
            peer = Restate(workers=2)
            try:
                peer.send(self._runs, outside.port, "kill")
                return self._timed("Restate", outside, lambda: peer.kill(0))
            finally:
                peer.close()
        finally:
            outside.close()

    def _on_dbos(self) -> tuple[bool, float]:
        """Return whether the other executor finished all work by itself, and the seconds from the kill.

        If it did not, the killed executor is restarted, and the seconds count from the restart.
        """
        dsn = asyncio.run(self._databases.new())
        outside = Outside()
        executors = []
        try:
            for name in ("a", "b"):
                executors.append(dbos.executor(dbos.postgres_url(dsn), name))
            for peer, count, tag in zip(
                executors, (self._runs // 2, self._runs - self._runs // 2), "ab", strict=True
            ):
                peer.send(do="start", runs=count, outside=outside.port, tag=tag)
            for peer in executors:
                peer.answer(60)  # only durable workflows can be recovered after the kill
            self.kill(outside, executors[0].kill)
            began = time.perf_counter()
            try:
                self._reach(outside, self._runs * STEPS, TAKEOVER_SECONDS)
                return True, time.perf_counter() - began
            except RuntimeError:
                began = time.perf_counter()
                executors.append(dbos.executor(dbos.postgres_url(dsn), "a"))
                self._reach(outside, self._runs * STEPS)
                return False, time.perf_counter() - began
            finally:
                self._repeated.setdefault("DBOS", []).append(outside.repeated)
        finally:
            for peer in executors:
                peer.close()
            outside.close()
            asyncio.run(self._databases.drop(dsn))

    def met(self, ours: float, ratio: float) -> None:
        """Return nothing: the figure has no target."""

    def note(self) -> str:
        alone = [seconds for by_itself, seconds in self._dbos if by_itself]
        if len(alone) == len(self._dbos):
            dbos_result = f"DBOS's other executor took over in {median(alone):.1f} s"
        else:
            restarted = median(seconds for by_itself, seconds in self._dbos if not by_itself)
            dbos_result = (
                f"DBOS (two executors, without its hosted Conductor): the other executor did not take over within "
                f"{TAKEOVER_SECONDS:.0f} s; after a restart of the killed one, all work was done {restarted:.1f} s later"
            )
        repeated = ", ".join(f"{side} {max(counts)}" for side, counts in self._repeated.items())
        return (
            f"{self._runs} runs of {STEPS} calls of 0.1 s, killed at {KILL_SHARE:.0%}. {dbos_result}. Repeated calls, "
            f"maximum of one round: {repeated}."
        )

    def close(self) -> None:
        self._databases.close()
