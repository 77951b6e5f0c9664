"""`governed_overhead` and `w1_vs_limit`: the whole path of an event on SQLite, in one process.

Deliveries arrive as webhooks, one by one, each acknowledged when it is durable. The outside systems respond at once from
the same process, so that only the engine is measured.
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
    Absent,
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
from counterfoil.core.people import Person
from counterfoil.core.run import TERMINAL, RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.port.people import PutPerson
from counterfoil.store.port.store import Store
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.turns import ConcludeAndTurn, Turn
from counterfoil.store.sql.group_commit import ItemResult as Committed
from counterfoil.store.sql.sqlite import SqliteStore

RUNS = 300
CLIENTS = 64
"""Number of concurrent deliveries, as from this number of clients."""
STEPS = 5
TIMEOUT_SECONDS = 300.0
PACKAGE = Path(counterfoil.__file__).parent


AGENT = Person(id="ann", name="Ann", email="ann@example.com", roles=("support-agent",))
"""Who requests the credits."""


class LocalSystem:
    """Outside system in this process. It accepts every delivery and confirms every call at once."""

    feeds: Sequence[str] = ()

    def __init__(self, names: Sequence[str]) -> None:
        self.operations: Mapping[str, OperationSpec] = {
            name: OperationSpec(name, Repeat.UNIQUE, horizon=60) for name in names
        }
        self.taken: set[str] = set()
        """Keys of the calls that it has taken."""

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        content = wire.read_json(body)
        name = f"{content['type']}:{content['credit']}"
        return Delivery(ext_id=name, type=content["type"], identity=body, body=content)

    async def send(self, request: Request, timeout: float) -> Outcome:
        self.taken.add(request.key)
        return Confirmed({"number": request.key})

    async def find(self, request: Request, timeout: float) -> Finding:
        return Confirmed({"number": request.key}) if request.key in self.taken else Absent()

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        raise Misconfigured(f"there is no read operation {operation}")

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        raise Misconfigured(f"there is no feed {feed}")

    async def check(self, timeout: float) -> None:
        """Succeed always."""

    async def close(self) -> None:
        """Release nothing."""


class RecordingStore(SqliteStore):
    """SQLite store that records each committed batch and counts ended Runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[Sequence[Transition[Any]]] = []
        self.ended = 0
        self.enough = asyncio.Event()
        self.expected = 0

    async def _commit(self, batch: Sequence[Transition[Any]]) -> list[Committed]:
        self.batches.append(batch)
        outcomes = await super()._commit(batch)
        for transition, outcome in zip(batch, outcomes, strict=True):
            turn, answer = transition, outcome.answer
            if isinstance(transition, ConcludeAndTurn):
                turn, answer = transition.turn, None if answer is None else answer.turned
            if isinstance(turn, Turn) and turn.status in TERMINAL:
                if turn.status is not RunStatus.DONE:
                    raise RuntimeError(f"{turn.run} ended as {turn.status}: the figure would be wrong")
                self.ended += answer is not None and answer.verdict == "done"
        if self.expected and self.ended >= self.expected:
            self.enough.set()
        return outcomes

    async def replay(self, batches: Sequence[Sequence[Transition[Any]]]) -> int:
        """Commit recorded batches again, and return the number of ended Runs."""
        for batch in batches:
            await self._commit(batch)
        return self.ended


def thread_seconds() -> dict[str, float]:
    """Return the processor time of the store's threads, by task."""
    spent: defaultdict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.name.startswith("counterfoil-") and thread.ident is not None:
            kind = thread.name.removeprefix("counterfoil-").split("_")[0]
            spent[kind] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return dict(spent)


def deliveries(runs: int) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """Return (system, body) of every credit request, and of the ledger's observation of each credit."""
    requests, observations = [], []
    for n in range(runs):
        about = {"credit": f"CR-{n}", "revision": 1, "cents": 5_000 + n % 5_000, "currency": "USD"}
        requests.append(
            (
                "support",
                wire.write_json(
                    {"type": "credit.requested", **about, "customer": f"C-{n}", "agent": AGENT.id}
                ),
            )
        )
        observations.append(("ledger", wire.write_json({"type": "credit.posted", **about})))
    return requests, observations


async def deliver(
    store: Store,
    model: Model,
    connectors: Mapping[str, Connector],
    bodies: Sequence[tuple[str, bytes]],
) -> None:
    """Send each delivery by itself, `CLIENTS` of them concurrently; return when all are durable."""
    await store.apply(PutPerson(person=AGENT, at=await store.now(), actor="bench"))
    gate = asyncio.Semaphore(CLIENTS)

    async def send(system: str, body: bytes) -> None:
        async with gate:
            await send_one(store, model, connectors, system, body)

    await asyncio.gather(*(send(system, body) for system, body in bodies))


async def send_one(
    store: Store, model: Model, connectors: Mapping[str, Connector], system: str, body: bytes
) -> None:
    """Send one delivery; return when it is durable. Raises RuntimeError unless it is new."""
    answer = await receive_webhook(store, model, connectors[system], system, {}, body, await store.now())
    if answer.verdict != "new":
        raise RuntimeError(f"a delivery of {system} was {answer.verdict}")


class FiveStepPath:
    """Five-step workflow from delivery to matched counterfoil, and the work that it is compared with."""

    def __init__(self, runs: int = RUNS) -> None:
        self.runs = runs
        self.model = company()
        self.connectors: dict[str, Connector] = {
            "support": LocalSystem([]),
            "billing": LocalSystem(["billing.credit.issue", "billing.credit.void"]),
            "ledger": LocalSystem(["ledger.credit.post"]),
        }
        self.recorded: list[Sequence[Transition[Any]]] = []
        self.cpu: dict[str, float] = {}

    def on_store(self, work: Callable[[RecordingStore], Awaitable[float]]) -> float:
        """Run `work` on a new store in a temporary folder."""

        async def within() -> float:
            with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
                store = await RecordingStore.open(Path(folder) / "bench.sqlite")
                try:
                    return await work(store)
                finally:
                    await store.close()

        return asyncio.run(within())

    async def full(self, store: RecordingStore) -> float:
        """Process all deliveries; return the seconds until the last Run is done."""
        releases = Releases(store, self.model)
        await releases.publish(await store.now(), "bench")
        worker = Worker(store, releases, self.connectors, "bench/1")
        store.expected = self.runs
        requests, observations = deliveries(self.runs)
        running = asyncio.create_task(worker.run())
        try:
            began = time.perf_counter()
            await deliver(store, self.model, self.connectors, requests)
            # The ledger's observations follow at once, so that no Run waits for a timer.
            await deliver(store, self.model, self.connectors, observations)
            await asyncio.wait_for(store.enough.wait(), TIMEOUT_SECONDS)
            seconds = time.perf_counter() - began
        finally:
            worker.stop()
            await running
        self.recorded = store.batches
        self.cpu = thread_seconds()
        return seconds

    async def bare(self, store: RecordingStore) -> float:
        """Store the same deliveries durably without processing; return the seconds."""
        requests, observations = deliveries(self.runs)
        began = time.perf_counter()
        await deliver(store, self.model, self.connectors, requests)
        await deliver(store, self.model, self.connectors, observations)
        return time.perf_counter() - began

    async def replayed(self, store: RecordingStore) -> float:
        """Commit the recorded batches of the last full run again; return the seconds."""
        began = time.perf_counter()
        ended = await store.replay(self.recorded)
        seconds = time.perf_counter() - began
        if ended != self.runs:
            raise RuntimeError(f"the replay ended {ended} of {self.runs} runs: its work was not the same")
        return seconds


class W1Limit:
    """Workflow steps per second, relative to the store's own limit for the same transitions."""

    unit = "workflow steps per second"
    peer = "committing the same batches to the same store without the engine"
    target = ">= 0.5"

    def __init__(self, runs: int = RUNS) -> None:
        self._path = FiveStepPath(runs)
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
            f"{self._path.runs} runs of {STEPS} steps on SQLite, started one by one, {CLIENTS} concurrently, keyed, "
            f"with intents, outcomes, foils, observations and leaves: {transitions / self._path.runs:.1f} transitions "
            f"per run, in batches of {transitions / max(1, len(batches)):.1f}."
        )


class GovernedOverhead:
    """Deliveries per second through the whole engine, relative to storing them only."""

    unit = "deliveries per second"
    peer = "inserting the same receipts without processing"
    target = None

    def __init__(self, runs: int = RUNS) -> None:
        self._path = FiveStepPath(runs)

    def ours(self) -> float:
        return 2 * self._path.runs / self._path.on_store(self._path.full)

    def against(self) -> float:
        return 2 * self._path.runs / self._path.on_store(self._path.bare)

    def met(self, ours: float, ratio: float) -> None:
        """Return nothing: the figure has no target."""

    def note(self) -> str:
        profile = cProfile.Profile()

        async def profiled(store: RecordingStore) -> float:
            profile.enable()
            try:
                return await self._path.full(store)
            finally:
                profile.disable()

        self._path.on_store(profiled)
        shares = seconds_by_floor(profile) | {
            f"SQLite {name}": spent for name, spent in self._path.cpu.items()
        }
        whole = sum(shares.values())
        parts = [f"{name} {spent / whole:.0%}" for name, spent in sorted(shares.items(), key=lambda s: -s[1])]
        return (
            f"Half of the deliveries start a run of {STEPS} steps; the other half are the observations that match its foil. "
            f"Processor time by part (cProfile on the event loop, thread clocks elsewhere): {', '.join(parts)}."
        )


def seconds_by_floor(profile: cProfile.Profile) -> dict[str, float]:
    """Return seconds by floor of the package, without waiting. Library code counts for the floor of its caller."""
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
