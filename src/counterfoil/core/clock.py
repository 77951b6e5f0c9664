"""Time at the edge: the only place that asks the machine. Rules take `now` as a parameter."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, aware UTC, with microseconds."""
    return datetime.now(UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of an aware moment; exact."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def passed() -> float:
    """Seconds on a clock of this machine that never goes back and goes on while the process or the machine sleeps."""
    return time.clock_gettime(_SINCE_BOOT)


_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Steady:
    """Holds the time that everybody goes by against a clock of this machine that cannot be set. Where they part,
    time has jumped, and whatever it says has passed may not have.

    After a jump, nothing is sure for `settle` seconds. `here` is that clock.
    """

    def __init__(self, settle: float, limit: float = 5.0, here: Callable[[], float] = passed) -> None:
        self.settle = settle
        self.limit = limit
        self._here = here
        self._offset: float | None = None
        self._unsure_until = float("-inf")
        self._jumped: float | None = None

    def sure(self, now: datetime) -> bool:
        """Whether spans that end at `now` have truly passed."""
        here = self._here()
        offset = now.timestamp() - here
        jump = 0.0 if self._offset is None else offset - self._offset
        self._offset = offset
        if abs(jump) > self.limit:
            self._jumped = jump
            self._unsure_until = here + self.settle
        return here >= self._unsure_until

    def jumped(self, now: datetime) -> float | None:
        """Seconds of a jump that nobody was told of yet."""
        self.sure(now)
        jump, self._jumped = self._jumped, None
        return jump
