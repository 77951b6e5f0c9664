"""A call of an Operation by a consumer: its idempotency key, what was answered, and how many may come.

A consumer's key names one call of one operation for as long as the books are kept: whoever sends it again is given
the first answer.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core.clock import micros

DOOR = "operation"
"""The door of receipts that are consumers' requests."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `consumer`, `operation` and `key` name it."""

    consumer: str
    """The person whose token it came with."""
    operation: str
    """Whatever its version: a key of one version is none of another."""
    version: int = 1
    """That was asked for."""
    key: str
    digest: str
    """SHA-256 of operation, version asked for and input: tells a repeat from another call under the same key."""
    correlation: str
    run: str | None = None
    """The Run that it began."""
    receipt: int = 0
    """The receipt of the request."""
    holder: str
    """Whoever is to answer; a new name for each try."""
    until: datetime
    """By then it is answered, or its holder is gone and the next who asks takes it over."""
    at: datetime
    status: int | None = None
    """None: not answered yet."""
    headers: dict[str, str] = {}
    body: bytes = b""
    answered_at: datetime | None = None


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls one consumer may make of one operation: `at_most` in each `every` seconds, and no more than
    `burst` at once."""

    at_most: int
    every: float
    burst: int

    @property
    def step(self) -> int:
        """Microseconds in which one call is earned."""
        return max(1, round(self.every * 1_000_000 / self.at_most))


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a rate."""

    calls: int
    """That may be made at once."""
    reset: float
    """Seconds until all of them may."""
    wait: float = 0.0
    """Seconds until the next may be made, where none is left."""


def take(rate: Rate, spent_until: int, at: datetime) -> tuple[int, Left, bool]:
    """Take one call of a rate: what is spent now, what is left, and whether it may be made.

    What was made is kept as one number, the moment at which all of it is earned again (the generic cell rate
    algorithm): `spent_until` in microseconds since 1970, 0 where nothing was made yet.
    """
    now, whole = micros(at), rate.step * rate.burst
    spent = max(now, spent_until)
    after = spent + rate.step
    if after - now > whole:
        wait = (after - now - whole) / 1_000_000
        return spent_until, Left(calls=0, reset=(spent - now) / 1_000_000, wait=wait), False
    left = (whole - (after - now)) // rate.step
    return after, Left(calls=left, reset=(after - now) / 1_000_000), True
