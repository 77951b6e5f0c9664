"""`w1_vs_dbos` and `w1_vs_restate`: durable steps per second, relative to the two best known durable executors.

The peers execute five steps that each add one; Counterfoil executes five governed calls. Every side keeps its default
durability. The same number of clients starts workflows one by one on every side.
"""

from __future__ import annotations

import asyncio
import tempfile
from statistics import median

from bench.path import CLIENTS
from bench.peers import dbos
from bench.peers.restate import Restate
from bench.w1 import RUNS, STEPS, WARM_UP_RUNS, Databases, FiveCalls

DBOS_RUNS = 200
RESTATE_RUNS = 600


class W1VsDbos:
    """W1 on the same PostgreSQL server; each side has its own database."""

    unit = "durable workflow steps per second"
    peer = "DBOS on the same PostgreSQL"
    target = ">= 30 x"

    def __init__(self, runs: int = RUNS, peer_runs: int = DBOS_RUNS) -> None:
        self._databases = Databases()
        self._ours = FiveCalls(self._databases, runs)
        self._runs = runs
        self._peer_runs = peer_runs
        self._rounds = 0

    def ours(self) -> float:
        self._rounds += 1
        return STEPS * self._runs / self._ours.seconds("postgres")

    def against(self) -> float:
        dsn = asyncio.run(self._databases.new())
        try:
            return self._dbos(dbos.postgres_url(dsn))
        finally:
            asyncio.run(self._databases.drop(dsn))

    def _dbos(self, url: str) -> float:
        peer = dbos.executor(url, "bench")
        try:
            peer.do(do="run", runs=WARM_UP_RUNS, at_once=CLIENTS, tag="warm")
            done = peer.do(do="run", runs=self._peer_runs, at_once=CLIENTS, tag="five")
        finally:
            peer.close()
        return float(STEPS * self._peer_runs / done["seconds"])

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 30

    def note(self) -> str:
        ours, theirs = [], []
        for _ in range(self._rounds):
            ours.append(STEPS * self._runs / self._ours.seconds("sqlite"))
            with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
                theirs.append(self._dbos(f"sqlite:///{folder}/dbos.sqlite"))
        return (
            f"{self._runs} runs of ours, {self._peer_runs} of DBOS, {CLIENTS} clients, one process on each side. Starts are "
            "keyed, and each is durable before its client sends the next. DBOS: asynchronous workflows and steps, default "
            f"settings. The same on SQLite: {median(ours):,.0f} against {median(theirs):,.0f}, "
            f"{median(a / b for a, b in zip(ours, theirs, strict=True)):.1f} x."
        )

    def close(self) -> None:
        self._databases.close()


class W1VsRestate:
    """W1 on our embedded store, relative to Restate's server with its embedded store."""

    unit = "durable workflow steps per second"
    peer = "Restate"
    target = ">= 6 x"

    def __init__(self, runs: int = RUNS, peer_runs: int = RESTATE_RUNS) -> None:
        self._databases = Databases()
        self._ours = FiveCalls(self._databases, runs)
        self._runs = runs
        self._peer_runs = peer_runs
        self._postgres: list[float] = []
        self._theirs: list[float] = []

    def ours(self) -> float:
        return STEPS * self._runs / self._ours.seconds("sqlite")

    def against(self) -> float:
        self._postgres.append(STEPS * self._runs / self._ours.seconds("postgres"))
        peer = Restate()
        try:
            peer.run(WARM_UP_RUNS, CLIENTS, "warm")
            seconds = peer.run(self._peer_runs, CLIENTS, "five")
        finally:
            peer.close()
        self._theirs.append(STEPS * self._peer_runs / seconds)
        return self._theirs[-1]

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 6

    def note(self) -> str:
        ratio = median(a / b for a, b in zip(self._postgres, self._theirs, strict=True))
        return (
            f"Ours on SQLite, {self._runs} runs; Restate with {self._peer_runs} runs of a keyed workflow, its server from "
            f"npm, one service process, default settings; {CLIENTS} clients. Ours on PostgreSQL: "
            f"{median(self._postgres):,.0f}, {ratio:.1f} x."
        )

    def close(self) -> None:
        self._databases.close()
