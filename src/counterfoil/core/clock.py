"""Time at the edge: the only module that reads the machine's clocks. Rules take `now` as a parameter."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the current time, aware UTC, with microseconds."""
    return datetime.now(UTC)


def micros(moment: datetime) -> int:
    """Return the microseconds since 1970-01-01 UTC of an aware moment, exactly."""
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(microseconds: int) -> datetime:
    """Return the UTC moment of microseconds since 1970-01-01 UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def latest_end(at: datetime, until: datetime) -> datetime:
    """Return the latest end that a lease written by a right clock can have, seen by a writer of one from `at` to `until`.

    Other writers may have read the time a moment later, so it is two lifetimes away. A later end comes from a clock that
    was ahead.
    """
    return until + (until - at)


def steady_seconds() -> float:
    """Return the seconds of a clock that never goes back and that runs on while the machine sleeps."""
    return time.clock_gettime(_SINCE_BOOT)


_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class JumpDetector:
    """Comparison of the shared time with a clock of this machine that cannot be set.

    If the two drift apart by more than `limit` seconds, the shared time has jumped: a timeout that it shows as over may
    still run. After a jump nothing is reliable for `settle` seconds. `here` reads the clock of this machine.
    """

    def __init__(self, settle: float, limit: float = 5.0, here: Callable[[], float] = steady_seconds) -> None:
        self.settle = settle
        self.limit = limit
        self._here = here
        self._offset: float | None = None
        self._unreliable_until = float("-inf")
        self._jump: float | None = None

    def is_reliable(self, now: datetime) -> bool:
        """Return whether a timeout that ends at `now` is truly over."""
        here = self._here()
        offset = now.timestamp() - here
        jump = 0.0 if self._offset is None else offset - self._offset
        self._offset = offset
        if abs(jump) > self.limit:
            self._jump = jump
            self._unreliable_until = here + self.settle
        return here >= self._unreliable_until

    def take_jump(self, now: datetime) -> float | None:
        """Return the seconds of a jump that was not returned before, else None."""
        self.is_reliable(now)
        jump, self._jump = self._jump, None
        return jump
