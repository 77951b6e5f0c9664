"""`governed_overhead` and `w1_vs_limit`: the whole path of an event on SQLite, in one process.

Deliveries go in as webhooks, one by one, each acknowledged when it is durable; the outside systems answer at once
from inside the process, so that what is measured is ours alone.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import counterfoil
from bench.expressions import company
from counterfoil.connectors.sdk import (
    Confirmed,
    Connector,
    Delivery,
    Finding,
    OperationSpec,
    Outcome,
    Page,
    Repeat,
    Request,
)
from counterfoil.core import wire
from counterfoil.core.errors import Misconfigured
from counterfoil.core.run import TERMINAL, RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.port.store import Store
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.turns import Advance, Turn
from counterfoil.store.sql.group_commit import BatchResult as Committed
from counterfoil.store.sql.sqlite import SqliteStore

RUNS = 300
AT_ONCE = 64
"""Deliveries under way at once, as from that many clients."""
STEPS = 5
PATIENCE = 300.0
PACKAGE = Path(counterfoil.__file__).parent


class Inside:
    """An outside system that lives in this process: it takes every delivery and confirms every call at once."""

    feeds: Sequence[str] = ()

    def __init__(self, names: Sequence[str]) -> None:
        self.operations: Mapping[str, OperationSpec] = {
            name: OperationSpec(name, Repeat.UNIQUE, horizon=60) for name in names
        }

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        content = wire.read_json(body)
        name = f"{content['type']}:{content['credit']}"
        return Delivery(ext_id=name, type=content["type"], identity=body, body=content)

    async def send(self, request: Request, timeout: float) -> Outcome:
        return Confirmed({"number": request.key})

    async def find(self, request: Request, timeout: float) -> Finding:
        return Confirmed({"number": request.key})

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        raise Misconfigured(f"there is no read operation {operation}")

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        raise Misconfigured(f"there is no feed {feed}")

    async def check(self, timeout: float) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to let go of."""


class Watched(SqliteStore):
    """The store as it is, remembering each committed batch and noticing Runs that come to an end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[Sequence[Transition[Any]]] = []
        self.ended = 0
        self.enough = asyncio.Event()
        self.wanted = 0

    async def _commit(self, batch: Sequence[Transition[Any]]) -> list[Committed]:
        self.batches.append(batch)
        outcomes = await super()._commit(batch)
        for transition, outcome in zip(batch, outcomes, strict=True):
            turn, answer = transition, outcome.answer
            if isinstance(transition, Advance):
                turn, answer = transition.turn, None if answer is None else answer.turned
            if isinstance(turn, Turn) and turn.status in TERMINAL:
                if turn.status is not RunStatus.DONE:
                    raise RuntimeError(f"{turn.run} ended as {turn.status}: the figure would be false")
                self.ended += answer is not None and answer.verdict == "done"
        if self.wanted and self.ended >= self.wanted:
            self.enough.set()
        return outcomes

    async def replay(self, batches: Sequence[Sequence[Transition[Any]]]) -> int:
        """Commit recorded batches as they were, nothing else; how many Runs ended."""
        for batch in batches:
            await self._commit(batch)
        return self.ended


def thread_seconds() -> dict[str, float]:
    """Processor time of the store's threads, by what they do."""
    spent: defaultdict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.name.startswith("counterfoil-") and thread.ident is not None:
            kind = thread.name.removeprefix("counterfoil-").split("_")[0]
            spent[kind] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return dict(spent)


def deliveries(runs: int) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """(system, body) of every request for a credit, and of what the ledger shows of each in the end."""
    asked, shown = [], []
    for n in range(runs):
        about = {"credit": f"CR-{n}", "revision": 1, "cents": 5_000 + n % 5_000, "currency": "USD"}
        asked.append(
            (
                "support",
                wire.write_json({"type": "credit.requested", **about, "customer": f"C-{n}", "agent": "ann"}),
            )
        )
        shown.append(("ledger", wire.write_json({"type": "credit.posted", **about})))
    return asked, shown


async def hand_in(
    store: Store,
    model: Model,
    connectors: Mapping[str, Connector],
    bodies: Sequence[tuple[str, bytes]],
) -> None:
    """Each delivery by itself, `AT_ONCE` of them under way; returns when all are durable."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(system: str, body: bytes) -> None:
        async with gate:
            now = await store.now()
            answer = await receive_webhook(store, model, connectors[system], system, {}, body, now)
            if answer.verdict != "new":
                raise RuntimeError(f"{system} handed in something {answer.verdict}")

    await asyncio.gather(*(one(system, body) for system, body in bodies))


class Path5:
    """The five-step workflow from delivery to matched counterfoil, and what it is compared with."""

    def __init__(self, runs: int = RUNS) -> None:
        self.runs = runs
        self.model = company()
        self.connectors: dict[str, Connector] = {
            "support": Inside([]),
            "billing": Inside(["billing.credit.issue", "billing.credit.void"]),
            "ledger": Inside(["ledger.credit.post"]),
        }
        self.recorded: list[Sequence[Transition[Any]]] = []
        self.cpu: dict[str, float] = {}

    def on_store(self, work: Callable[[Watched], Awaitable[float]]) -> float:
        """Do `work` on a new store in a folder of its own."""

        async def within() -> float:
            with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
                store = await Watched.open(Path(folder) / "bench.sqlite")
                try:
                    return await work(store)
                finally:
                    await store.close()

        return asyncio.run(within())

    async def full(self, store: Watched) -> float:
        """Seconds from the first delivery until the last Run is done."""
        releases = Releases(store, self.model)
        await releases.publish(await store.now(), "bench")
        pump = Worker(store, releases, self.connectors, "bench/1")
        store.wanted = self.runs
        asked, shown = deliveries(self.runs)
        running = asyncio.create_task(pump.run())
        try:
            began = time.perf_counter()
            await hand_in(store, self.model, self.connectors, asked)
            # What the ledger shows comes after what it was asked; here at once, so that no Run waits for a clock.
            await hand_in(store, self.model, self.connectors, shown)
            await asyncio.wait_for(store.enough.wait(), PATIENCE)
            seconds = time.perf_counter() - began
        finally:
            pump.stop()
            await running
        self.recorded = store.batches
        self.cpu = thread_seconds()
        return seconds

    async def bare(self, store: Watched) -> float:
        """Seconds to keep the same deliveries durably and do nothing more."""
        asked, shown = deliveries(self.runs)
        began = time.perf_counter()
        await hand_in(store, self.model, self.connectors, asked)
        await hand_in(store, self.model, self.connectors, shown)
        return time.perf_counter() - began

    async def replayed(self, store: Watched) -> float:
        """Seconds to commit the transitions of the last full run again, in the batches that they had."""
        began = time.perf_counter()
        ended = await store.replay(self.recorded)
        seconds = time.perf_counter() - began
        if ended != self.runs:
            raise RuntimeError(f"the replay ended {ended} of {self.runs} runs: it did not do the same work")
        return seconds


class W1Limit:
    """Workflow steps per second against the store's own limit for the very same transitions."""

    unit = "workflow steps per second"
    peer = "a bare replay of the same committed batches on the same store"
    target = ">= 0.5"

    def __init__(self, runs: int = RUNS) -> None:
        self._path = Path5(runs)
        self._steps = runs * STEPS

    def ours(self) -> float:
        return self._steps / self._path.on_store(self._path.full)

    def against(self) -> float:
        return self._steps / self._path.on_store(self._path.replayed)

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 0.5

    def note(self) -> str:
        batches = self._path.recorded
        transitions = sum(len(batch) for batch in batches)
        return (
            f"{self._path.runs} runs of {STEPS} steps on SQLite, started one by one with {AT_ONCE} under way, keyed, "
            f"with intents, outcomes, foils, observations and leaves: {transitions / self._path.runs:.1f} transitions "
            f"for each run in batches of {transitions / max(1, len(batches)):.1f}."
        )


class GovernedOverhead:
    """Deliveries per second through everything, against keeping them and doing nothing more."""

    unit = "deliveries per second"
    peer = "the bare keeping of the same receipts"
    target = None

    def __init__(self, runs: int = RUNS) -> None:
        self._path = Path5(runs)

    def ours(self) -> float:
        return 2 * self._path.runs / self._path.on_store(self._path.full)

    def against(self) -> float:
        return 2 * self._path.runs / self._path.on_store(self._path.bare)

    def met(self, ours: float, ratio: float) -> None:
        """Printed and explained; there is nothing to reach."""

    def note(self) -> str:
        profile = cProfile.Profile()

        async def profiled(store: Watched) -> float:
            profile.enable()
            try:
                return await self._path.full(store)
            finally:
                profile.disable()

        self._path.on_store(profiled)
        shares = floors(profile) | {f"SQLite {name}": spent for name, spent in self._path.cpu.items()}
        whole = sum(shares.values())
        parts = [f"{name} {spent / whole:.0%}" for name, spent in sorted(shares.items(), key=lambda s: -s[1])]
        return (
            f"Half of the deliveries start a run of {STEPS} steps, half are the observation that matches its foil. "
            f"Where processor time goes (cProfile on the event loop, thread clocks beside it): {', '.join(parts)}."
        )


def floors(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds by floor of the package; what belongs to none counts for its caller's floor, waiting for nobody."""
    spent: defaultdict[str, float] = defaultdict(float)
    for (file, _, name), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if name in WAITING:
            continue
        floor = _floor(file)
        if floor is not None:
            spent[floor] += own
            continue
        for (caller, _, _), (_, _, part, _) in callers.items():
            spent[_floor(caller) or "asyncio and library"] += part
    return {name: seconds for name, seconds in spent.items() if seconds > 0}


WAITING = {"<method 'poll' of 'select.epoll' objects>", "<method 'acquire' of '_thread.lock' objects>"}


def _floor(file: str) -> str | None:
    path = Path(file)
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "bench" if path.is_relative_to(Path(__file__).parent) else None
