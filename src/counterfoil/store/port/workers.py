"""The part of the port that workers keep for themselves: heartbeats, quotas of shared accounts, caps in use.

These transitions change when something happens, never what: they carry no leaf.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from counterfoil.store.port.transition import ALONE, Transition


class QuotaRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks of one account."""

    account: str
    cap: int
    """As its release configures it, over all workers."""
    wanted: int
    held: int
    """What it may have in flight before it reads the answer: calls under way, or slots in hand if more."""


class QuotaGrant(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    n: int
    """What the worker may have in flight from now on; what is above it ends and is not begun again."""
    kept: int
    """What the account still counts as this worker's: more than `n` until it says that it holds less."""
    cap: int
    """The cap in use, over all workers."""
    until: datetime


class HeartbeatResult(msgspec.Struct, frozen=True, kw_only=True):
    grants: tuple[QuotaGrant, ...]
    """In the order of the wants; none when the beat came too late."""
    others: int
    """Other workers alive."""


class Heartbeat(Transition[HeartbeatResult], frozen=True, kw_only=True):
    """A worker lives until `until`, and asks for quotas. In one transaction, on the locked rows of the accounts:
    quotas of workers that are gone end, and each account wanted is shared anew by `core.quota.granted`. A beat
    older than the worker's last one changes nothing. Workers gone for a day are forgotten."""

    worker: str
    until: datetime
    wants: tuple[QuotaRequest, ...] = ()
    at: datetime

    def keys(self) -> frozenset[str]:
        return _QUOTAS


class ReleaseWorker(Transition[bool], frozen=True, kw_only=True):
    """A worker stops with nothing under way: its quotas are free at once."""

    worker: str
    at: datetime
    lives: bool = False
    """Of the other lives of this worker, too: of those whose id is the same up to its last `/`. They have ended,
    because a name is one process's. Of itself nothing is taken."""

    def keys(self) -> frozenset[str]:
        return _QUOTAS


class SetCapResult(msgspec.Struct, frozen=True, kw_only=True):
    applied: bool
    cap: int
    """The cap in use now; 0 for an account that nobody uses yet."""


class SetCap(Transition[SetCapResult], frozen=True, kw_only=True):
    """The cap in use of an account, found by one worker for all of them. Only from `seen`, so that workers that
    learn the same at once change it once, and not within `quiet` of the last change."""

    account: str
    seen: int
    cap: int
    quiet: timedelta = timedelta()
    at: datetime

    def keys(self) -> frozenset[str]:
        return _QUOTAS


_QUOTAS = frozenset(["quotas", ALONE])
"""Every worker locks the accounts' rows, so they are not held for as long as a batch takes."""
