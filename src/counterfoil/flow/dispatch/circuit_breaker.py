"""Protection of a failing system against repeated calls: the circuit breaker and the retry budget.

Both belong to one worker and one system. They read no clock: callers pass `now`, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from random import Random

from counterfoil.connectors.sdk import Absent, Outcome, Rejected, Unknown
from counterfoil.core.errors import ErrorClass

MAX_CONSECUTIVE_FAILURES = 5
"""Failures in a row that open the breaker."""
WINDOW_OUTCOMES = 20
WINDOW_SECONDS = 60.0
MAX_FAILED_SHARE = 0.5
"""A larger share of failures among the last outcomes in the window opens the breaker too."""
MIN_OPEN_SECONDS, MAX_OPEN_SECONDS = 1.0, 60.0
"""Time that the breaker stays open; it doubles with each failed probe."""

EARNED_TOKENS = 0.2
"""Tokens that a first attempt adds to the retry budget: one retry per five attempts."""
MAX_TOKENS = 50.0
START_TOKENS = 10.0
FREE_RETRY_SECONDS = 1.0
"""Interval at which one retry is allowed without a token."""


class CallHealth(StrEnum):
    """Health of a system as one outcome shows it, whatever the business answer was."""

    ANSWERED = "answered"
    THROTTLED = "throttled"
    FAILED = "failed"


def classify(outcome: Outcome | Absent) -> CallHealth:
    """Return the health that an outcome shows.

    A business refusal counts as an answer. No answer, or no access, counts as a failure.
    """
    match outcome:
        case Unknown():
            return CallHealth.FAILED
        case Rejected(ErrorClass.THROTTLED):
            return CallHealth.THROTTLED
        case Rejected(ErrorClass.TRANSIENT | ErrorClass.UNAUTHORIZED):
            return CallHealth.FAILED
        case _:
            return CallHealth.ANSWERED


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Circuit breaker: opens after failures, half-opens later for one probe, closes when the probe is answered."""

    def __init__(self, random: Random) -> None:
        self.state = BreakerState.CLOSED
        self.open_since: float | None = None
        """Time of the first opening; failed probes do not change it."""
        self.reopens = 0.0
        """Time at which the next probe is allowed."""
        self.epoch = 0
        """Outcomes of calls from an earlier epoch are ignored."""
        self._random = random
        self._failures_in_row = 0
        self._recent: deque[tuple[float, bool]] = deque(maxlen=WINDOW_OUTCOMES)
        self._openings = 0

    def admits(self, now: float) -> bool:
        """Return True if a call may start. Half-open admits none: its one probe is in flight."""
        return self.state is BreakerState.CLOSED or (self.state is BreakerState.OPEN and now >= self.reopens)

    def enter(self, now: float) -> int:
        """Start a call that `admits` allowed. Return the epoch that its outcome belongs to."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
            self.epoch += 1
        return self.epoch

    def cancel(self, epoch: int, now: float) -> None:
        """Cancel a call that was admitted and not made. If it was the probe, the next call is."""
        if epoch == self.epoch and self.state is BreakerState.HALF_OPEN:
            self.state, self.reopens = BreakerState.OPEN, now

    def record(self, epoch: int, failed: bool, now: float) -> None:
        """Record the outcome of a call."""
        if epoch != self.epoch or self.state is BreakerState.OPEN:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._open(now) if failed else self._close()
            return
        self._failures_in_row = self._failures_in_row + 1 if failed else 0
        self._recent.append((now, failed))
        if self._failures_in_row >= MAX_CONSECUTIVE_FAILURES or self._mostly_failed(now):
            self._open(now)

    def _mostly_failed(self, now: float) -> bool:
        recent = [failed for at, failed in self._recent if at > now - WINDOW_SECONDS]
        return len(recent) >= WINDOW_OUTCOMES and sum(recent) > MAX_FAILED_SHARE * len(recent)

    def _open(self, now: float) -> None:
        wait = MIN_OPEN_SECONDS * 2.0 ** min(self._openings, 10) * self._random.uniform(0.75, 1.25)
        self._openings += 1
        self.state = BreakerState.OPEN
        self.reopens = now + min(MAX_OPEN_SECONDS, max(MIN_OPEN_SECONDS, wait))
        self.epoch += 1
        if self.open_since is None:
            self.open_since = now

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self.open_since = None
        self.epoch += 1
        self._failures_in_row = self._openings = 0
        self._recent.clear()


class RetryBudget:
    """Tokens for retries. First attempts earn them, so retries stay a bounded share of the traffic.

    One retry per second needs no token; otherwise a system that failed for all calls would never be tried again.
    """

    def __init__(self) -> None:
        self.tokens = START_TOKENS
        self._last = float("-inf")
        """Time of the last retry without a token."""

    def admits(self, now: float) -> bool:
        return self.tokens >= 1.0 or now >= self._last + FREE_RETRY_SECONDS

    def next(self) -> float:
        """Return the time at which the next retry needs no token."""
        return self._last + FREE_RETRY_SECONDS

    def take(self, now: float) -> bool:
        """Start a retry that `admits` allowed. Return True if it cost a token."""
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return True
        self._last = now
        return False

    def give_back(self) -> None:
        """Return the token of a retry that was not made."""
        self.tokens = min(MAX_TOKENS, self.tokens + 1.0)

    def earn(self) -> None:
        """Add the tokens of a first attempt."""
        self.tokens = min(MAX_TOKENS, self.tokens + EARNED_TOKENS)
