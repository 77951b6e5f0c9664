"""When to try again: exponential, capped, jittered without randomness."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from counterfoil.model.definition import RetryPolicy


def next_try(
    policy: RetryPolicy, tries: int, seed: str, now: datetime, asked_ms: int | None = None
) -> datetime | None:
    """The moment of try number `tries + 1`, or None when the budget is spent.

    Waits lie between half and the whole of first * 2^(tries-1), capped; the place in between comes from a
    digest of `seed`, so that a crowd spreads and a repeat of the decision gives the same moment. A wait that
    the other system asked for (`asked_ms`) is never undercut.
    """
    if tries >= policy.attempts:
        return None
    whole = min(policy.cap, policy.first * 2 ** max(0, min(tries - 1, 40)))
    share = int.from_bytes(hashlib.sha256(f"{seed}/{tries}".encode()).digest()[:4], "big")
    milliseconds = int(whole * 500) + int(whole * 500) * share // 0xFFFFFFFF
    return now + timedelta(milliseconds=max(milliseconds, asked_ms or 0))
