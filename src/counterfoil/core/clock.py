"""Time at the edge: the only place that asks the machine. Rules take `now` as a parameter."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, aware UTC, with microseconds."""
    return datetime.now(UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of an aware moment; exact."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


class JumpDetector:
    """Tells when wall clock and monotonic clock part: a jump, after which expiries must not be believed."""

    def __init__(self, limit: float = 5.0) -> None:
        self.limit = limit
        self._offset = time.time() - time.monotonic()

    def jumped(self) -> float | None:
        """Seconds by which the wall clock jumped since the last call, when beyond the limit."""
        offset = time.time() - time.monotonic()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > self.limit else None
