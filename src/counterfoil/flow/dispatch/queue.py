"""Queue of one system in one worker: its slots, the calls in flight, and the waiters by lane.

The limiter sets the number of slots and their expiry; the queue knows no store, task or other worker. Times are
seconds of the limiter's clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from enum import IntEnum
from random import Random

from counterfoil.connectors.sdk import Absent, Outcome, Rejected, Unknown
from counterfoil.flow.dispatch.circuit_breaker import CallHealth, CircuitBreaker, RetryBudget, classify

LOWER_LANE_SLOTS = 8
"""While lower lanes wait, one slot in this many goes to the call there that has waited longest."""
MAX_PAUSE_SECONDS = 60.0
"""Longest pause that a system may request by Retry-After."""
RAISE_AFTER_SECONDS = 5.0
"""Time without a change after which the cap in use may rise by one."""
PEAK_SECONDS = 10.0
"""Time for which the peak demand still counts."""


class Lane(IntEnum):
    """Priority of a call. Smaller goes first."""

    CLOSE = 0
    """For the close of a period."""
    LIVE = 1
    RETRY = 2
    REPLAY = 3


LOW = frozenset({Lane.RETRY, Lane.REPLAY})
"""Lanes that never take the last of several slots."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One slot taken. Give it back by `leave`, once."""

    system: str
    lane: Lane
    retry: bool
    lease: int
    """The uninterrupted quota lease under which it was granted."""
    window: int
    """Calls that started before the cap was lowered do not lower it again."""
    epoch: int
    """Epoch of the circuit breaker."""
    paid: bool
    """It cost a retry token."""


@dataclass(frozen=True, slots=True)
class LearnedCap:
    """A cap that this worker measured, for all workers."""

    before: int
    cap: int

    @property
    def lowers(self) -> bool:
        return self.cap < self.before


class SystemQueue:
    """One system's slots and waiters."""

    def __init__(self, system: str, account: str, cap: int, random: Random) -> None:
        self.system = system
        self.account = account
        self.cap = cap
        """As configured, over all workers."""
        self.aim = cap
        """Cap in use at present, over all workers."""
        self.slots = 0
        self.good_until = float("-inf")
        self.lease = 0
        self.counted = 0
        """Slots that the store counts for this worker."""
        self.asked_at = float("-inf")
        self.breaker = CircuitBreaker(random)
        self.budget = RetryBudget()
        self.new_cap: LearnedCap | None = None
        self.failures = 0
        """Calls that failed since the last answer."""
        self.failure = ""
        """Reason of the last failed call; empty after an answer."""
        self.answered_at: float | None = None
        self.missed = 0
        """Calls turned away for lack of a slot since the last heartbeat."""
        self._inside: dict[Slot, None] = {}
        self._lanes: Counter[Lane] = Counter()
        self._waiting: dict[tuple[Lane, bool], OrderedDict[int, asyncio.Future[Slot]]]
        self._waiting = defaultdict(OrderedDict)
        self._arrivals = 0
        self._passed = 0
        """Slots granted to higher lanes while a lower lane waited."""
        self._paused_until = float("-inf")
        self._window = 0
        self._answered = 0
        self._changed_at = float("-inf")
        self._peak = 0
        self._peak_at = float("-inf")

    # ------------------------------------------------------------------ demand

    @property
    def in_flight(self) -> int:
        return len(self._inside)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values())) if self._waiting else 0

    def waiting_in(self, lane: Lane) -> int:
        return sum(len(self._waiting.get((lane, retry), ())) for retry in (False, True))

    def inside(self, lane: Lane) -> int:
        return self._lanes[lane]

    def in_use(self, now: float) -> int:
        """Return the most calls that this worker may have in flight until the next grant."""
        return max(self.in_flight, self.slots if now < self.good_until else 0)

    def short(self, now: float) -> bool:
        """Return True if a call needs a slot that other workers hold, or that is not granted yet."""
        if not (self.waiting or self.missed):
            return False
        return now >= self.good_until or (self.in_flight >= self.slots < min(self.cap, self.aim))

    @property
    def demand(self) -> int:
        """Calls that would be in flight with unlimited slots."""
        return self.in_flight + self.waiting + self.missed

    def slots_to_request(self, now: float, alone: bool, crowded: bool) -> int:
        """Return how many slots to request.

        All if this is the only worker, else the recent peak plus one spare. If there are fewer slots than workers:
        the present demand, so that no slot is idle here.
        """
        self._notice(now)
        if alone:
            return self.cap
        return min(self.cap, self.demand if crowded else self._peak + 1)

    def _notice(self, now: float) -> None:
        demand = self.demand
        if demand >= self._peak or now > self._peak_at + PEAK_SECONDS:
            self._peak, self._peak_at = demand, now

    # ------------------------------------------------------------------ in and out

    def admits(self, lane: Lane, retry: bool, now: float) -> bool:
        if now >= self.good_until or now < self._paused_until or self.in_flight >= self.slots:
            return False
        low = sum(self._lanes[other] for other in LOW)
        if lane in LOW and low >= max(1, self.slots - 1):
            return False
        return self.breaker.admits(now) and (not retry or self.budget.admits(now))

    def enter(self, lane: Lane, retry: bool, now: float) -> Slot:
        """Take a slot that `admits` allowed."""
        paid = self.budget.take(now) if retry else False
        epoch = self.breaker.enter(now)
        slot = Slot(self.system, lane, retry, self.lease, self._window, epoch, paid)
        self._inside[slot] = None
        self._lanes[lane] += 1
        self._notice(now)
        return slot

    def miss(self, now: float) -> None:
        """Count a call that was turned away."""
        if now >= self.good_until or self.in_flight >= self.slots:
            self.missed = min(self.missed + 1, self.cap)
            self._notice(now)

    def leave(self, slot: Slot, outcome: Outcome | Absent | None, now: float) -> None:
        """Free the slot and record the outcome. Raises ValueError for a slot that was given back before."""
        if slot not in self._inside:
            raise ValueError(f"a slot of {self.system} was given back twice")
        del self._inside[slot]
        self._lanes[slot.lane] -= 1
        if outcome is None:
            self.breaker.cancel(slot.epoch, now)
            if slot.paid:
                self.budget.give_back()
            return
        if not slot.retry and slot.lane is not Lane.RETRY:
            self.budget.earn()
        verdict = classify(outcome)
        self._remember(outcome, verdict, now)
        self.breaker.record(slot.epoch, verdict is CallHealth.FAILED, now)
        if verdict is CallHealth.THROTTLED:
            after = outcome.retry_after if isinstance(outcome, Rejected) else None
            self._throttle(slot, after, now)
        elif verdict is CallHealth.ANSWERED:
            self._answer(now)

    def _remember(self, outcome: Outcome | Absent, verdict: CallHealth, now: float) -> None:
        """Keep the last answer, or the failures since then, for the health of the system."""
        if verdict is CallHealth.FAILED:
            self.failures += 1
            message = outcome.message if isinstance(outcome, Rejected | Unknown) else ""
            self.failure = message or "it gives no answer"
        else:
            self.failures, self.failure, self.answered_at = 0, "", now

    def _throttle(self, slot: Slot, after: float | None, now: float) -> None:
        if after is not None:
            self._paused_until = max(self._paused_until, now + min(after, MAX_PAUSE_SECONDS))
        self._answered = 0
        if slot.window != self._window:
            return
        self._window += 1
        self._changed_at = now
        lower_cap = max(1, self.aim // 2)
        if lower_cap < self.aim:
            self.new_cap = LearnedCap(self.aim, lower_cap)
            self.aim = lower_cap
            self.slots = min(self.slots, max(1, self.slots // 2))

    def _answer(self, now: float) -> None:
        """Raise the cap by one after a full round of answers with all slots in use."""
        if self.aim >= self.cap or self.in_flight + 1 < self.slots:
            return
        self._answered += 1
        is_quiet = now >= self._changed_at + RAISE_AFTER_SECONDS
        if self._answered >= self.aim and is_quiet and self.new_cap is None:
            self._answered = 0
            self._changed_at = now
            self.new_cap = LearnedCap(self.aim, self.aim + 1)

    # ------------------------------------------------------------------ waiting

    def wait(self, lane: Lane, retry: bool, future: asyncio.Future[Slot], now: float) -> int:
        """Enqueue a waiter. Return its ticket number for `cancel_wait`."""
        self._arrivals += 1
        self._waiting[lane, retry][self._arrivals] = future
        self._notice(now)
        return self._arrivals

    def cancel_wait(self, lane: Lane, retry: bool, number: int) -> None:
        self._waiting[lane, retry].pop(number, None)

    def fail_all(self, error: Exception) -> None:
        """Fail every waiter with the error."""
        for queue in self._waiting.values():
            while queue:
                _, future = queue.popitem(last=False)
                if not future.done():
                    future.set_exception(error)

    def serve(self, now: float) -> None:
        """Grant free slots to the waiters whose turn it is."""
        while (place := self._next(now)) is not None:
            _, future = self._waiting[place].popitem(last=False)
            if not future.done():
                future.set_result(self.enter(*place, now))

    def _next(self, now: float) -> tuple[Lane, bool] | None:
        if not self.waiting:
            self._passed = 0
            return None
        # Admission depends on lane and retry alone, so the first waiter of each queue stands for all of it.
        heads = sorted(
            (place[0], next(iter(queue)), place)
            for place, queue in self._waiting.items()
            if queue and self.admits(*place, now)
        )
        if not heads:
            return None
        best = heads[0]
        lower = [head for head in heads if head[0] > best[0]]
        if not lower:
            return best[2]
        self._passed += 1
        if self._passed < LOWER_LANE_SLOTS:
            return best[2]
        self._passed = 0
        return min(lower, key=lambda head: head[1])[2]

    def changes_at(self, now: float) -> float | None:
        """Return the next time at which a waiter may be admitted without any other change."""
        if not self.waiting:
            return None
        times = [self._paused_until, self.breaker.reopens]
        if any(queue for (_, retry), queue in self._waiting.items() if retry):
            times.append(self.budget.next())
        return min((at for at in times if at > now), default=None)
