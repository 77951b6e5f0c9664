"""Hot reload of the active Release, without a restart.

Connectors of new and changed systems are built before the process switches. An old connector is closed once none of its
calls can be in flight; the connector of a removed system, once no Run is pinned to a Release that has it.

For up to a second a process may work by the former Release. The store rejects its admissions, because Runs of the new
Release may wait for events that only the new one posts. It may still decide by the former approval matrices; such an
approval is revoked before a call that needs it is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from counterfoil.connectors.sdk import Connector
from counterfoil.core.errors import CounterfoilError, Misconfigured
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.model.connector_changes import connected, to_build
from counterfoil.model.kinds import seconds
from counterfoil.store.port.releases import ExpirePlans
from counterfoil.store.port.store import Store
from counterfoil.store.port.wake import WakeKind

log = logging.getLogger("counterfoil.follow")
POLL_SECONDS = 1.0
"""Interval between reads of the active Release without a wake-up."""
MIN_CLOSE_SECONDS = 40.0
"""Minimum time before an old connector is closed: one read of a feed may take as long."""
CLEANUP_INTERVAL = timedelta(seconds=60)
"""Interval between clean-ups of expired plans and of connectors of removed systems."""
Build = Callable[[Model, Iterable[str]], dict[str, Connector]]
"""Builds the connectors of the named systems of a model. Raises Misconfigured."""


@dataclass(slots=True)
class _FormerRelease:
    connector: Connector
    closes_at: float


class ReleaseFollower:
    """Keeps one process at the active Release. `connectors` is shared in the process and changed in place."""

    def __init__(
        self, store: Store, releases: Releases, connectors: dict[str, Connector], worker: Worker, build: Build
    ) -> None:
        self._store, self._releases, self._connectors = store, releases, connectors
        self._worker, self._build = worker, build
        self._lock = asyncio.Lock()
        self._old: list[_FormerRelease] = []
        self._cleaned_at: float | None = None
        self.failed = ""
        """Reason why this process cannot switch to the active Release."""

    async def run(self) -> None:
        """Follow the active Release until cancelled."""
        while True:
            try:
                await self.look()
                await self._clean_up()
            except CounterfoilError as error:
                log.warning("release: %s", error)
            except Exception:
                log.exception("release: the next round tries again")
            await self._store.wait_for_wake(WakeKind.RELEASE, POLL_SECONDS)

    async def look(self) -> bool:
        """Switch to the active Release if it is another one. Return True if it was.

        If the switch fails, the worker stops: it may not continue by a Release that is no longer active.
        """
        async with self._lock:
            digest = await self._store.active_release()
            if digest is None or digest == self._releases.present.digest:
                return False
            model = await self._releases.model(digest)
            try:
                self._connect(model)
            except Misconfigured as error:
                if not self.failed:
                    log.critical("release %s: this worker stops: %s", digest[:12], error)
                self.failed = f"release {digest[:12]} cannot be loaded: {error}"
                self._worker.stop()
                return False
            self.failed = ""
            await self._releases.take_up(model)
            self._worker.take_up(model)
            log.info("release %s is active", digest[:12])
            return True

    def _connect(self, model: Model) -> None:
        """Build new connectors, and mark the replaced ones for closing."""
        names = to_build(self._releases.present, model)
        fresh = self._build(model, [*names, *(connected(model.systems) - set(self._connectors) - set(names))])
        loop = asyncio.get_running_loop()
        timeouts = [seconds(op.timeout) for op in self._releases.present.operations.values()]
        closes_at = loop.time() + max([MIN_CLOSE_SECONDS, *(timeout + 10 for timeout in timeouts)])
        self._old += [_FormerRelease(self._connectors[n], closes_at) for n in fresh if n in self._connectors]
        self._connectors.update(fresh)

    # ------------------------------------------------------------------ clean-up

    async def _clean_up(self) -> None:
        now = asyncio.get_running_loop().time()
        expired = [old for old in self._old if old.closes_at <= now]
        self._old = [old for old in self._old if old.closes_at > now]
        for old in expired:
            await old.connector.close()
        if self._cleaned_at is not None and now < self._cleaned_at + CLEANUP_INTERVAL.total_seconds():
            return
        self._cleaned_at = now
        await self._store.apply(ExpirePlans(at=await self._store.now()))
        await self._close_removed()

    async def _close_removed(self) -> None:
        """Close connectors of removed systems that no Run can call."""
        removed = set(self._connectors) - connected(self._releases.present.systems)
        if not removed:
            return
        for model in await self.pinned_models():
            removed -= set(model.systems)
        for name in removed:
            await self._connectors.pop(name).close()

    async def pinned_models(self) -> list[Model]:
        """Return the models of former Releases that unfinished Runs are pinned to."""
        pins = dict.fromkeys(runs.pin for runs in await self._store.pinned_runs())
        models = []
        for pin in pins:
            if pin != self._releases.present.digest:
                try:
                    models.append(await self._releases.model(pin))
                except Misconfigured as error:
                    log.warning("%s", error)
        return models

    async def connect_pinned(self) -> None:
        """Build, at the start, connectors of systems that only Releases of unfinished Runs have."""
        for model in await self.pinned_models():
            for name in sorted(connected(model.systems) - set(self._connectors)):
                try:
                    self._connectors.update(self._build(model, [name]))
                except Misconfigured as error:
                    log.warning("%s of a former release has no connector: %s", name, error)
                    continue
                self._worker.add_former_system(model, name)

    async def close(self) -> None:
        """Close all replaced connectors."""
        for old in self._old:
            await old.connector.close()
        self._old = []
