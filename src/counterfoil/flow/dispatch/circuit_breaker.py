"""What keeps a system that fails from being called over and over: the breaker, and the budget of retries.

Both are of one worker and one system, know only what they are told, and read no clock: `now` is passed in, in
seconds of any clock that does not go back.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from random import Random

from counterfoil.connectors.sdk import Absent, Outcome, Rejected, Unknown
from counterfoil.core.errors import ErrorClass

CONSECUTIVE = 5
"""Failures in a row that open the breaker."""
WINDOW = 20
WINDOW_SECONDS = 60.0
SHARE = 0.5
"""Of the last WINDOW outcomes within WINDOW_SECONDS: more failures than this open it too."""
SHORTEST, LONGEST = 1.0, 60.0
"""Seconds that it stays open, doubling from one failed probe to the next."""

EARNED = 0.2
"""What a first attempt adds to the retry budget: one retry for five of them."""
SAVED = 50.0
START = 10.0
FLOOR = 1.0
"""Seconds after which one retry may go whatever the budget."""


class CallHealth(StrEnum):
    """What an outcome tells about its system, as apart from the business that was asked."""

    ANSWERED = "answered"
    THROTTLED = "throttled"
    FAILED = "failed"


def classify(outcome: Outcome | Absent) -> CallHealth:
    """A refusal on business grounds is an answer like any other. Without an answer, or shut out: failed."""
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
    """closed -> open after failures; half-open after a while, for one probe; closed again when that is answered."""

    def __init__(self, random: Random) -> None:
        self.state = BreakerState.CLOSED
        self.open_since: float | None = None
        """When it opened first; failed probes do not move it."""
        self.reopens = 0.0
        """When the next probe may go."""
        self.epoch = 0
        """Outcomes of calls begun in an earlier one tell nothing new."""
        self._random = random
        self._row = 0
        self._seen: deque[tuple[float, bool]] = deque(maxlen=WINDOW)
        self._openings = 0

    def admits(self, now: float) -> bool:
        """Half-open admits nobody: its one probe is under way."""
        return self.state is BreakerState.CLOSED or (self.state is BreakerState.OPEN and now >= self.reopens)

    def enter(self, now: float) -> int:
        """A call begins, which `admits` allowed; the epoch that its outcome belongs to."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
            self.epoch += 1
        return self.epoch

    def nothing(self, epoch: int, now: float) -> None:
        """A call that was let in was not made: was it the probe, the next one is."""
        if epoch == self.epoch and self.state is BreakerState.HALF_OPEN:
            self.state, self.reopens = BreakerState.OPEN, now

    def learn(self, epoch: int, failed: bool, now: float) -> None:
        """What became of a call."""
        if epoch != self.epoch or self.state is BreakerState.OPEN:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._open(now) if failed else self._close()
            return
        self._row = self._row + 1 if failed else 0
        self._seen.append((now, failed))
        if self._row >= CONSECUTIVE or self._mostly_failed(now):
            self._open(now)

    def _mostly_failed(self, now: float) -> bool:
        lately = [failed for at, failed in self._seen if at > now - WINDOW_SECONDS]
        return len(lately) >= WINDOW and sum(lately) > SHARE * len(lately)

    def _open(self, now: float) -> None:
        wait = SHORTEST * 2.0 ** min(self._openings, 10) * self._random.uniform(0.75, 1.25)
        self._openings += 1
        self.state = BreakerState.OPEN
        self.reopens = now + min(LONGEST, max(SHORTEST, wait))
        self.epoch += 1
        if self.open_since is None:
            self.open_since = now

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self.open_since = None
        self.epoch += 1
        self._row = self._openings = 0
        self._seen.clear()


class RetryBudget:
    """Tokens for retries: first attempts earn them, so that retries stay a share of the traffic. One retry a
    second may go without, or a system that had failed for all would never be tried again."""

    def __init__(self) -> None:
        self.tokens = START
        self._last = float("-inf")
        """When a retry went without a token."""

    def admits(self, now: float) -> bool:
        return self.tokens >= 1.0 or now >= self._last + FLOOR

    def next(self) -> float:
        """When a retry may go without a token."""
        return self._last + FLOOR

    def take(self, now: float) -> bool:
        """A retry begins, which `admits` allowed; whether it cost a token."""
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return True
        self._last = now
        return False

    def give_back(self) -> None:
        """A retry that cost a token was not made."""
        self.tokens = min(SAVED, self.tokens + 1.0)

    def earn(self) -> None:
        """A first attempt was made."""
        self.tokens = min(SAVED, self.tokens + EARNED)
