"""Polling of the feeds that systems declare, one task per feed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import datetime

import msgspec

from counterfoil.connectors.sdk import Connector
from counterfoil.core.errors import CounterfoilError, TryAgain, log_text
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_page
from counterfoil.flow.worker import worker_cases
from counterfoil.model.kinds import seconds
from counterfoil.store.port.store import Store

log = logging.getLogger("counterfoil.worker")
MAX_PAGE_DELIVERIES = 200
PAGE_TIMEOUT_SECONDS = 30.0
MAX_FAILURES = 10
SLOWDOWN_MAX_FACTOR = 8
"""Factor by which failures lengthen the interval of a feed at most."""


class FeedHealth(msgspec.Struct):
    """Health of a feed; failures slow its polling down."""

    last: datetime | None = None
    deliveries: int = 0
    failures: int = 0
    error: str = ""


async def poll(
    store: Store, releases: Releases, connectors: Mapping[str, Connector], system: str, feed: str
) -> int:
    """Read a feed from its cursor to its present end. Return the number of new deliveries.

    The cursor moves with each stored page. Raises what the connector raises.
    """
    new = 0
    while True:
        cursor = await store.cursor(system, feed)
        page = await connectors[system].poll(feed, cursor, MAX_PAGE_DELIVERIES, PAGE_TIMEOUT_SECONDS)
        if page.cursor != cursor or page.deliveries:
            now, model = await store.now(), releases.present
            received = await receive_page(store, model, system, feed, page.deliveries, page.cursor, now)
            new += received.verdicts.count("new")
        if not page.more:
            return new


class FeedPoller:
    """Polls the feeds of the active Release until `stopping` is set."""

    def __init__(
        self, store: Store, releases: Releases, connectors: Mapping[str, Connector], stopping: asyncio.Event
    ) -> None:
        self._store, self._releases, self._connectors = store, releases, connectors
        self._stopping = stopping
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.states: dict[tuple[str, str], FeedHealth] = {}

    def start_missing(self) -> None:
        """Start a task for each declared feed that has none."""
        for name, system in self._releases.present.systems.items():
            for feed in system.feeds if name in self._connectors else ():
                task = self._tasks.get((name, feed))
                if task is None or task.done():
                    self._tasks[name, feed] = asyncio.create_task(self.run(name, feed))

    async def wait(self) -> None:
        """Return when every task has ended."""
        await asyncio.gather(*self._tasks.values())

    def _interval(self, system: str, feed: str) -> float | None:
        """Return the seconds between reads of a feed; None if it is no longer declared."""
        kind = self._releases.present.systems.get(system)
        spec = kind.feeds.get(feed) if kind is not None and system in self._connectors else None
        return None if spec is None else seconds(spec.every)

    async def run(self, system: str, feed: str) -> None:
        """Poll one feed until it is no longer declared, or the worker stops."""
        state = self.states.setdefault((system, feed), FeedHealth())
        while not self._stopping.is_set():
            interval = self._interval(system, feed)
            if interval is None:
                del self.states[system, feed]
                return
            await self._poll(system, feed, state)
            seconds_ = interval * min(SLOWDOWN_MAX_FACTOR, 1 + state.failures)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds_)

    async def _poll(self, system: str, feed: str, state: FeedHealth) -> None:
        try:
            state.deliveries += await poll(self._store, self._releases, self._connectors, system, feed)
            state.last, state.failures, state.error = await self._store.now(), 0, ""
        except CounterfoilError as error:
            log.warning("poll of %s.%s: %s", system, feed, log_text(error))
            await self._count_failure(system, state, str(error))
        except Exception:
            state.failures += 1
            state.error = "an internal error; the server's log describes it"
            log.exception("poll of %s.%s failed", system, feed)

    async def _count_failure(self, system: str, state: FeedHealth, error: str) -> None:
        """Count a failure against the system, unless the store is away."""
        try:
            now = await self._store.now()
            if state.failures + 1 == MAX_FAILURES:
                await worker_cases.open_unreachable(self._store, self._releases, system, error, now)
        except TryAgain as away:
            log.warning("poll of %s: %s", system, away)
            return
        state.failures += 1
        state.error = error
