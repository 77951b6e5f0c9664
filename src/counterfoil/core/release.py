"""A plan, which asks for a change of the model in force, and the history of what was in force.

A plan is named by the digest of what is decided about: the Release that it starts from, the one that it would put in
force, and what policy asks for it. Evidence that was gathered for it (who is affected, what a replay gave) is kept
beside it and may be renewed; the decision is about the change itself.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class PlanState(StrEnum):
    OPEN = "open"
    APPLIED = "applied"
    STALE = "stale"
    """Another Release came into force since."""
    EXPIRED = "expired"


_P = PlanState
PLAN_MOVES: dict[PlanState, frozenset[PlanState]] = {
    _P.OPEN: frozenset({_P.OPEN, _P.APPLIED, _P.STALE, _P.EXPIRED}),
    _P.APPLIED: frozenset({_P.OPEN}),
    _P.STALE: frozenset({_P.OPEN}),
    _P.EXPIRED: frozenset({_P.OPEN}),
}
"""Whoever asks for the same change again opens the plan anew, with new approvals."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    base: str
    """The Release in force when it was made."""
    revision: str
    """The Release that it would put in force."""
    requester: str
    """The person who asked, whose approval does not count."""
    approvals: tuple[str, ...] = ()
    """Ids of the approvals that it waits for."""
    round: int = 1
    """How often this change was asked for: each time has its own approvals."""
    state: PlanState = PlanState.OPEN
    body: bytes = b"{}"
    """What was found out for it, as JSON."""
    created_at: datetime
    expires: datetime


class ReleaseStep(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what is in force."""

    no: int
    """1 for the first Release of a store, without gaps."""
    digest: str
    base: str | None
    """What was in force before; None for the first."""
    plan: str | None
    """None where a folder was published into a store that had no Release."""
    at: datetime
    requester: str
    applied_by: str
    approvers: tuple[str, ...] = ()
    reason: str = ""
    emergency: bool = False
    """Put back without the approvals that policy asks for, by who may do so."""
