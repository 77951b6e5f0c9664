"""Concurrency limits of one worker: every outward call takes a slot of its system, in its lane, and gives it back.

In memory, except for `beat`: it reports to the store that this worker lives and requests its quotas of accounts.
Slots, circuit breaker, retry budget and lanes decide on admission. A call that may not be sent yet stays planned in
the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

import msgspec

from counterfoil.connectors.sdk import Absent, Outcome
from counterfoil.core.errors import TryAgain
from counterfoil.flow.dispatch.circuit_breaker import BreakerState
from counterfoil.flow.dispatch.queue import RAISE_AFTER_SECONDS, Lane, Slot, SystemQueue
from counterfoil.model.kinds import System
from counterfoil.store.port.workers import Heartbeat, QuotaGrant, QuotaRequest, RemoveWorker, SetCap

__all__ = ["ConcurrencyLimiter", "Lane", "LimiterClosed", "QueueState", "Slot", "caps_of"]

log = logging.getLogger("counterfoil.worker")
HEARTBEAT_LIFETIME = timedelta(seconds=15)
"""Time for which a worker counts as alive after a heartbeat."""
QUOTA_MARGIN_SECONDS = 4.0
"""A worker's quotas end this much earlier than in the store. It covers the time from reading the database clock to
the heartbeat, and from the last check of a slot to the first byte."""
MIN_HEARTBEAT_SECONDS = 0.25
"""Minimum interval between heartbeats that a lack of slots triggers."""


def caps_of(systems: Mapping[str, System]) -> dict[str, tuple[str, int]]:
    """Return the account of each system, and its cap over all workers."""
    return {
        name: (f"{name}/{system.account}" if system.account else name, system.caps.concurrency)
        for name, system in systems.items()
    }


class LimiterStore(Protocol):
    """The part of a store that the limiter needs."""

    async def apply(self, transition: Any) -> Any: ...


class LimiterClosed(TryAgain):
    """This worker is stopping: nothing was sent. Another worker sends it, or this one after its next start."""


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """State of one system in this worker, for health and metrics. Times are of the limiter's clock."""

    account: str
    slots: int
    in_flight: int
    waiting: dict[str, int]
    """By lane."""
    breaker: BreakerState
    open_since: float | None
    open_for: float
    """Seconds since the breaker first opened; 0 while it is closed."""
    cap: int
    """As configured."""
    present_cap: int
    """Cap after throttling, over all workers."""
    retry_tokens: float
    failures: int = 0
    """Calls that failed since the last answer."""
    failure: str = ""
    """Reason of the last failed call; empty after an answer."""
    answered_for: float | None = None
    """Seconds since the last answer; None before the first one."""


class ConcurrencyLimiter:
    """The slots of all systems for one worker.

    `caps` gives for each system its account (`system` or `system/account`) and the calls that may be in flight there
    over all workers. `clock` is monotonic, in seconds; `seed` is for the jitter of breakers.
    """

    def __init__(
        self,
        worker: str,
        caps: Mapping[str, tuple[str, int]],
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.worker = worker
        self.heartbeat_due = asyncio.Event()
        """Set when a call waits for a slot that other workers hold: send a heartbeat now."""
        self._clock = clock
        self._random = Random(seed)  # noqa: S311 - it spreads probes in time and guards no secret
        self._queues: dict[str, SystemQueue] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        self._retired = False
        self._others = 0
        """Other live workers, as of the last heartbeat."""
        self._answered_at: float | None = None
        """Time of the last heartbeat that the store accepted, or of the first attempt."""
        self._beating = asyncio.Lock()
        self.configure(caps)

    def configure(self, caps: Mapping[str, tuple[str, int]]) -> None:
        """Set systems and caps of a Release. Calls in flight are not affected."""
        for system, (account, cap) in caps.items():
            queue = self._queues.get(system)
            if queue is None:
                queue = self._queues[system] = SystemQueue(system, account, cap, self._random)
            queue.account, queue.cap = account, cap

    # ------------------------------------------------------------------ in and out

    def try_enter(self, system: str, lane: Lane, retry: bool = False) -> Slot | None:
        """Return a slot if one is free now, else None. Never overtakes a waiter in this lane or a higher one.

        Raises KeyError for a system without a cap.
        """
        queue, now = self._queues[system], self._clock()
        if self._closed:
            return None
        queue.serve(now)
        if queue.admits(lane, retry, now):
            return queue.enter(lane, retry, now)
        queue.miss(now)
        self._request_heartbeat(queue, now)
        return None

    async def enter(self, system: str, lane: Lane, retry: bool = False) -> Slot:
        """Wait for a slot. Raises LimiterClosed, and KeyError for a system without a cap."""
        if self._closed:
            raise LimiterClosed("this worker is stopping")
        queue, now = self._queues[system], self._clock()
        queue.serve(now)
        if queue.admits(lane, retry, now):
            return queue.enter(lane, retry, now)
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        number = queue.wait(lane, retry, future, now)
        self._reschedule(queue, now)
        try:
            return await future
        except asyncio.CancelledError:
            queue.cancel_wait(lane, retry, number)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave(future.result(), None)  # granted just as the caller was cancelled
            raise

    def leave(self, slot: Slot, outcome: Outcome | Absent | None) -> None:
        """Free the slot. `outcome` is that of the call or look-up; None: nothing was sent.

        Raises ValueError for a slot given back before.
        """
        queue, now = self._queues[slot.system], self._clock()
        queue.leave(slot, outcome, now)
        queue.serve(now)
        self._reschedule(queue, now)

    def holds(self, slot: Slot) -> bool:
        """Return True if the slot still belongs to this worker. Check it just before the first byte leaves.

        After a gap in the heartbeats, as in a suspended process, other workers may have the slot.
        """
        queue = self._queues[slot.system]
        return slot.lease == queue.lease and self._clock() < queue.good_until

    def _reschedule(self, queue: SystemQueue, now: float) -> None:
        """Request slots that other workers hold, and set a timer for the next time a waiter may be admitted."""
        self._request_heartbeat(queue, now)
        timer = self._timers.pop(queue.system, None)
        if timer is not None:
            timer.cancel()
        times = [queue.changes_at(now)]
        if queue.waiting and queue.short(now):
            times.append(max(now, queue.asked_at + MIN_HEARTBEAT_SECONDS))
        at = min((at for at in times if at is not None), default=None)
        if at is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timers[queue.system] = loop.call_later(max(0.001, at - now), self._on_time, queue)

    def _request_heartbeat(self, queue: SystemQueue, now: float) -> None:
        """Request a heartbeat at once: to get slots, to release unused ones, or to lower a cap."""
        idle = self._others >= queue.cap and queue.slots > 0 and not queue.demand
        frees = idle or queue.counted > max(queue.slots, queue.in_flight)
        lowers = queue.new_cap is not None and queue.new_cap.lowers
        if lowers or ((frees or queue.short(now)) and now >= queue.asked_at + MIN_HEARTBEAT_SECONDS):
            self.heartbeat_due.set()

    def _on_time(self, queue: SystemQueue) -> None:
        now = self._clock()
        queue.serve(now)
        self._reschedule(queue, now)

    # ------------------------------------------------------------------ heartbeats

    async def beat(self, store: LimiterStore, now: datetime) -> None:
        """Send a heartbeat and request quotas. `now` is the database's time, just read.

        Call it every few seconds, and at once when `heartbeat_due` is set. After TryAgain, quotas run on to their end.
        """
        started_at = self._clock()
        if self._answered_at is None:
            self._answered_at = started_at
        async with self._beating:
            self.heartbeat_due.clear()
            if self._retired:
                return
            await self._tune(store, now)
            if await self._beat(store, now, started_at):
                await self._beat(store, now, started_at)

    async def _tune(self, store: LimiterStore, now: datetime) -> None:
        for queue in self._queues.values():
            new = queue.new_cap
            if new is not None:
                quiet = timedelta(seconds=0.0 if new.lowers else RAISE_AFTER_SECONDS)
                caps = {"expected_cap": new.before, "cap": new.cap}
                await store.apply(SetCap(account=queue.account, **caps, quiet=quiet, at=now))
                if queue.new_cap is new:
                    queue.new_cap = None

    async def _beat(self, store: LimiterStore, now: datetime, started_at: float) -> bool:
        """Send one heartbeat. Return True if another must follow at once.

        It gives slots back, or requests all slots because this worker is alone now.
        """
        queues = list(self._queues.values())
        wants = tuple(self._want(queue, self._clock()) for queue in queues)
        until = now + HEARTBEAT_LIFETIME
        answer = await store.apply(Heartbeat(worker=self.worker, until=until, wants=wants, at=now))
        now_alone = self._others > 0 and answer.others == 0
        self._others = answer.others
        if len(answer.grants) == len(wants):
            self._answered_at = self._clock()
        else:
            log.warning(
                "the store refused the heartbeat of %s: its last one has a later time", now.isoformat()
            )
        for queue, grant in zip(queues, answer.grants, strict=False):
            self._take_grant(queue, grant, started_at)
        after = self._clock()
        for queue in queues:
            queue.serve(after)
            self._reschedule(queue, after)
        return now_alone or any(queue.counted > max(queue.slots, queue.in_flight) for queue in queues)

    def _want(self, queue: SystemQueue, now: float) -> QuotaRequest:
        queue.asked_at = now
        alone, crowded = self._others == 0, self._others >= queue.cap
        slots = 0 if self._closed else queue.slots_to_request(now, alone, crowded)
        queue.missed = 0
        in_use = queue.in_use(now)
        return QuotaRequest(account=queue.account, cap=queue.cap, slots_wanted=slots, in_use=in_use)

    def _take_grant(self, queue: SystemQueue, grant: QuotaGrant, started_at: float) -> None:
        if started_at >= queue.good_until:
            queue.lease += 1  # there was a gap: the slots in use were not guaranteed
        queue.counted = grant.counted
        if queue.new_cap is not None and queue.new_cap.lowers:
            queue.slots = min(queue.slots, grant.n)  # it was throttled while the answer was on its way
        else:
            queue.slots, queue.aim = grant.n, grant.cap
        queue.good_until = started_at + HEARTBEAT_LIFETIME.total_seconds() - QUOTA_MARGIN_SECONDS

    async def give_back(self, store: LimiterStore, now: datetime) -> bool:
        """Close, and give unused slots back. Return True if that was all.

        Calls in flight keep their slots: call again once they have ended.
        """
        self.close()
        if self.in_flight:
            await self.beat(store, now)
            return False
        async with self._beating:
            await store.apply(RemoveWorker(worker=self.worker, at=now))
            self._retired = True
            return True

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Admit no more calls and fail the waiters. Slots in use stay valid, and heartbeats go on until they are back."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for queue in self._queues.values():
            queue.fail_all(LimiterClosed("this worker is stopping"))

    # ------------------------------------------------------------------ state

    @property
    def alive(self) -> bool:
        """Return False once the store has accepted no heartbeat for so long that this worker may not send."""
        at = self._answered_at
        return at is None or self._clock() < at + HEARTBEAT_LIFETIME.total_seconds()

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(self._queues)

    @property
    def in_flight(self) -> int:
        return sum(queue.in_flight for queue in self._queues.values())

    def state(self, system: str) -> QueueState:
        """Return the state of a system. Raises KeyError for one without a cap."""
        queue, now = self._queues[system], self._clock()
        since = queue.breaker.open_since
        return QueueState(
            account=queue.account,
            slots=queue.slots if now < queue.good_until else 0,
            in_flight=queue.in_flight,
            waiting={lane.name.lower(): queue.waiting_in(lane) for lane in Lane},
            breaker=queue.breaker.state,
            open_since=since,
            open_for=0.0 if since is None else now - since,
            cap=queue.cap,
            present_cap=queue.aim,
            retry_tokens=queue.budget.tokens,
            failures=queue.failures,
            failure=queue.failure,
            answered_for=None if queue.answered_at is None else now - queue.answered_at,
        )
