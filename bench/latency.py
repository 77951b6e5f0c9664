"""`latency_added_p99`: what stands between an event and the call to the ERP that it asks for, at half of full load.

Events arrive at times that were drawn beforehand, whether the engine keeps up or not, and an event's time runs from
when it was due to arrive, so an engine that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median

from bench.expressions import company
from bench.harness import percentile
from bench.path import AT_ONCE, PATIENCE, Inside
from bench.w1 import Databases, Store, opened
from counterfoil.connectors.sdk import Connector, Outcome, Request
from counterfoil.core import wire
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model

FULL = 400
"""Events that full load is measured with, as fast as they are taken."""
SECONDS = 5.0
"""How long the half load lasts."""
FEWEST = 120
KINDS = ("sqlite", "postgres")
POST = "ledger.cash.post"

HandIn = Callable[[str, bytes], Awaitable[None]]


class Ledger(Inside):
    """The ERP: it notes when the call about each cash receipt arrives."""

    def __init__(self) -> None:
        super().__init__([POST])
        self.called: dict[str, float] = {}
        self.wanted = 0
        self.enough = asyncio.Event()

    def note(self, name: str) -> None:
        self.called.setdefault(name, time.perf_counter())
        if len(self.called) >= self.wanted:
            self.enough.set()

    async def send(self, request: Request, timeout: float) -> Outcome:
        self.note(wire.read_json(request.body)["cash_id"])
        return await super().send(request, timeout)

    def expect(self, count: int) -> None:
        self.called.clear()
        self.wanted = count
        self.enough.clear()


def events(tag: str, count: int) -> list[tuple[str, bytes]]:
    """(id, body) of deliveries."""
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
    """Seconds at which events arrive: independent of one another, as from many senders, the same in each round."""
    drawn, at, times = random.Random(7), 0.0, []
    for _ in range(count):
        at += drawn.expovariate(rate)
        times.append(at)
    return times


async def open_loop(
    bodies: Sequence[tuple[str, bytes]], times: Sequence[float], ledger: Ledger, hand_in: HandIn
) -> list[float]:
    """Seconds from each event's time to its call. Raises TimeoutError when calls are missing."""
    ledger.expect(len(bodies))
    began = time.perf_counter()
    tasks = []
    for (name, body), at in zip(bodies, times, strict=True):
        await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
        tasks.append(asyncio.ensure_future(hand_in(name, body)))
    await asyncio.gather(*tasks)
    async with asyncio.timeout(PATIENCE):
        await ledger.enough.wait()
    return [ledger.called[name] - began - at for (name, _), at in zip(bodies, times, strict=True)]


class LatencyAdded:
    """The 99th percentile on the slower of the two stores."""

    unit = (
        "milliseconds from an event to its call to the ERP at half load, 99th percentile, on the slower store"
    )
    peer = "keeping the receipt and calling at once, at the same arrivals"
    target = "< 50 ms"

    def __init__(self, full: int = FULL, seconds: float = SECONDS, fewest: int = FEWEST) -> None:
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
        """Arrivals at half of the rate that was measured last."""
        rate = self._rates[kind][-1] / 2
        return arrivals(rate, max(self._fewest, round(rate * self._seconds)))

    async def governed(self, kind: str) -> list[float]:
        """Seconds of each event at half of the rate that is measured first."""
        ledger = Ledger()
        connectors: dict[str, Connector] = {"support": Inside([]), "billing": Inside([]), "ledger": ledger}
        async with opened(kind, self._databases) as (store, _):
            releases = Releases(store, self._model)
            await releases.publish(await store.now(), "bench")
            pump = Worker(store, releases, connectors, "bench/1")
            running = asyncio.create_task(pump.run())
            hand_in = self._door(store, connectors["support"])
            try:
                await self._as_fast_as_it_goes("warm", 20, ledger, hand_in)
                seconds = await self._as_fast_as_it_goes("full", self._full, ledger, hand_in)
                self._rates[kind].append(self._full / seconds)
                times = self._times(kind)
                return await open_loop(events("half", len(times)), times, ledger, hand_in)
            finally:
                pump.stop()
                await running

    async def _as_fast_as_it_goes(self, tag: str, count: int, ledger: Ledger, hand_in: HandIn) -> float:
        """Seconds until all calls have left."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, body: bytes) -> None:
            async with gate:
                await hand_in(name, body)

        ledger.expect(count)
        began = time.perf_counter()
        await asyncio.gather(*(one(name, body) for name, body in events(tag, count)))
        async with asyncio.timeout(PATIENCE):
            await ledger.enough.wait()
        return time.perf_counter() - began

    async def bare(self, kind: str) -> list[float]:
        """Seconds of each event at the arrivals of the governed round before."""
        ledger = Ledger()
        async with opened(kind, self._databases) as (store, _):
            keep = self._door(store, Inside([]))

            async def hand_in(name: str, body: bytes) -> None:
                await keep(name, body)
                ledger.note(name)

            times = self._times(kind)
            return await open_loop(events("half", len(times)), times, ledger, hand_in)

    def _door(self, store: Store, connector: Connector) -> HandIn:
        async def hand_in(name: str, body: bytes) -> None:
            now = await store.now()
            answer = await receive_webhook(store, self._model, connector, "support", {}, body, now)
            if answer.verdict != "new":
                raise RuntimeError(f"{name} was handed in as {answer.verdict}")

        return hand_in

    def met(self, ours: float, ratio: float) -> bool:
        return ours < 50

    def note(self) -> str:
        said = [
            f"{kind}: p50 {self._median(kind, 0.5):.1f}, p99 {self._median(kind, 0.99):.1f} ms at "
            f"{median(self._rates[kind]) / 2:,.0f} events a second"
            for kind in KINDS
        ]
        return f"One event, one Run, one call; random arrivals for {self._seconds:.0f} s. {'. '.join(said)}."

    def _median(self, kind: str, share: float) -> float:
        return median(1e3 * percentile(seconds, share) for seconds in self._ours[kind])

    def close(self) -> None:
        self._databases.close()
