"""The loops of one worker process. Waking a loop early affects speed alone; the store guarantees safety."""

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
from counterfoil.core.errors import Misconfigured, TryAgain, log_text
from counterfoil.core.run import LANES
from counterfoil.flow.context import deprecations
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, LimiterClosed, caps_of
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.executor import RunExecutor
from counterfoil.flow.runs.outcomes import OutcomeRecorder
from counterfoil.flow.runs.reconciler import OutcomeReconciler
from counterfoil.flow.runs.snapshot import LEASE
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.flow.worker import worker_cases
from counterfoil.flow.worker.audit_checkpoint import Publish, Sign, seal
from counterfoil.flow.worker.checkpoint_changes import CheckpointWatch
from counterfoil.flow.worker.deliveries import deliver_notices
from counterfoil.flow.worker.feeds import FeedPoller
from counterfoil.flow.worker.keyed_tasks import KeyedTasks
from counterfoil.flow.worker.notices import write_notices
from counterfoil.flow.worker.rebuild import rebuild_documents
from counterfoil.flow.worker.sweeps import SweepReader
from counterfoil.model import Model
from counterfoil.store.port.notices import SettleNotices
from counterfoil.store.port.store import AdmissionTodo, Store
from counterfoil.store.port.turns import Claim
from counterfoil.store.port.wake import WakeKind
from counterfoil.store.port.workers import RemoveWorker

log = logging.getLogger("counterfoil.worker")
IDLE_SECONDS = 0.5
"""Interval between reads of the store without a wake-up. Liveness rests on this poll."""
MAX_BATCH_ROWS = 64
MAX_RUNS = 256
"""Runs that one worker executes at once. A Run whose call is in progress does not count."""
MAX_TASKS = 256
SEND_GRACE = timedelta(seconds=2)
"""Grace period before another worker may send a planned effect."""
HEARTBEAT_SECONDS = 4.0
"""Interval of heartbeats; shorter when a call waits for a slot that other workers hold."""
SCAN_SECONDS = 15.0
SEAL_SECONDS = 1.0
NOTICE_SECONDS = 1.0
"""Interval between looks for Cases and approvals without notices."""
SWEEP_SECONDS = 1.0
"""Interval between looks for a sweep that is due or asked for."""
SUNSET_INTERVAL = timedelta(minutes=1)
"""Interval between checks for use of versions past their sunset."""
DEFECT_DELAY = timedelta(minutes=1)
"""Delay before a todo that failed by a defect is tried again."""
DRAIN_SECONDS = 30.0
"""Time that a stopping worker gives its last calls."""
UNREACHABLE_SECONDS = 300.0
"""Time that a circuit breaker may be open before its system gets a Case."""
MAX_LEFT_EFFECTS = 10_000
LOW_LANE_CLAIMS = 8
"""One claim in this many starts at the lowest lane, so that no lane starves."""


class Worker:
    """All loops of a worker as tasks of one event loop: call `run`, then `stop`."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        worker: str,
        sign: Sign | None = None,
        publish: Publish | None = None,
    ) -> None:
        self.store, self.releases, self.connectors = store, releases, connectors
        self.worker = worker
        self.limiter = ConcurrencyLimiter(worker, caps_of(releases.present.systems), _loop_time)
        self.tasks = KeyedTasks(self._report_defect)
        recorder = OutcomeRecorder(store, worker)
        self.sender = EffectSender(store, releases, connectors, worker, self.limiter, recorder)
        self.reconciler = OutcomeReconciler(store, releases, connectors, self.limiter, self.sender, recorder)
        self.uses = DeprecationUsage(store, lambda: releases.present)
        self.admitter = Admitter(store, releases, connectors, worker, self.uses)
        self.planner = TurnPlanner(store, releases, worker, self.uses)
        begin = self.tasks.start
        self.executor = RunExecutor(store, self.planner, self.sender, recorder, self.limiter, begin)
        self._stopping = asyncio.Event()
        self.feeds = FeedPoller(store, releases, connectors, self._stopping)
        self.sweeps = SweepReader(store, releases, connectors, worker, self._stopping)
        self._checkpoints = CheckpointWatch(store, releases)
        self._sign, self._publish = sign, publish
        self._claims = 0
        self._sunsets_checked: datetime | None = None
        self._sunset_cases: set[str] = set()
        """Cases of versions past their sunset that this process has opened."""
        self._delayed: dict[str, datetime] = {}
        """Tasks that are not tried again before a time, by key."""
        self._rebuilt = ""
        """The Release by which documents of both sides are known to be written."""
        self._running = False
        self.public_url = ""
        """Address of the pages, for links in mails; empty if none is set."""

    async def run(self) -> None:
        """Work until `stop`, then let tasks in progress finish."""
        heartbeats = asyncio.create_task(self._heartbeat_loop())
        await self._recover()
        self._running = True
        loops = [
            self._loop("admit", self.admit_once, WakeKind.ADMIT),
            self._loop("turn", self.turn_once, WakeKind.TURN),
            self._loop("send", self.send_once, idle=IDLE_SECONDS),
            self._loop("watch", self.watch_once, idle=IDLE_SECONDS),
            self._loop("seal", self.seal_once, idle=SEAL_SECONDS),
            self._loop("scan", self.scan_once, idle=SCAN_SECONDS),
            self._loop("notice", self.notice_once, idle=NOTICE_SECONDS),
            self._loop("sweep", self.sweeps.sweep_once, idle=SWEEP_SECONDS),
        ]
        self.feeds.start_missing()
        try:
            await asyncio.gather(*loops)
            await self.feeds.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait_for_work(), DRAIN_SECONDS)
            await self.uses.flush()
            with contextlib.suppress(TryAgain):
                await self.limiter.give_back(self.store, await self.store.now())
        finally:
            heartbeats.cancel()

    async def attend(self) -> None:
        """Replace `run` in a process that only serves, until `stop`.

        Heartbeats give it slots for reads; use of deprecated versions is reported to the store.
        """
        heartbeats = asyncio.create_task(self._heartbeat_loop())
        try:
            while not self.stopping:
                await self._sleep(HEARTBEAT_SECONDS)
                with contextlib.suppress(TryAgain):
                    await self.uses.settle(await self.store.now())
            with contextlib.suppress(TryAgain):
                await self.limiter.give_back(self.store, await self.store.now())
        finally:
            heartbeats.cancel()

    def take_up(self, model: Model) -> None:
        """Switch to a Release that became active: limits and feeds of its systems. Runs keep their own Release."""
        self.limiter.configure(caps_of(model.systems))
        self.reconciler.take_up(model)
        if self._running and not self.stopping:
            self.feeds.start_missing()

    def add_former_system(self, model: Model, system: str) -> None:
        """Add a system that only a former Release has, for the Runs pinned to it."""
        self.limiter.configure({system: caps_of(model.systems)[system]})
        self.reconciler.take_up(model)

    def stop(self) -> None:
        """Start nothing new. Calls that wait for a slot go to other workers; calls in progress finish."""
        self._stopping.set()
        self.limiter.close()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    async def wait_for_work(self) -> None:
        """Return when no task is left."""
        await self.tasks.wait()

    # ------------------------------------------------------------------ loops

    async def _loop(
        self,
        name: str,
        once: Callable[[], Coroutine[Any, Any, int]],
        wake: WakeKind | None = None,
        idle: float = 0.0,
    ) -> None:
        while not self.stopping:
            count = 0
            try:
                count = await once()
            except TryAgain as error:
                log.warning("%s: %s", name, error)
            except Misconfigured as error:
                log.critical("%s: this worker stops: %s", name, error)
                self.stop()
            except Exception:
                log.exception("%s failed; the next round tries again", name)
            if wake is None:
                await self._sleep(idle)
            elif not count:
                await self.store.wait_for_wake(wake, IDLE_SECONDS)

    async def _heartbeat_loop(self) -> None:
        """Send heartbeats, also while the last calls finish: without them other workers take this one for dead."""
        while True:
            try:
                await self.beat_once()
            except Exception as error:
                log.warning("heartbeat: %s; the next one tries again", error)
                await asyncio.sleep(IDLE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.limiter.heartbeat_due.wait(), HEARTBEAT_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not past `stop`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _report_defect(self, key: str, error: str) -> None:
        """Open a Case for a defect: the next try would fail in the same way."""
        what, ref = key.split(":", 1)
        try:
            now = await self.store.now()
            self._delayed[key] = now + DEFECT_DELAY
            await worker_cases.open_defect(self.store, self.releases, what, ref, error, now)
        except Exception:
            log.exception("no Case could be opened for %s", key)

    # ------------------------------------------------------------------ one round of each loop

    async def beat_once(self) -> None:
        await self.limiter.beat(self.store, await self.store.now())

    async def admit_once(self) -> int:
        """Admit received deliveries. Return the number of admissions started."""
        now = await self.store.now()
        self._delayed = {key: at for key, at in self._delayed.items() if at > now}
        keys = [key for key in (*self.tasks.keys, *self._delayed) if key.startswith("todo:")]
        skip = [(kind, ref) for _, kind, ref in (key.split(":", 2) for key in keys)]
        if len(skip) >= MAX_TASKS:
            return 0
        todos = await self.store.todos(MAX_BATCH_ROWS, skip)
        for todo in todos:
            self.tasks.start(_todo_key(todo), partial(self._admit, todo))
        if todos:
            await asyncio.sleep(0)
        return len(todos)

    def offer(self, todo: AdmissionTodo) -> None:
        """Admit this todo at once, without waiting for the admission loop to find it."""
        if self._running and not self.stopping and len(self.tasks.keys) < MAX_TASKS:
            self.tasks.start(_todo_key(todo), partial(self._admit, todo))

    async def _admit(self, todo: AdmissionTodo) -> None:
        now = await self.store.now()
        try:
            started = await self.admitter.admit(todo, now)
        except TryAgain as error:
            self._delayed[_todo_key(todo)] = now + timedelta(seconds=error.after or 2.0)
            log.warning("admission of %s %s waits: %s", todo.kind, todo.ref, log_text(error))
            return
        for run in started:
            self._execute(run.run.id, self.executor.execute(run, now))

    async def turn_once(self) -> int:
        """Claim due Runs and execute them. Return the number of Runs claimed."""
        room = MAX_RUNS - (len(self.tasks.runs) - self.executor.calling)
        if room <= 0:
            await asyncio.wait(self.tasks.runs, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return 1
        now = await self.store.now()
        self._claims += 1
        lanes = LANES if self._claims % LOW_LANE_CLAIMS else LANES[::-1]
        limit, until = min(MAX_BATCH_ROWS, room), now + LEASE
        claim = Claim(worker=self.worker, limit=limit, lanes=lanes, lease_until=until, at=now)
        runs = await self.store.apply(claim)
        for run in runs:
            self._execute(run.id, self.executor.execute_claimed(run.id, now))
        if runs:
            await asyncio.sleep(0)
        return len(runs)

    def _execute(self, run: str, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.start_run(run, self._while_leased(run, work))

    async def _while_leased(self, run: str, work: Coroutine[Any, Any, None]) -> None:
        """Execute a Run, and retry while the store is away and the lease keeps other workers off it."""
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
                await self._sleep(error.after or IDLE_SECONDS)
            work = self._execute_claimed(run)

    async def _execute_claimed(self, run: str) -> None:
        await self.executor.execute_claimed(run, await self.store.now())

    async def send_once(self) -> int:
        """Send planned effects that no task sends: left by another process, or delayed by full slots."""
        count = 0
        now = await self.store.now()
        for effect in await self.store.effects_planned(MAX_BATCH_ROWS):
            # A plan from the future was stamped by a clock that was ahead.
            if not now - SEND_GRACE < effect.created_at < now + SEND_GRACE:
                count += self._start_effect(effect, self.sender.send_planned)
        return count

    def _start_effect(self, effect: Effect, work: Callable[[Effect], Coroutine[Any, Any, None]]) -> bool:
        return self.tasks.start(f"effect:{effect.id}", partial(work, effect))

    async def watch_once(self) -> int:
        """Handle overdue calls, due look-ups and foils past due."""
        now = await self.store.now()
        jump = self.reconciler.jump_detector.take_jump(now)
        if jump is not None:
            await worker_cases.open_clock_jumped(self.store, self.releases, jump, now)
            log.warning("the clock jumped by %.1f s; expiries wait for the next round", jump)
            return 0
        await self.uses.settle(now)
        count = 0
        overdue = await self.store.effects_overdue(now, MAX_BATCH_ROWS)
        for effect in (*overdue, *await self.store.effects_of_gone_workers(now, MAX_BATCH_ROWS)):
            count += self._start_effect(effect, self.reconciler.mark_overdue)
        for effect in await self.store.effects_to_look_up(now, MAX_BATCH_ROWS):
            count += self._start_effect(effect, self.reconciler.look_up)
        count += await worker_cases.expire_foils(self.store, now)
        return count + await worker_cases.open_item_cases(self.store, now)

    async def scan_once(self) -> int:
        """Find stalled work and systems that have been unreachable for long. Return the number of stalls."""
        now = await self.store.now()
        await self.releases.refresh()
        await self._check_sunsets(now)
        await self._rebuild()
        for system in self.limiter.systems:
            state = self.limiter.state(system)
            if state.open_for > UNREACHABLE_SECONDS:
                error = f"calls have failed for {state.open_for:.0f} s"
                await worker_cases.open_unreachable(self.store, self.releases, system, error, now)
        await self.store.apply(SettleNotices(at=now))
        stalls = await worker_cases.scan_stalls(self.store, self.releases, now)
        await self._checkpoints.look(now)
        return len(stalls)

    async def _rebuild(self) -> None:
        """Rebuild documents that were written by another form of their reconciliation; once for each Release."""
        digest = self.releases.present.digest
        if self._rebuilt != digest:
            await rebuild_documents(self.store, self.releases)
            self._rebuilt = digest

    async def _check_sunsets(self, now: datetime) -> None:
        # Seldom: waiting Runs are counted by reading their topics.
        if self._sunsets_checked is None or now - self._sunsets_checked >= SUNSET_INTERVAL:
            self._sunsets_checked = now
            await deprecations.open_overdue_cases(self.store, self.releases.present, now, self._sunset_cases)

    async def seal_once(self) -> int:
        return await seal(self.store, self._sign, await self.store.now(), self._publish)

    async def notice_once(self) -> int:
        """Write notices and deliver them over channels. Return how many rows and deliveries there were."""
        model, now = self.releases.present, await self.store.now()
        written = await write_notices(self.store, model, now)
        return written + await deliver_notices(self.store, model, now, self.public_url)

    # ------------------------------------------------------------------ recovery

    async def _recover(self) -> None:
        """Clean up after this worker's former process, as soon as the store answers."""
        while not self.stopping:
            try:
                await self._clean_up()
                return
            except TryAgain as error:
                log.warning("the worker cannot start yet: %s", error)
                await self._sleep(error.after or 1.0)

    async def _clean_up(self) -> None:
        """Mark calls that the former process had in progress as unknown, and free its slots."""
        prefix = self.worker.rsplit("/", 1)[0] + "/"
        effects = await self.store.effects_sending(prefix, MAX_LEFT_EFFECTS)
        for effect in effects:
            await self.reconciler.mark_overdue(effect)
        if await self.store.apply(RemoveWorker(worker=self.worker, at=await self.store.now(), lives=True)):
            self.limiter.heartbeat_due.set()
        await self._rebuild()
        if effects:
            log.info("%d calls of a former process are looked up", len(effects))


def _todo_key(todo: AdmissionTodo) -> str:
    return f"todo:{todo.kind}:{todo.ref}"


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
