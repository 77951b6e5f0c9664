"""Waits between the tries of a call or read."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from counterfoil.model.definition import RetryPolicy


def next_try(
    policy: RetryPolicy, tries: int, seed: str, now: datetime, asked_ms: int | None = None
) -> datetime | None:
    """Return the time of try number `tries + 1`, or None if the retry budget is spent.

    The wait lies between half and the whole of first * 2^(tries-1), capped. The point in between is a digest of `seed`:
    many Runs spread, and a repeated decision gives the same time. It is at least `asked_ms`, if the system sent one.
    """
    if tries >= policy.attempts:
        return None
    whole = min(policy.cap, policy.first * 2 ** max(0, min(tries - 1, 40)))
    share = int.from_bytes(hashlib.sha256(f"{seed}/{tries}".encode()).digest()[:4], "big")
    milliseconds = int(whole * 500) + int(whole * 500) * share // 0xFFFFFFFF
    return now + timedelta(milliseconds=max(milliseconds, asked_ms or 0))
