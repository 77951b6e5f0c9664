"""`w1_vs_dbos` and `w1_vs_restate`: durable steps per second, relative to the two best known durable executors.

The peers execute five steps that each add one; Counterfoil executes five governed calls. Every side keeps its default
durability. The same number of clients starts workflows one by one on every side, in the same loop: closed (each client
waits for the result before its next start) for the figure, and open (it waits only until the start is durable) for the note.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from bench import processor
from bench.path import CLIENTS
from bench.peers import dbos
from bench.peers.restate import Restate
from bench.w1 import RUNS, STEPS, WARM_UP_RUNS, Cost, Databases, FiveCalls, Loop

DBOS_RUNS = 200
RESTATE_RUNS = 600
LOOPS: tuple[Loop, Loop] = ("closed", "open")
Costs = Mapping[Loop, list[Cost]]


class W1VsDbos:
    """W1 on the same PostgreSQL server; each side has its own database."""

    unit = "durable workflow steps per second, each client waiting for its result"
    peer = "DBOS on the same PostgreSQL"
    target = ">= 3.5 x"

    def __init__(self, runs: int = RUNS, peer_runs: int = DBOS_RUNS) -> None:
        self._databases = Databases()
        self._five = FiveCalls(self._databases, runs)
        self._runs = runs
        self._peer_runs = peer_runs
        self._ours: Costs = defaultdict(list)
        self._theirs: Costs = defaultdict(list)

    def ours(self) -> float:
        for loop in LOOPS:
            self._ours[loop].append(self._five.cost("postgres", loop))
        return self._ours["closed"][-1].rate

    def against(self) -> float:
        for loop in LOOPS:
            dsn = asyncio.run(self._databases.new())
            try:
                self._theirs[loop].append(self._dbos(dbos.postgres_url(dsn), "postgres", loop))
            finally:
                asyncio.run(self._databases.drop(dsn))
        return self._theirs["closed"][-1].rate

    def _dbos(self, url: str, kind: str, loop: Loop) -> Cost:
        peer = dbos.executor(url, "bench")
        try:
            peer.do(do="run", runs=WARM_UP_RUNS, at_once=CLIENTS, tag="warm", wait=True)
            processes, servers = processor.family(peer.process.pid), self._databases.processes(kind)
            used, database = processor.seconds(processes), processor.seconds(servers)
            done = peer.do(do="run", runs=self._peer_runs, at_once=CLIENTS, tag="five", wait=loop == "closed")
            used, database = processor.seconds(processes) - used, processor.seconds(servers) - database
        finally:
            peer.close()
        return Cost(STEPS * self._peer_runs, float(done["seconds"]), used, database)

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 3.5

    def note(self) -> str:
        ours, theirs = [], []
        for _ in self._ours["closed"]:
            ours.append(self._five.cost("sqlite", "closed"))
            with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
                theirs.append(self._dbos(f"sqlite:///{folder}/dbos.sqlite", "sqlite", "closed"))
        return (
            f"{self._runs} runs of ours, {self._peer_runs} of DBOS, {CLIENTS} clients, one process on each side. Starts are "
            "keyed and durable. DBOS: asynchronous workflows and steps, default settings. "
            f"Processor time per step: {_middle(self._ours['closed'])}; DBOS {_middle(self._theirs['closed'])}. "
            f"{_compared('Open loop', self._ours['open'], self._theirs['open'])} "
            f"{_compared('On SQLite', ours, theirs)}"
        )

    def close(self) -> None:
        self._databases.close()


class W1VsRestate:
    """W1 on our embedded store, relative to Restate's server with its embedded store."""

    unit = "durable workflow steps per second, each client waiting for its result"
    peer = "Restate"
    target = ">= 1.3 x"

    def __init__(self, runs: int = RUNS, peer_runs: int = RESTATE_RUNS) -> None:
        self._databases = Databases()
        self._five = FiveCalls(self._databases, runs)
        self._runs = runs
        self._peer_runs = peer_runs
        self._ours: Costs = defaultdict(list)
        self._theirs: Costs = defaultdict(list)
        self._postgres: list[Cost] = []

    def ours(self) -> float:
        for loop in LOOPS:
            self._ours[loop].append(self._five.cost("sqlite", loop))
        return self._ours["closed"][-1].rate

    def against(self) -> float:
        self._postgres.append(self._five.cost("postgres", "closed"))
        for loop in LOOPS:
            self._theirs[loop].append(self._restate(loop))
        return self._theirs["closed"][-1].rate

    def _restate(self, loop: Loop) -> Cost:
        peer = Restate()
        try:
            peer.run(WARM_UP_RUNS, CLIENTS, "warm")
            services = {each for worker in peer.workers for each in processor.family(worker.pid)}
            servers = processor.family(peer.server.pid)
            used, database = processor.seconds(services) + time.process_time(), processor.seconds(servers)
            passed = peer.run(self._peer_runs, CLIENTS, "five", wait=loop == "closed")
            used = processor.seconds(services) + time.process_time() - used
            database = processor.seconds(servers) - database
        finally:
            peer.close()
        return Cost(STEPS * self._peer_runs, passed, used, database)

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 1.3

    def note(self) -> str:
        return (
            f"Ours on SQLite, {self._runs} runs; Restate with {self._peer_runs} runs of a keyed workflow, its server from "
            f"npm, one service process, default settings; {CLIENTS} clients. "
            f"Processor time per step: {_middle(self._ours['closed'])}; Restate {_middle(self._theirs['closed'])}, which is "
            f"its server. {_compared('Open loop', self._ours['open'], self._theirs['open'])} "
            f"{_compared('Ours on PostgreSQL', self._postgres, self._theirs['closed'])}"
        )

    def close(self) -> None:
        self._databases.close()


def _middle(costs: list[Cost]) -> Cost:
    """Return the cost of the round with the median of processor times."""
    return sorted(costs, key=lambda cost: cost.processor + cost.database)[len(costs) // 2]


def _compared(what: str, ours: list[Cost], theirs: list[Cost]) -> str:
    ratio = median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
    rates = (median(cost.rate for cost in side) for side in (ours, theirs))
    return f"{what}: {' against '.join(f'{rate:,.0f}' for rate in rates)}, {ratio:.1f} x."
