"""Approvals: the decisions of persons on one exact subject.

The subject is a digest of the covered values, the matrix and the target. A decision on another subject has no effect.
Requester and approvers are compared as persons.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from counterfoil.core.money import Money


class ApprovalState(StrEnum):
    OPEN = "open"
    GRANTED = "granted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    STALE = "stale"
    VOID = "void"


_A = ApprovalState
APPROVAL_MOVES: dict[ApprovalState, frozenset[ApprovalState]] = {
    _A.OPEN: frozenset({_A.GRANTED, _A.REJECTED, _A.EXPIRED, _A.STALE, _A.VOID}),
    _A.GRANTED: frozenset({_A.STALE, _A.VOID}),
    **dict.fromkeys((_A.REJECTED, _A.EXPIRED, _A.STALE, _A.VOID), frozenset()),
}


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Request for the decisions of `quorum` persons on one subject, and its state."""

    id: str
    run: str
    path: str
    policy: str
    subject: str
    covers: bytes
    """The covered values, in the internal encoding. The approver sees them."""
    amount: Money | None
    roles: tuple[str, ...]
    quorum: int
    requester: str
    state: ApprovalState = ApprovalState.OPEN
    expires: datetime
    created_at: datetime
    automatic: bool = False


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of one person."""

    approval: str
    person: str
    approve: bool
    comment: str
    at: datetime
