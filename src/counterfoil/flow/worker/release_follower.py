"""follow: a running process takes up what is in force, without a restart.

Connectors of new and changed systems are built before the Release counts here. An old connector is closed once no call
of it can be under way; that of a system which is gone, once no Run is pinned to a Release that has it. For up to a
second a process may know the Release before alone. It admits nothing by it: the store refuses, because Runs that began
under the new one may wait for what only that one posts. It may decide by its matrices, and an approval asked so falls
before what rests on it is sent.
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
from counterfoil.store.port.store import (
    Store,
)
from counterfoil.store.port.wake import Wake

log = logging.getLogger("counterfoil.follow")
POLL = 1.0
"""Seconds between looks at what is in force, when nothing wakes us."""
LEAST = 40.0
"""Seconds for which an old connector is kept at least: a feed may be read for as long."""
SETTLE = timedelta(seconds=60)
"""How often plans past their time are looked for, and connectors of systems that are gone."""
Build = Callable[[Model, Iterable[str]], dict[str, Connector]]
"""Connectors of these systems of a model. Raises Misconfigured."""


@dataclass(slots=True)
class _FormerRelease:
    connector: Connector
    closes_at: float


class ReleaseFollower:
    """Keeps one process at the Release in force. `connectors` is changed in place: everybody here shares it."""

    def __init__(
        self, store: Store, releases: Releases, connectors: dict[str, Connector], pump: Worker, build: Build
    ) -> None:
        self._store = store
        self._releases = releases
        self._connectors = connectors
        self._pump = pump
        self._build = build
        self._lock = asyncio.Lock()
        self._old: list[_FormerRelease] = []
        self._settled_at: float | None = None
        self.failed = ""
        """Why this process cannot take up what is in force."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
                await self._settle()
            except CounterfoilError as error:
                log.warning("release: %s", error)
            except Exception:
                log.exception("release: the next look tries again")
            await self._store.wait_for_wake(Wake.RELEASE, POLL)

    async def look(self) -> bool:
        """Take up what is in force, if that is another Release. A process that cannot stops its work: it may not go
        on by what is not in force any more."""
        async with self._lock:
            digest = await self._store.in_force()
            if digest is None or digest == self._releases.present.digest:
                return False
            model = await self._releases.model(digest)
            try:
                self._connect(model)
            except Misconfigured as error:
                if not self.failed:
                    log.critical("release %s: this worker stops: %s", digest[:12], error)
                self.failed = f"release {digest[:12]} cannot be taken up: {error}"
                self._pump.stop()
                return False
            self.failed = ""
            await self._releases.take_up(model)
            self._pump.take_up(model)
            log.info("release %s is in force", digest[:12])
            return True

    def _connect(self, model: Model) -> None:
        """Build what is new before anything old is let go of."""
        names = to_build(self._releases.present.systems, model.systems)
        fresh = self._build(model, [*names, *(connected(model.systems) - set(self._connectors) - set(names))])
        loop = asyncio.get_running_loop()
        timeouts = [seconds(op.timeout) for op in self._releases.present.operations.values()]
        closes_at = loop.time() + max([LEAST, *(each + 10 for each in timeouts)])
        self._old += [_FormerRelease(self._connectors[n], closes_at) for n in fresh if n in self._connectors]
        self._connectors.update(fresh)

    # ------------------------------------------------------------------ what is over

    async def _settle(self) -> None:
        now = asyncio.get_running_loop().time()
        over = [old for old in self._old if old.closes_at <= now]
        self._old = [old for old in self._old if old.closes_at > now]
        for old in over:
            await old.connector.close()
        if self._settled_at is not None and now < self._settled_at + SETTLE.total_seconds():
            return
        self._settled_at = now
        await self._store.apply(ExpirePlans(at=await self._store.now()))
        await self._let_go()

    async def _let_go(self) -> None:
        """Connectors of systems that are gone, once no Run can call them."""
        gone = set(self._connectors) - connected(self._releases.present.systems)
        if not gone:
            return
        for model in await self.pinned_to():
            gone -= set(model.systems)
        for name in gone:
            await self._connectors.pop(name).close()

    async def pinned_to(self) -> list[Model]:
        """The Releases, other than the one in force, that Runs on their way are pinned to."""
        pins = dict.fromkeys(each.pin for each in await self._store.pinned())
        found = []
        for pin in pins:
            if pin != self._releases.present.digest:
                try:
                    found.append(await self._releases.model(pin))
                except Misconfigured as error:
                    log.warning("%s", error)
        return found

    async def connect_pinned(self) -> None:
        """At the start: connectors of systems that only Releases have to which Runs are still pinned."""
        for model in await self.pinned_to():
            for name in sorted(connected(model.systems) - set(self._connectors)):
                try:
                    self._connectors.update(self._build(model, [name]))
                except Misconfigured as error:
                    log.warning("%s of a former Release cannot be reached: %s", name, error)
                    continue
                self._pump.add_former_system(model, name)

    async def close(self) -> None:
        """Close what is still kept of old connectors."""
        for old in self._old:
            await old.connector.close()
        self._old = []
