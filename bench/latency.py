"""`latency_added_p99`: time between an event and its call to the ERP, at half of full load.

The arrival times are drawn in advance, whether or not the engine keeps up. An event's time starts at its planned
arrival, so a stalled engine cannot hide its delay.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median

from bench.expressions import company
from bench.harness import percentile
from bench.path import CLIENTS, TIMEOUT_SECONDS, LocalSystem
from bench.w1 import Databases, Store, new_store
from counterfoil.connectors.sdk import Connector, Outcome, Request
from counterfoil.core import wire
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model

FULL_LOAD_EVENTS = 400
"""Number of events that measure full load, sent as fast as they are accepted."""
HALF_LOAD_SECONDS = 5.0
"""Duration of the half load."""
MIN_EVENTS = 120
KINDS = ("sqlite", "postgres")
POST = "ledger.cash.post"

SendEvent = Callable[[str, bytes], Awaitable[None]]


class Ledger(LocalSystem):
    """ERP that records the time of the call about each cash receipt."""

    def __init__(self) -> None:
        super().__init__([POST])
        self.called: dict[str, float] = {}
        self.expected = 0
        self.enough = asyncio.Event()

    def note(self, name: str) -> None:
        self.called.setdefault(name, time.perf_counter())
        if len(self.called) >= self.expected:
            self.enough.set()

    async def send(self, request: Request, timeout: float) -> Outcome:
        self.note(wire.read_json(request.body)["cash_id"])
        return await super().send(request, timeout)

    def expect(self, count: int) -> None:
        self.called.clear()
        self.expected = count
        self.enough.clear()


def events(tag: str, count: int) -> list[tuple[str, bytes]]:
    """Return (id, body) of deliveries."""
    return [
        (
            f"{tag}-{n}",
            wire.write_json(
                {"type": "cash.entered", "credit": f"{tag}-{n}", "cash": f"{tag}-{n}", "revision": 1,
                 "cents": 5_000, "currency": "USD"}
            ),
        )
        for n in range(count)
    ]  # fmt: skip


def arrivals(rate: float, count: int) -> list[float]:
    """Return arrival times in seconds: independent of each other, as from many senders, and equal in each round."""
    drawn, at, times = random.Random(7), 0.0, []
    for _ in range(count):
        at += drawn.expovariate(rate)
        times.append(at)
    return times


async def open_loop(
    bodies: Sequence[tuple[str, bytes]], times: Sequence[float], ledger: Ledger, send_event: SendEvent
) -> list[float]:
    """Return the seconds from each event's planned arrival to its call. Raises TimeoutError if calls are missing."""
    ledger.expect(len(bodies))
    began = time.perf_counter()
    tasks = []
    for (name, body), at in zip(bodies, times, strict=True):
        await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
        tasks.append(asyncio.ensure_future(send_event(name, body)))
    await asyncio.gather(*tasks)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await ledger.enough.wait()
    return [ledger.called[name] - began - at for (name, _), at in zip(bodies, times, strict=True)]


class LatencyAdded:
    """99th percentile of the latency, on the slower of the two stores."""

    unit = (
        "milliseconds from an event to its call to the ERP at half load, 99th percentile, on the slower store"
    )
    peer = "storing the receipt and calling at once, with the same arrivals"
    target = "< 50 ms"

    def __init__(
        self, full: int = FULL_LOAD_EVENTS, seconds: float = HALF_LOAD_SECONDS, fewest: int = MIN_EVENTS
    ) -> None:
        self._full = full
        self._fewest = fewest
        self._seconds = seconds
        self._model: Model = company()
        self._databases = Databases()
        self._rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._ours: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}

    def ours(self) -> float:
        return max(self._round(kind) for kind in KINDS)

    def _round(self, kind: str) -> float:
        seconds = asyncio.run(self.governed(kind))
        self._ours[kind].append(seconds)
        return 1e3 * percentile(seconds, 0.99)

    def against(self) -> float:
        return max(1e3 * percentile(asyncio.run(self.bare(kind)), 0.99) for kind in KINDS)

    def _times(self, kind: str) -> list[float]:
        """Return arrivals at half of the last measured rate."""
        rate = self._rates[kind][-1] / 2
        return arrivals(rate, max(self._fewest, round(rate * self._seconds)))

    async def governed(self, kind: str) -> list[float]:
        """Measure the full rate, then return the seconds of each event at half of it."""
        ledger = Ledger()
        connectors: dict[str, Connector] = {
            "support": LocalSystem([]),
            "billing": LocalSystem([]),
            "ledger": ledger,
        }
        async with new_store(kind, self._databases) as (store, _):
            releases = Releases(store, self._model)
            await releases.publish(await store.now(), "bench")
            worker = Worker(store, releases, connectors, "bench/1")
            running = asyncio.create_task(worker.run())
            send_event = self._sender(store, connectors["support"])
            try:
                await self._at_full_speed("warm", 20, ledger, send_event)
                seconds = await self._at_full_speed("full", self._full, ledger, send_event)
                self._rates[kind].append(self._full / seconds)
                times = self._times(kind)
                return await open_loop(events("half", len(times)), times, ledger, send_event)
            finally:
                worker.stop()
                await running

    async def _at_full_speed(self, tag: str, count: int, ledger: Ledger, send_event: SendEvent) -> float:
        """Send the events concurrently, and return the seconds until all calls have left."""
        gate = asyncio.Semaphore(CLIENTS)

        async def send(name: str, body: bytes) -> None:
            async with gate:
                await send_event(name, body)

        ledger.expect(count)
        began = time.perf_counter()
        await asyncio.gather(*(send(name, body) for name, body in events(tag, count)))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await ledger.enough.wait()
        return time.perf_counter() - began

    async def bare(self, kind: str) -> list[float]:
        """Return the seconds of each event at the arrivals of the previous governed round."""
        ledger = Ledger()
        async with new_store(kind, self._databases) as (store, _):
            store_event = self._sender(store, LocalSystem([]))

            async def send_event(name: str, body: bytes) -> None:
                await store_event(name, body)
                ledger.note(name)

            times = self._times(kind)
            return await open_loop(events("half", len(times)), times, ledger, send_event)

    def _sender(self, store: Store, connector: Connector) -> SendEvent:
        async def send_event(name: str, body: bytes) -> None:
            now = await store.now()
            answer = await receive_webhook(store, self._model, connector, "support", {}, body, now)
            if answer.verdict != "new":
                raise RuntimeError(f"the delivery {name} was {answer.verdict}")

        return send_event

    def met(self, ours: float, ratio: float) -> bool:
        return ours < 50

    def note(self) -> str:
        figures = [
            f"{kind}: p50 {self._median(kind, 0.5):.1f}, p99 {self._median(kind, 0.99):.1f} ms at "
            f"{median(self._rates[kind]) / 2:,.0f} events per second"
            for kind in KINDS
        ]
        return (
            f"One event, one Run, one call; random arrivals for {self._seconds:.0f} s. {'. '.join(figures)}."
        )

    def _median(self, kind: str, share: float) -> float:
        return median(1e3 * percentile(seconds, share) for seconds in self._ours[kind])

    def close(self) -> None:
        self._databases.close()
