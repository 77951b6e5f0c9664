"""`w1_vs_dbos` and `w1_vs_restate`: durable steps per second beside the two best known durable executors.

The peers do five steps that each add one, ours five governed calls; every side keeps what it ships with to survive a
power cut. The same number of clients starts workflows one by one on every side.
"""

from __future__ import annotations

import asyncio
import tempfile
from statistics import median

from bench.path import AT_ONCE
from bench.peers import dbos
from bench.peers.restate import Restate
from bench.w1 import RUNS, STEPS, WARM, Databases, FiveCalls

DBOS_RUNS = 200
RESTATE_RUNS = 600
BESIDE = 3
"""Rounds of the other store, told in the note."""


class W1VsDbos:
    """W1 on the same PostgreSQL, each side in a database of its own."""

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
            peer.do(do="run", runs=WARM, at_once=AT_ONCE, tag="warm")
            done = peer.do(do="run", runs=self._peer_runs, at_once=AT_ONCE, tag="five")
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
            f"{self._runs} runs of ours, {self._peer_runs} of DBOS, {AT_ONCE} clients, one process on each side; keyed "
            "starts, each durable before the next of its client. DBOS: asynchronous workflows and steps, settings as "
            f"shipped. On SQLite in the same way: {median(ours):,.0f} against {median(theirs):,.0f}, "
            f"{median(a / b for a, b in zip(ours, theirs, strict=True)):.1f} x."
        )

    def close(self) -> None:
        self._databases.close()


class W1VsRestate:
    """W1 on our embedded store against Restate's server with its embedded store."""

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
            peer.run(WARM, AT_ONCE, "warm")
            seconds = peer.run(self._peer_runs, AT_ONCE, "five")
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
            f"npm, one service process, settings as shipped; {AT_ONCE} clients. Ours on PostgreSQL: "
            f"{median(self._postgres):,.0f}, {ratio:.1f} x."
        )

    def close(self) -> None:
        self._databases.close()
