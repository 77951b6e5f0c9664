"""The gate of one worker: every outward call takes a slot of its system here, in its lane, and gives it back.

In memory, without I/O but for `beat`, which tells the store that this worker lives and asks for its quotas of
accounts. Who may enter is decided by the system's slots, its breaker, its retry budget and the lanes. Nothing is
lost at a closed gate: what may not be sent yet stays planned in the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

import msgspec

from counterfoil.connectors.sdk import Absent, Outcome
from counterfoil.core.errors import TryAgain
from counterfoil.flow.dispatch.circuit_breaker import BreakerState
from counterfoil.flow.dispatch.queue import RAISE_AFTER, Lane, Slot, SystemQueue
from counterfoil.model.kinds import System
from counterfoil.store.port.workers import Heartbeat, QuotaGrant, QuotaRequest, ReleaseWorker, SetCap

__all__ = ["ConcurrencyLimiter", "Lane", "LimiterClosed", "QueueState", "Slot", "caps_of"]

LIFE = timedelta(seconds=15)
"""How long a worker counts as alive after a heartbeat."""
MARGIN = 4.0
"""Seconds by which a worker ends its quotas before the store does: what may pass between the reading of the
database's time and the beat, and between the last check of a ticket and the first byte."""
ASK_AGAIN = 0.25
"""Seconds between two beats that somebody's want of a slot asks for."""


def caps_of(systems: Mapping[str, System]) -> dict[str, tuple[str, int]]:
    """What a Gate is to know of a release's systems: the account of each, and its cap over all workers."""
    return {
        name: (f"{name}/{system.account}" if system.account else name, system.caps.concurrency)
        for name, system in systems.items()
    }


class AppliesTransitions(Protocol):
    """A store, as far as a gate needs it."""

    async def apply(self, transition: Any) -> Any: ...


class LimiterClosed(TryAgain):
    """This worker is being stopped: nothing was sent, another worker or the next start will."""


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """How one system stands at this gate, for health and metrics. Times are of the gate's clock."""

    account: str
    slots: int
    in_flight: int
    waiting: dict[str, int]
    """By lane."""
    breaker: BreakerState
    open_since: float | None
    open_for: float
    """Seconds since the breaker opened first; 0 while it is closed."""
    cap: int
    """As configured."""
    present_cap: int
    """What throttling left of it, over all workers."""
    retry_tokens: float


class ConcurrencyLimiter:
    """The slots of all systems for one worker.

    `caps` gives for each system its account (`system` or `system/account`) and how many calls may be in flight
    there over all workers. `clock` counts seconds and never goes back; `seed` is for the jitter of breakers.
    """

    def __init__(
        self,
        worker: str,
        caps: Mapping[str, tuple[str, int]],
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.worker = worker
        self.hungry = asyncio.Event()
        """Somebody waits for a slot that other workers have: beat now."""
        self._clock = clock
        self._random = Random(seed)  # noqa: S311 - it spreads probes in time, nothing is kept secret by it
        self._lines: dict[str, SystemQueue] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        self._gone = False
        self._others = 0
        """Workers alive beside this one, as of the last beat."""
        self._beating = asyncio.Lock()
        self.configure(caps)

    def configure(self, caps: Mapping[str, tuple[str, int]]) -> None:
        """Systems and caps of a new release; what is in flight stays."""
        for system, (account, cap) in caps.items():
            line = self._lines.get(system)
            if line is None:
                line = self._lines[system] = SystemQueue(system, account, cap, self._random)
            line.account, line.cap = account, cap

    # ------------------------------------------------------------------ in and out

    def try_enter(self, system: str, lane: Lane, retry: bool = False) -> Slot | None:
        """A slot in hand now, or None. Never waits and never overtakes who waits in this lane or a better one.
        Raises KeyError for a system that has no cap."""
        line, now = self._lines[system], self._clock()
        if self._closed:
            return None
        line.serve(now)
        if line.admits(lane, retry, now):
            return line.enter(lane, retry, now)
        line.miss(now)
        self._ask(line, now)
        return None

    async def enter(self, system: str, lane: Lane, retry: bool = False) -> Slot:
        """A slot, when it is this caller's turn. Raises Closed, KeyError for a system that has no cap."""
        if self._closed:
            raise LimiterClosed("this worker is stopping")
        line, now = self._lines[system], self._clock()
        line.serve(now)
        if line.admits(lane, retry, now):
            return line.enter(lane, retry, now)
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        number = line.wait(lane, retry, future, now)
        self._look_again(line, now)
        try:
            return await future
        except asyncio.CancelledError:
            line.go_away(lane, retry, number)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave(future.result(), None)  # the slot came just as its caller gave up
            raise

    def leave(self, ticket: Slot, outcome: Outcome | Absent | None) -> None:
        """Free the slot. `outcome` is what the call, or the look-up, brought; None: nothing was sent.
        Raises ValueError for a ticket given back before."""
        line, now = self._lines[ticket.system], self._clock()
        line.leave(ticket, outcome, now)
        line.serve(now)
        self._look_again(line, now)

    def holds(self, ticket: Slot) -> bool:
        """Whether the slot is still this worker's: to be asked once more just before the first byte leaves. It is
        not when heartbeats stopped meanwhile, as in a process that slept: others may have been given the slot."""
        line = self._lines[ticket.system]
        return ticket.lease == line.lease and self._clock() < line.good_until

    def _look_again(self, line: SystemQueue, now: float) -> None:
        """Ask for slots where others have them; come back when time alone may let in who waits."""
        self._ask(line, now)
        timer = self._timers.pop(line.system, None)
        if timer is not None:
            timer.cancel()
        times = [line.changes_at(now)]
        if line.waiting and line.short(now):
            times.append(max(now, line.asked_at + ASK_AGAIN))
        at = min((at for at in times if at is not None), default=None)
        if at is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timers[line.system] = loop.call_later(max(0.001, at - now), self._on_time, line)

    def _ask(self, line: SystemQueue, now: float) -> None:
        """Have the next beat come at once: for slots that are wanted, for slots that others may have, for a cap
        that was found wrong."""
        idle = self._others >= line.cap and line.slots > 0 and not line.demand
        frees = idle or line.kept > max(line.slots, line.in_flight)
        lowers = line.new_cap is not None and line.new_cap.lowers
        if lowers or ((frees or line.short(now)) and now >= line.asked_at + ASK_AGAIN):
            self.hungry.set()

    def _on_time(self, line: SystemQueue) -> None:
        now = self._clock()
        line.serve(now)
        self._look_again(line, now)

    # ------------------------------------------------------------------ heartbeats

    async def beat(self, store: AppliesTransitions, now: datetime) -> None:
        """Say that this worker lives, and ask for its quotas; `now` is the database's time, just read. To be called
        every few seconds, and at once when `hungry` is set. Raises TryAgain: then quotas run on to their end."""
        began = self._clock()
        async with self._beating:
            self.hungry.clear()
            if self._gone:
                return
            await self._tune(store, now)
            if await self._beat(store, now, began):
                await self._beat(store, now, began)

    async def _tune(self, store: AppliesTransitions, now: datetime) -> None:
        for line in self._lines.values():
            new = line.new_cap
            if new is not None:
                quiet = timedelta(seconds=0.0 if new.lowers else RAISE_AFTER)
                await store.apply(
                    SetCap(account=line.account, seen=new.seen, cap=new.cap, quiet=quiet, at=now)
                )
                if line.new_cap is new:
                    line.new_cap = None

    async def _beat(self, store: AppliesTransitions, now: datetime, began: float) -> bool:
        """One heartbeat; whether another one follows at once: to give slots back, or to ask for all as the only one."""
        lines = list(self._lines.values())
        wants = tuple(self._want(line, self._clock()) for line in lines)
        beaten = await store.apply(Heartbeat(worker=self.worker, until=now + LIFE, wants=wants, at=now))
        widowed = self._others > 0 and beaten.others == 0
        self._others = beaten.others
        for line, grant in zip(lines, beaten.grants, strict=False):
            self._granted(line, grant, began)
        after = self._clock()
        for line in lines:
            line.serve(after)
            self._look_again(line, after)
        return widowed or any(line.kept > max(line.slots, line.in_flight) for line in lines)

    def _want(self, line: SystemQueue, now: float) -> QuotaRequest:
        line.asked_at = now
        wanted = 0 if self._closed else line.wanted(now, self._others == 0, self._others >= line.cap)
        line.missed = 0
        return QuotaRequest(account=line.account, cap=line.cap, wanted=wanted, held=line.held(now))

    def _granted(self, line: SystemQueue, grant: QuotaGrant, began: float) -> None:
        if began >= line.good_until:
            line.lease += 1  # for a while nobody vouched for the slots in hand
        line.kept = grant.kept
        if line.new_cap is not None and line.new_cap.lowers:
            line.slots = min(line.slots, grant.n)  # it throttled while the answer was on its way
        else:
            line.slots, line.aim = grant.n, grant.cap
        line.good_until = began + LIFE.total_seconds() - MARGIN

    async def give_back(self, store: AppliesTransitions, now: datetime) -> bool:
        """Let nobody in any more and return what is not in use; whether that was all. When calls are still under
        way they go on counting: call again once they have ended."""
        self.close()
        if self.in_flight:
            await self.beat(store, now)
            return False
        async with self._beating:
            await store.apply(ReleaseWorker(worker=self.worker, at=now))
            self._gone = True
            return True

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Let nobody in any more; who waits hears of it. Tickets given out stay good, and heartbeats go on until
        they are back."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for line in self._lines.values():
            line.send_away(LimiterClosed("this worker is stopping"))

    # ------------------------------------------------------------------ what is to be seen

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(self._lines)

    @property
    def in_flight(self) -> int:
        return sum(line.in_flight for line in self._lines.values())

    def state(self, system: str) -> QueueState:
        """How a system stands. Raises KeyError for one that has no cap."""
        line, now = self._lines[system], self._clock()
        since = line.breaker.open_since
        return QueueState(
            account=line.account,
            slots=line.slots if now < line.good_until else 0,
            in_flight=line.in_flight,
            waiting={lane.name.lower(): line.waiting_in(lane) for lane in Lane},
            breaker=line.breaker.state,
            open_since=since,
            open_for=0.0 if since is None else now - since,
            cap=line.cap,
            present_cap=line.aim,
            retry_tokens=line.budget.tokens,
        )
