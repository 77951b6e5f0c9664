"""The pump: the loops of one worker process. Who wakes a Run changes speed alone; safety is in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any

from counterfoil.connectors.sdk import Connector
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import Effect
from counterfoil.core.errors import CounterfoilError, TryAgain
from counterfoil.flow import watch
from counterfoil.flow.act import Actor
from counterfoil.flow.admit import Admission
from counterfoil.flow.releases import Releases
from counterfoil.flow.turn import Turner
from counterfoil.model.kinds import seconds
from counterfoil.store.store import Claim, Store, Todo

log = logging.getLogger("counterfoil.worker")
LEASE = timedelta(seconds=10)
IDLE = 0.5
"""Seconds between looks at the store when nothing wakes it; the poll that liveness rests on."""
BATCH = 64


class Pump:
    """Everything that a worker does, as tasks of one event loop; `run` until `stop`."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        worker: str,
        sign: watch.Sign | None = None,
        wait: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self.store = store
        self.releases = releases
        self.connectors = connectors
        self.worker = worker
        self.actor = Actor(store, releases, connectors, worker)
        self.admission = Admission(store, releases, connectors)
        self.turner = Turner(store, releases, worker)
        self.polls: dict[tuple[str, str], watch.PollState] = {}
        self.jumps = JumpDetector()
        self._sign = sign
        self._wait = wait or asyncio.sleep
        self._busy: dict[str, asyncio.Task[None]] = {}
        """Work under way, by what it is about: nothing is begun twice in one process."""
        self._later: dict[str, datetime] = {}
        """Admissions put off, because a system did not answer."""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`; then let what is under way come to its end."""
        await self._left_behind()
        loops = [
            self._loop("admit", self.admit_once),
            self._loop("turn", self.turn_once),
            self._loop("send", self.send_once),
            self._loop("watch", self.watch_once, idle=IDLE),
            self._loop("seal", self.seal_once, idle=1.0),
            *(
                self._poll_loop(name, feed, seconds(spec.every))
                for name, system in self.releases.present.systems.items()
                if name in self.connectors
                for feed, spec in system.feeds.items()
            ),
        ]
        await asyncio.gather(*loops)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait_for_work(), 30)

    def stop(self) -> None:
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    # ------------------------------------------------------------------ loops

    async def _loop(self, name: str, once: Callable[[], Coroutine[Any, Any, int]], idle: float = 0.0) -> None:
        while not self._stopping.is_set():
            did = 0
            try:
                did = await once()
            except TryAgain as error:
                log.warning("%s: %s", name, error)
            except Exception:
                log.exception("%s failed; the next round tries again", name)
            if idle:
                await self._sleep(idle)
            elif not did:
                await self._wait(IDLE)

    async def _sleep(self, wait: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), wait)
        except TimeoutError:
            return

    @property
    def busy(self) -> bool:
        return bool(self._busy)

    async def wait_for_work(self) -> None:
        """Until what is under way has come to its end."""
        if self._busy:
            await asyncio.wait(list(self._busy.values()))

    def _begin(self, key: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start work on something that nothing here works on yet."""
        if key in self._busy:
            return False
        task = asyncio.create_task(self._guarded(key, work()))
        self._busy[key] = task
        task.add_done_callback(lambda _: self._busy.pop(key, None))
        return True

    async def _guarded(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TryAgain as error:
            log.warning("%s: %s", key, error)
        except Exception:
            log.exception("%s failed; its row is as it was", key)

    # ------------------------------------------------------------------ one round of each

    async def admit_once(self) -> int:
        """Admit what was received; how many were begun."""
        now = await self.store.now()
        self._later = {k: t for k, t in self._later.items() if t > now}
        skip = [
            (kind, ref)
            for key in (*self._busy, *self._later)
            if key.startswith("todo:")
            for kind, ref in [tuple(key.removeprefix("todo:").split(":", 1))]
        ]
        todos = await self.store.todos(BATCH, skip)
        for todo in todos:
            self._begin(f"todo:{todo.kind}:{todo.ref}", lambda t=todo: self._admit(t))  # type: ignore[misc]
        if todos:
            await asyncio.sleep(0)
        return len(todos)

    async def _admit(self, todo: Todo) -> None:
        now = await self.store.now()
        try:
            await self.admission.admit(todo, now)
        except TryAgain as error:
            wait = timedelta(seconds=error.after or 2.0)
            self._later[f"todo:{todo.kind}:{todo.ref}"] = now + wait
            log.warning("admission of %s %s waits: %s", todo.kind, todo.ref, error)

    async def turn_once(self) -> int:
        """Claim due Runs and turn them; their calls go on by themselves."""
        now = await self.store.now()
        claimed = await self.store.apply(
            Claim(worker=self.worker, limit=BATCH, lease_until=now + LEASE, at=now)
        )
        await asyncio.gather(*(self._turn(run.id, now) for run in claimed))
        return len(claimed)

    async def _turn(self, run: str, now: datetime) -> None:
        try:
            turn = await self.turner.turn(run, now)
        except CounterfoilError as error:
            log.error("turn of %s: %s", run, error)
            return
        if turn is None:
            return
        for effect in turn.plan:
            self._begin(f"effect:{effect.id}", lambda e=effect: self.actor.send_planned(e))  # type: ignore[misc]
        for send in turn.send:
            held = await self.store.effect(send.effect)
            if held is not None:
                self._begin(f"effect:{held.id}", lambda e=held: self.actor.send_again(e))  # type: ignore[misc]

    async def send_once(self) -> int:
        """Planned effects that nobody here is sending: what another process left, or a full slot put off."""
        begun = 0
        for effect in await self.store.effects_planned(BATCH):
            begun += self._begin(f"effect:{effect.id}", lambda e=effect: self.actor.send_planned(e))  # type: ignore[misc]
        return begun

    async def watch_once(self) -> int:
        """Overdue calls, look-ups that are due, foils past due."""
        now = await self.store.now()
        jumped = self.jumps.jumped()
        if jumped is not None:
            await watch.clock_jumped(self.store, self.releases, jumped, now)
            log.warning("the clock jumped by %.1f s; expiries wait for the next round", jumped)
            return 0
        begun = 0
        for effect in await self.store.effects_overdue(now, BATCH):
            begun += self._begin(f"effect:{effect.id}", lambda e=effect: self.actor.overdue(e, now))  # type: ignore[misc]
        for effect in await self.store.effects_to_look_up(now, BATCH):
            begun += self._begin(f"effect:{effect.id}", lambda e=effect: self.actor.look_up(e))  # type: ignore[misc]
        return begun + await watch.expire_foils(self.store, now)

    async def seal_once(self) -> int:
        return await watch.seal(self.store, self._sign, await self.store.now())

    async def _poll_loop(self, system: str, feed: str, every: float) -> None:
        state = self.polls.setdefault((system, feed), watch.PollState())
        while not self._stopping.is_set():
            try:
                state.kept += await watch.poll(self.store, self.releases, self.connectors, system, feed)
                state.last, state.failures, state.error = await self.store.now(), 0, ""
            except CounterfoilError as error:
                state.failures += 1
                state.error = str(error)
                log.warning("poll of %s.%s: %s", system, feed, error)
                if state.failures == 10:
                    now = await self.store.now()
                    await watch.unreachable(self.store, self.releases, system, str(error), now)
            except Exception as error:
                state.failures += 1
                state.error = repr(error)
                log.exception("poll of %s.%s failed", system, feed)
            await self._sleep(every * min(8, 1 + state.failures))

    async def _left_behind(self) -> None:
        """Calls that this worker's former life had under way: their outcome is unknown."""
        prefix = self.worker.rsplit("/", 1)[0] + "/"
        now = await self.store.now()
        left: list[Effect] = await self.store.effects_sending(prefix, 10_000)
        for effect in left:
            await self.actor.overdue(effect, now)
        if left:
            log.info("%d calls of a former process are looked up", len(left))
