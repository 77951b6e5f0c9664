"""`two_workers_one_killed`: seconds until everything is done after one of two workers was killed with work in hand.

Each Run makes five calls to one outside system that takes a tenth of a second for each. Half-way through, one of two
workers gets SIGKILL and is not started again; the clock stops when the outside system has seen every call.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from statistics import median

from bench.expressions import company
from bench.outside import Outside
from bench.path import Inside, hand_in
from bench.peers import dbos
from bench.peers.process import Peer
from bench.peers.restate import Restate
from bench.w1 import STEPS, UNFINISHED, Databases, at, orders, proven
from counterfoil.flow.context.releases import Releases

RUNS = 100
SHARE = 0.4
"""How much is done when the worker is killed."""
PATIENCE = 240.0
ALONE = 10.0
"""Seconds in which DBOS's other executor may take over by itself, before the dead one is started again."""


class TwoWorkersOneKilled:
    """Ours on PostgreSQL against Restate; DBOS, which waits for a restart, in the note."""

    unit = "seconds from the kill of one of two workers until every call was made"
    peer = "Restate with two service processes at one address"
    target: str | None = None

    def __init__(self, runs: int = RUNS) -> None:
        self._runs = runs
        self._databases = Databases()
        self._repeated: dict[str, list[int]] = {}
        self._dbos: list[tuple[bool, float]] = []

    def _timed(self, who: str, outside: Outside, kill: Callable[[], None]) -> float:
        """Kill when the share is done; seconds until the rest is."""
        self.kill(outside, kill)
        began = time.perf_counter()
        self._reach(outside, self._runs * STEPS)
        seconds = time.perf_counter() - began
        self._repeated.setdefault(who, []).append(outside.repeated)
        return seconds

    def kill(self, outside: Outside, kill: Callable[[], None]) -> None:
        """Kill when the share is done. Raises RuntimeError when too little is left by then to tell anything."""
        self._reach(outside, round(self._runs * STEPS * SHARE))
        kill()
        if outside.done > self._runs * STEPS * 0.8:
            raise RuntimeError(f"{outside.done} of {self._runs * STEPS} calls were made before the kill")

    def _reach(self, outside: Outside, calls: int, patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while outside.done < calls:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{outside.done} of {calls} calls were made in {patience:.0f} s")
            time.sleep(0.01)

    def ours(self) -> float:
        dsn = asyncio.run(self._databases.new())
        outside = Outside()
        crew: list[Peer] = []
        try:
            asyncio.run(self._handed_in(dsn))
            for name in ("a", "b"):
                crew.append(Peer([sys.executable, "-m", "bench.crew", dsn, f"{name}/1", str(outside.port)]))
            for peer in crew:
                peer.answer(60)
            seconds = self._timed("ours", outside, crew[0].kill)
            asyncio.run(self._ended(dsn))
            return seconds
        finally:
            for peer in crew:
                peer.close()
            outside.close()
            asyncio.run(self._databases.drop(dsn))

    async def _handed_in(self, dsn: str) -> None:
        model = company()
        async with at(dsn) as (store, _):
            await Releases(store, model).publish(await store.now(), "bench")
            await hand_in(store, model, {"support": Inside([])}, orders(0, self._runs))

    async def _ended(self, dsn: str) -> None:
        """Every Run is done in the store as well. Raises RuntimeError or TimeoutError."""
        async with at(dsn) as (_, ask), asyncio.timeout(PATIENCE):
            while (await ask(UNFINISHED))[0][0]:
                await asyncio.sleep(0.05)
            await proven(ask, self._runs)

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
        """Whether the other executor finished everything by itself, and the seconds that it took with the dead one
        started again when it had not, from the restart."""
        dsn = asyncio.run(self._databases.new())
        outside = Outside()
        executors = []
        try:
            for name in ("a", "b"):
                executors.append(dbos.executor(dbos.postgres_url(dsn), name))
            for peer, count, tag in zip(
                executors, (self._runs // 2, self._runs - self._runs // 2), "ab", strict=True
            ):
                peer.tell(do="start", runs=count, outside=outside.port, tag=tag)
            for peer in executors:
                peer.answer(60)  # what was not durable yet when its process died is nobody's to finish
            self.kill(outside, executors[0].kill)
            began = time.perf_counter()
            try:
                self._reach(outside, self._runs * STEPS, ALONE)
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
        """Printed; there is no target."""

    def note(self) -> str:
        alone = [seconds for by_itself, seconds in self._dbos if by_itself]
        if len(alone) == len(self._dbos):
            dbos_said = f"DBOS's other executor took over in {median(alone):.1f} s"
        else:
            restarted = median(seconds for by_itself, seconds in self._dbos if not by_itself)
            dbos_said = (
                f"DBOS (two executors, without its hosted Conductor): the other executor did not take over within "
                f"{ALONE:.0f} s; with the dead one started again, everything was done {restarted:.1f} s later"
            )
        repeated = ", ".join(f"{who} {max(counts)}" for who, counts in self._repeated.items())
        return (
            f"{self._runs} runs of {STEPS} calls of 0.1 s, killed at {SHARE:.0%}. {dbos_said}. Calls made more than once, "
            f"at most in one round: {repeated}."
        )

    def close(self) -> None:
        self._databases.close()
