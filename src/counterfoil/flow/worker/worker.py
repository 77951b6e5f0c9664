"""The pump: the loops of one worker process. Who wakes a Run changes speed alone; safety is in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from counterfoil.connectors.sdk import Connector
from counterfoil.core.effect import Effect
from counterfoil.core.errors import CounterfoilError, Misconfigured, TryAgain
from counterfoil.core.run import LANES
from counterfoil.flow.context import deprecations
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, LimiterClosed, caps_of
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.executor import RunExecutor
from counterfoil.flow.runs.snapshot import LEASE
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.flow.worker import housekeeping, stall_scan
from counterfoil.model import Model
from counterfoil.model.kinds import seconds
from counterfoil.store.port.store import (
    Store,
    Todo,
)
from counterfoil.store.port.turns import Claim
from counterfoil.store.port.wake import Wake
from counterfoil.store.port.workers import ReleaseWorker

log = logging.getLogger("counterfoil.worker")
IDLE = 0.5
"""Seconds between looks at the store when nothing wakes it; the poll that liveness rests on."""
BATCH = 64
TURNING = 256
"""Runs that one worker turns at once. Those whose call is under way do not count."""
ADMITTING = 256
LEAVE_ALONE = timedelta(seconds=2)
"""So long a planned effect is left to the worker that planned it."""
BEAT = 4.0
"""Seconds between heartbeats; sooner when somebody waits for a slot that others have."""
SCAN = 15.0
SUNSETS = timedelta(minutes=1)
"""Between two looks at who uses what is past its sunset."""
PUT_OFF = timedelta(minutes=1)
"""How long what failed by a defect is left alone, where it has no due time of its own."""
DRAIN = 30.0
"""Seconds that a worker which is being stopped waits for its last calls."""
UNREACHABLE = 300.0
"""Seconds that a breaker may be open before its system is a Case."""
EIGHTH = 8
"""Every so manieth claim begins at the lowest lane, so that no lane starves."""


class Worker:
    """Everything that a worker does, as tasks of one event loop; `run` until `stop`."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        worker: str,
        sign: housekeeping.Sign | None = None,
        keep: housekeeping.Keep | None = None,
    ) -> None:
        self.store = store
        self.releases = releases
        self.connectors = connectors
        self.worker = worker
        self.gate = ConcurrencyLimiter(worker, caps_of(releases.present.systems), _loop_time)
        self.actor = EffectSender(store, releases, connectors, worker, self.gate)
        self.uses = DeprecationUsage(store, lambda: releases.present)
        self.admission = Admitter(store, releases, connectors, worker, self.uses)
        self.turner = TurnPlanner(store, releases, worker, self.uses)
        self.carrier = RunExecutor(store, self.turner, self.actor, self.gate, self._begin)
        self.polls: dict[tuple[str, str], housekeeping.PollState] = {}
        self._sign = sign
        self._keep = keep
        self._busy: dict[str, asyncio.Task[None]] = {}
        """Work under way, by what it is about: nothing is begun twice in one process."""
        self._turning: set[asyncio.Task[None]] = set()
        self._feeds: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._claims = 0
        self._looked: datetime | None = None
        self._told: set[str] = set()
        """Cases of versions past their sunset that this process has opened."""
        self._later: dict[str, datetime] = {}
        """Admissions put off, because a system did not answer."""
        self._stopping = asyncio.Event()
        self._running = False

    async def run(self) -> None:
        """Work until `stop`; then let what is under way come to its end."""
        beating = asyncio.create_task(self._beat_loop())
        await self._begin_again()
        self._running = True
        loops = [
            self._loop("admit", self.admit_once, Wake.ADMIT),
            self._loop("turn", self.turn_once, Wake.TURN),
            self._loop("send", self.send_once, idle=IDLE),
            self._loop("watch", self.watch_once, idle=IDLE),
            self._loop("seal", self.seal_once, idle=1.0),
            self._loop("scan", self.scan_once, idle=SCAN),
        ]
        self._poll_feeds()
        try:
            await asyncio.gather(*loops)
            await asyncio.gather(*self._feeds.values())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait_for_work(), DRAIN)
            await self.uses.flush()
            with contextlib.suppress(TryAgain):
                await self.gate.give_back(self.store, await self.store.now())
        finally:
            beating.cancel()

    async def attend(self) -> None:
        """Instead of `run`, for a process that only serves, until `stop`: heartbeats, so that it has slots to read by,
        and the telling of who uses what is deprecated."""
        beating = asyncio.create_task(self._beat_loop())
        try:
            while not self.stopping:
                await self._sleep(BEAT)
                with contextlib.suppress(TryAgain):
                    await self.uses.settle(await self.store.now())
            with contextlib.suppress(TryAgain):
                await self.gate.give_back(self.store, await self.store.now())
        finally:
            beating.cancel()

    def take_up(self, model: Model) -> None:
        """Go by a Release that came into force: its systems' caps, and its feeds. Runs keep the one that they are
        pinned to."""
        self.gate.configure(caps_of(model.systems))
        self.actor.take_up(model)
        if self._running and not self.stopping:
            self._poll_feeds()

    def know(self, model: Model, system: str) -> None:
        """A system that only a former Release has, to which Runs are pinned."""
        self.gate.configure({system: caps_of(model.systems)[system]})
        self.actor.take_up(model)

    def _poll_feeds(self) -> None:
        """A loop for each feed that has none."""
        for name, system in self.releases.present.systems.items():
            for feed in system.feeds if name in self.connectors else ():
                task = self._feeds.get((name, feed))
                if task is None or task.done():
                    self._feeds[name, feed] = asyncio.create_task(self._poll_loop(name, feed))

    def _every(self, system: str, feed: str) -> float | None:
        """Seconds between reads of a feed; None when it is not declared any more."""
        held = self.releases.present.systems.get(system)
        spec = held.feeds.get(feed) if held is not None and system in self.connectors else None
        return None if spec is None else seconds(spec.every)

    def stop(self) -> None:
        """Take nothing new; calls that wait for a slot are left to others, calls under way come to their end."""
        self._stopping.set()
        self.gate.close()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    # ------------------------------------------------------------------ loops

    async def _loop(
        self,
        name: str,
        once: Callable[[], Coroutine[Any, Any, int]],
        wake: Wake | None = None,
        idle: float = 0.0,
    ) -> None:
        while not self._stopping.is_set():
            did = 0
            try:
                did = await once()
            except TryAgain as error:
                log.warning("%s: %s", name, error)
            except Misconfigured as error:
                log.critical("%s: this worker stops: %s", name, error)
                self.stop()
            except Exception:
                log.exception("%s failed; the next round tries again", name)
            if wake is None:
                await self._sleep(idle)
            elif not did:
                await self.store.wait_for_wake(wake, IDLE)

    async def _beat_loop(self) -> None:
        """Heartbeats, also while the last calls come to their end: who does not beat is taken for dead."""
        while True:
            try:
                await self.beat_once()
            except Exception as error:
                log.warning("heartbeat: %s; the next one tries again", error)
                await asyncio.sleep(IDLE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.gate.hungry.wait(), BEAT)

    async def beat_once(self) -> None:
        await self.gate.beat(self.store, await self.store.now())

    async def _sleep(self, wait: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), wait)
        except TimeoutError:
            return

    @property
    def busy(self) -> bool:
        return bool(self._busy or self._turning)

    async def wait_for_work(self) -> None:
        """Until what is under way has come to its end."""
        while self.busy:
            await asyncio.wait([*self._busy.values(), *self._turning])

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
        except (TryAgain, LimiterClosed) as error:
            log.warning("%s: %s", key, error)
        except CounterfoilError as error:
            log.error("%s: %s", key, error)
        except Exception as error:
            log.exception("%s failed; its row is as it was", key)
            await self._poisoned(key, repr(error))

    async def _poisoned(self, key: str, error: str) -> None:
        """What fails by a defect fails again the next time: a person must know."""
        what, ref = key.split(":", 1)
        try:
            now = await self.store.now()
            self._later[key] = now + PUT_OFF
            await housekeeping.poisoned(self.store, self.releases, what, ref, error, now)
        except Exception:
            log.exception("no Case could be opened for %s", key)

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
        if len(skip) >= ADMITTING:
            return 0
        todos = await self.store.todos(BATCH, skip)
        for todo in todos:
            self._begin(f"todo:{todo.kind}:{todo.ref}", partial(self._admit, todo))
        if todos:
            await asyncio.sleep(0)
        return len(todos)

    def offer(self, todo: Todo) -> None:
        """Admit this one now; whoever has received it need not wait until it is found."""
        if self._running and not self._stopping.is_set() and len(self._busy) < ADMITTING:
            self._begin(f"todo:{todo.kind}:{todo.ref}", partial(self._admit, todo))

    async def _admit(self, todo: Todo) -> None:
        now = await self.store.now()
        try:
            admitted = await self.admission.admit(todo, now)
        except TryAgain as error:
            wait = timedelta(seconds=error.after or 2.0)
            self._later[f"todo:{todo.kind}:{todo.ref}"] = now + wait
            log.warning("admission of %s %s waits: %s", todo.kind, todo.ref, error)
            return
        for run in admitted:
            self._carry(run.run.id, self.carrier.carry(run, now))

    async def turn_once(self) -> int:
        """Claim due Runs and carry them; how many were claimed."""
        room = TURNING - (len(self._turning) - self.carrier.calling)
        if room <= 0:
            await asyncio.wait(self._turning, timeout=IDLE, return_when=asyncio.FIRST_COMPLETED)
            return 1
        now = await self.store.now()
        self._claims += 1
        lanes = LANES if self._claims % EIGHTH else LANES[::-1]
        claim = Claim(
            worker=self.worker, limit=min(BATCH, room), lanes=lanes, lease_until=now + LEASE, at=now
        )
        claimed = await self.store.apply(claim)
        for run in claimed:
            self._carry(run.id, self.carrier.claimed(run.id, now))
        if claimed:
            await asyncio.sleep(0)
        return len(claimed)

    def _carry(self, run: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(f"run:{run}", self._while_leased(run, work)))
        self._turning.add(task)
        task.add_done_callback(self._turning.discard)

    async def _while_leased(self, run: str, work: Coroutine[Any, Any, None]) -> None:
        """Carry a Run, and again when the store was away: others leave it alone for as long as its lease lasts."""
        until = _loop_time() + LEASE.total_seconds()
        while True:
            try:
                return await work
            except LimiterClosed:
                raise
            except TryAgain as error:
                if self.stopping or _loop_time() > until:
                    raise
                log.warning("run %s: %s", run, error)
                await self._sleep(error.after or IDLE)
            work = self._claimed(run)

    async def _claimed(self, run: str) -> None:
        await self.carrier.claimed(run, await self.store.now())

    async def send_once(self) -> int:
        """Planned effects that nobody here is sending: what another process left, or a full slot put off."""
        begun = 0
        before = await self.store.now() - LEAVE_ALONE
        for effect in await self.store.effects_planned(BATCH):
            if effect.created_at <= before:
                begun += self._begin(f"effect:{effect.id}", partial(self.actor.send_planned, effect))
        return begun

    async def watch_once(self) -> int:
        """Overdue calls, look-ups that are due, foils past due."""
        now = await self.store.now()
        jumped = self.actor.steady.take_jump(now)
        if jumped is not None:
            await housekeeping.clock_jumped(self.store, self.releases, jumped, now)
            log.warning("the clock jumped by %.1f s; expiries wait for the next round", jumped)
            return 0
        await self.uses.settle(now)
        begun = 0
        overdue = await self.store.effects_overdue(now, BATCH)
        for effect in (*overdue, *await self.store.effects_of_gone_workers(now, BATCH)):
            begun += self._begin(f"effect:{effect.id}", partial(self.actor.overdue, effect))
        for effect in await self.store.effects_to_look_up(now, BATCH):
            begun += self._begin(f"effect:{effect.id}", partial(self.actor.look_up, effect))
        return begun + await housekeeping.expire_foils(self.store, now)

    async def scan_once(self) -> int:
        """What makes no progress, and systems that do not answer for long."""
        now = await self.store.now()
        await self.releases.refresh()
        await self._past_sunset(now)
        for system in self.gate.systems:
            state = self.gate.state(system)
            if state.open_for > UNREACHABLE:
                error = f"calls have failed for {state.open_for:.0f} s"
                await housekeeping.unreachable(self.store, self.releases, system, error, now)
        return len(await stall_scan.scan(self.store, self.releases, now))

    async def _past_sunset(self, now: datetime) -> None:
        """Versions in use after their sunset; seldom, since waiting Runs are counted by reading their topics."""
        if self._looked is None or now - self._looked >= SUNSETS:
            self._looked = now
            await deprecations.overdue(self.store, self.releases.present, now, self._told)

    async def seal_once(self) -> int:
        return await housekeeping.seal(self.store, self._sign, await self.store.now(), self._keep)

    async def _poll_loop(self, system: str, feed: str) -> None:
        state = self.polls.setdefault((system, feed), housekeeping.PollState())
        while not self._stopping.is_set():
            every = self._every(system, feed)
            if every is None:
                del self.polls[system, feed]
                return
            try:
                state.kept += await housekeeping.poll(
                    self.store, self.releases, self.connectors, system, feed
                )
                state.last, state.failures, state.error = await self.store.now(), 0, ""
            except CounterfoilError as error:
                log.warning("poll of %s.%s: %s", system, feed, error)
                await self._poll_failed(system, state, str(error))
            except Exception as error:
                state.failures += 1
                state.error = repr(error)
                log.exception("poll of %s.%s failed", system, feed)
            await self._sleep(every * min(8, 1 + state.failures))

    async def _poll_failed(self, system: str, state: housekeeping.PollState, error: str) -> None:
        """Count it against the system, unless it is the store that does not answer."""
        try:
            now = await self.store.now()
            if state.failures + 1 == 10:
                await housekeeping.unreachable(self.store, self.releases, system, error, now)
        except TryAgain as away:
            log.warning("poll of %s: %s", system, away)
            return
        state.failures += 1
        state.error = error

    async def _begin_again(self) -> None:
        """See to what a former life left, when the store can be asked."""
        while not self._stopping.is_set():
            try:
                await self._left_behind()
                return
            except TryAgain as error:
                log.warning("the worker cannot begin yet: %s", error)
                await self._sleep(error.after or 1.0)

    async def _left_behind(self) -> None:
        """Calls that this worker's former life had under way: their outcome is unknown, and their slots are free."""
        prefix = self.worker.rsplit("/", 1)[0] + "/"
        left: list[Effect] = await self.store.effects_sending(prefix, 10_000)
        for effect in left:
            await self.actor.overdue(effect)
        if await self.store.apply(ReleaseWorker(worker=self.worker, at=await self.store.now(), lives=True)):
            self.gate.hungry.set()
        if left:
            log.info("%d calls of a former process are looked up", len(left))


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
