"""Calls of Operations by consumers: idempotency keys, stored answers and rate limits.

A consumer's key names one call of one operation without a time limit. A repeat gets the answer of the first call.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core.clock import micros

DOOR = "operation"
"""The door of receipts that are consumers' requests."""


class OperationCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call, identified by `consumer`, `operation` and `key`."""

    consumer: str
    """The person whose token authenticated it."""
    operation: str
    """Name without its version. All versions of an operation share one set of keys."""
    version: int = 1
    """The requested version."""
    key: str
    digest: str
    """SHA-256 of operation, requested version and input: separates a repeat from another call under the same key."""
    correlation: str
    run: str | None = None
    """The Run that it started."""
    receipt: int = 0
    """The receipt of the request."""
    holder: str
    """The process that answers it; each attempt has a new name."""
    until: datetime
    """End of the holder's lease. Without an answer by then, the next repeat takes the call over."""
    at: datetime
    status: int | None = None
    """None while there is no answer."""
    headers: dict[str, str] = {}
    body: bytes = b""
    answered_at: datetime | None = None


class CallRate(msgspec.Struct, frozen=True, kw_only=True):
    """Rate limit of one consumer for one operation: `at_most` calls per `every` seconds, and at most `burst` at once."""

    at_most: int
    every: float
    burst: int

    @property
    def step(self) -> int:
        """Microseconds after which one more call is allowed."""
        return max(1, round(self.every * 1_000_000 / self.at_most))


class RateAllowance(msgspec.Struct, frozen=True, kw_only=True):
    """Rest of a rate limit after a call."""

    calls: int
    """Calls that are allowed at once."""
    reset: float
    """Seconds until the full burst is available."""
    wait: float = 0.0
    """Seconds until the next call is allowed, if none is left."""


def take(rate: CallRate, spent_until: int, at: datetime) -> tuple[int, RateAllowance, bool]:
    """Take one call from a rate. Return the new `spent_until`, the allowance left, and whether the call is allowed.

    The state is one number: the moment at which the full burst is available again (generic cell rate algorithm).
    `spent_until` is in microseconds since 1970, and 0 before the first call.
    """
    now, whole = micros(at), rate.step * rate.burst
    spent = max(now, spent_until)
    after = spent + rate.step
    if after - now > whole:
        wait = (after - now - whole) / 1_000_000
        return spent_until, RateAllowance(calls=0, reset=(spent - now) / 1_000_000, wait=wait), False
    left = (whole - (after - now)) // rate.step
    return after, RateAllowance(calls=left, reset=(after - now) / 1_000_000), True
