"""One system at the gate of one worker: its slots, who is inside, and who waits in which lane.

Knows nothing of stores, tasks or other workers: how many slots there are and until when is told by the gate.
Times are seconds of the gate's clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from random import Random

from counterfoil.connectors.sdk import Absent, Outcome, Rejected
from counterfoil.flow.dispatch.circuit_breaker import CallHealth, CircuitBreaker, RetryBudget, classify

LOWER_TURN = 8
"""Every so manieth slot that lower lanes see given away is theirs."""
LONGEST_PAUSE = 60.0
"""What a system may ask for by Retry-After, in seconds, at most."""
RAISE_AFTER = 5.0
"""Seconds without a change before the cap in use may rise by one."""
REMEMBERED = 10.0
"""Seconds for which the most that was wanted at once is still asked for."""


class Lane(IntEnum):
    """Which calls go first. Smaller is better."""

    CLOSE = 0
    """A period's close waits for it."""
    LIVE = 1
    RETRY = 2
    REPLAY = 3


LOW = frozenset({Lane.RETRY, Lane.REPLAY})
"""Lanes that never hold the last of several slots."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One slot in hand. To be given back by `leave`, once."""

    system: str
    lane: Lane
    retry: bool
    lease: int
    """The unbroken time of quotas in which it was given."""
    window: int
    """Calls begun before the cap was lowered do not lower it again."""
    epoch: int
    """The breaker's."""
    paid: bool
    """It cost a retry token."""


@dataclass(frozen=True, slots=True)
class LearnedCap:
    """The cap that this worker found to be right, for all workers."""

    seen: int
    cap: int

    @property
    def lowers(self) -> bool:
        return self.cap < self.seen


class SystemQueue:
    """One system's slots and waiters."""

    def __init__(self, system: str, account: str, cap: int, random: Random) -> None:
        self.system = system
        self.account = account
        self.cap = cap
        """As configured, over all workers."""
        self.aim = cap
        """What all workers together let have at present."""
        self.slots = 0
        self.good_until = float("-inf")
        self.lease = 0
        self.kept = 0
        """Slots that the store still counts as ours."""
        self.asked_at = float("-inf")
        self.breaker = CircuitBreaker(random)
        self.budget = RetryBudget()
        self.new_cap: LearnedCap | None = None
        self.missed = 0
        """Who was turned away for want of a slot since the last beat."""
        self._inside: dict[Slot, None] = {}
        self._lanes: Counter[Lane] = Counter()
        self._waiting: dict[tuple[Lane, bool], OrderedDict[int, asyncio.Future[Slot]]] = {
            (lane, retry): OrderedDict() for lane in Lane for retry in (False, True)
        }
        self._arrivals = 0
        self._passed = 0
        """Slots given away while a lower lane waited."""
        self._paused_until = float("-inf")
        self._window = 0
        self._answered = 0
        self._changed_at = float("-inf")
        self._peak = 0
        self._peak_at = float("-inf")

    # ------------------------------------------------------------------ what there is

    @property
    def in_flight(self) -> int:
        return len(self._inside)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waiting_in(self, lane: Lane) -> int:
        return sum(len(self._waiting[lane, retry]) for retry in (False, True))

    def inside(self, lane: Lane) -> int:
        return self._lanes[lane]

    def held(self, now: float) -> int:
        """What this worker may have in flight before it is told anything else."""
        return max(self.in_flight, self.slots if now < self.good_until else 0)

    def short(self, now: float) -> bool:
        """Somebody wants a slot that other workers have, or that nobody granted yet."""
        if not (self.waiting or self.missed):
            return False
        return now >= self.good_until or (self.in_flight >= self.slots < min(self.cap, self.aim))

    @property
    def demand(self) -> int:
        """How many calls there would be if there were slots."""
        return self.in_flight + self.waiting + self.missed

    def wanted(self, now: float, alone: bool, crowded: bool) -> int:
        """How many slots to ask for: all when alone, else what was wanted at once lately and one in hand; where
        there is not one for each worker, what is wanted now, so that no slot lies idle here."""
        self._notice(now)
        if alone:
            return self.cap
        return min(self.cap, self.demand if crowded else self._peak + 1)

    def _notice(self, now: float) -> None:
        demand = self.demand
        if demand >= self._peak or now > self._peak_at + REMEMBERED:
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
        """Take a slot, which `admits` allowed."""
        paid = self.budget.take(now) if retry else False
        epoch = self.breaker.enter(now)
        ticket = Slot(self.system, lane, retry, self.lease, self._window, epoch, paid)
        self._inside[ticket] = None
        self._lanes[lane] += 1
        self._notice(now)
        return ticket

    def miss(self, now: float) -> None:
        """Somebody was turned away."""
        if now >= self.good_until or self.in_flight >= self.slots:
            self.missed = min(self.missed + 1, self.cap)
            self._notice(now)

    def leave(self, ticket: Slot, outcome: Outcome | Absent | None, now: float) -> None:
        """Free the slot and learn from the outcome. Raises ValueError for a ticket that is not inside."""
        if ticket not in self._inside:
            raise ValueError(f"a ticket to {self.system} was given back twice")
        del self._inside[ticket]
        self._lanes[ticket.lane] -= 1
        if outcome is None:
            self.breaker.nothing(ticket.epoch, now)
            if ticket.paid:
                self.budget.give_back()
            return
        if not ticket.retry and ticket.lane is not Lane.RETRY:
            self.budget.earn()
        verdict = classify(outcome)
        self.breaker.learn(ticket.epoch, verdict is CallHealth.FAILED, now)
        if verdict is CallHealth.THROTTLED:
            after = outcome.retry_after if isinstance(outcome, Rejected) else None
            self._throttled(ticket, after, now)
        elif verdict is CallHealth.ANSWERED:
            self._answer(now)

    def _throttled(self, ticket: Slot, after: float | None, now: float) -> None:
        if after is not None:
            self._paused_until = max(self._paused_until, now + min(after, LONGEST_PAUSE))
        self._answered = 0
        if ticket.window != self._window:
            return
        self._window += 1
        self._changed_at = now
        lower = max(1, self.aim // 2)
        if lower < self.aim:
            self.new_cap = LearnedCap(self.aim, lower)
            self.aim = lower
            self.slots = min(self.slots, max(1, self.slots // 2))

    def _answer(self, now: float) -> None:
        """One more, once as many calls as may be in flight were answered and all slots were in use."""
        if self.aim >= self.cap or self.in_flight + 1 < self.slots:
            return
        self._answered += 1
        if self._answered >= self.aim and now >= self._changed_at + RAISE_AFTER and self.new_cap is None:
            self._answered = 0
            self._changed_at = now
            self.new_cap = LearnedCap(self.aim, self.aim + 1)

    # ------------------------------------------------------------------ waiting

    def wait(self, lane: Lane, retry: bool, future: asyncio.Future[Slot], now: float) -> int:
        """Queue up; the number to go away with."""
        self._arrivals += 1
        self._waiting[lane, retry][self._arrivals] = future
        self._notice(now)
        return self._arrivals

    def go_away(self, lane: Lane, retry: bool, number: int) -> None:
        self._waiting[lane, retry].pop(number, None)

    def send_away(self, error: Exception) -> None:
        """Nobody waits any more."""
        for queue in self._waiting.values():
            while queue:
                _, future = queue.popitem(last=False)
                if not future.done():
                    future.set_exception(error)

    def serve(self, now: float) -> None:
        """Give the slots that are free to those whose turn it is."""
        while (place := self._next(now)) is not None:
            _, future = self._waiting[place].popitem(last=False)
            if not future.done():
                future.set_result(self.enter(*place, now))

    def _next(self, now: float) -> tuple[Lane, bool] | None:
        if not self.waiting:
            self._passed = 0
            return None
        # Whether one may go depends on lane and retry alone, so the first of each queue speaks for it.
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
        if self._passed < LOWER_TURN:
            return best[2]
        self._passed = 0
        return min(lower, key=lambda head: head[1])[2]

    def changes_at(self, now: float) -> float | None:
        """When time alone may let in somebody who waits."""
        if not self.waiting:
            return None
        times = [self._paused_until, self.breaker.reopens]
        if any(queue for (_, retry), queue in self._waiting.items() if retry):
            times.append(self.budget.next())
        return min((at for at in times if at > now), default=None)
