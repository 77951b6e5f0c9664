"""Plans, which request a change of the active model, and the history of active Releases.

The digest of a plan covers what persons decide about: the base Release, the new Release, and the approvals that policy
requires. Evidence for the plan (affected parties, replay results) is stored with it, outside the digest, and may be
renewed.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

import msgspec

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_of_plan(run: str) -> bool:
    """Report whether the `run` of an approval is the digest of a plan."""
    return _DIGEST.fullmatch(run) is not None


class PlanState(StrEnum):
    OPEN = "open"
    APPLIED = "applied"
    STALE = "stale"
    """Another Release became active meanwhile."""
    EXPIRED = "expired"


_P = PlanState
PLAN_MOVES: dict[PlanState, frozenset[PlanState]] = {
    _P.OPEN: frozenset({_P.OPEN, _P.APPLIED, _P.STALE, _P.EXPIRED}),
    _P.APPLIED: frozenset({_P.OPEN}),
    _P.STALE: frozenset({_P.OPEN}),
    _P.EXPIRED: frozenset({_P.OPEN}),
}
"""A new request for the same change opens the plan again, with new approvals."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Request to make another Release active."""

    digest: str
    base: str
    """The active Release when the plan was created."""
    revision: str
    """The Release that it would make active."""
    requester: str
    """The requesting person, whose own approval does not count."""
    approvals: tuple[str, ...] = ()
    """Ids of its approvals."""
    round: int = 1
    """Number of requests for this change. Each request has its own approvals."""
    state: PlanState = PlanState.OPEN
    body: bytes = b"{}"
    """The report with its evidence, as JSON."""
    created_at: datetime
    expires: datetime


class ReleaseStep(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the active Release."""

    no: int
    """1 for the first Release of a store; no gaps."""
    digest: str
    base: str | None
    """The Release that was active before; None for the first."""
    plan: str | None
    """None if a folder was published into a store without a Release."""
    at: datetime
    requester: str
    applied_by: str
    approvers: tuple[str, ...] = ()
    reason: str = ""
    emergency: bool = False
    """Restored without the approvals that policy requires, by a person with that permission."""
