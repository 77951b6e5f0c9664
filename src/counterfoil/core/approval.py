"""Approvals: the decisions of persons on one exact subject.

The subject is a digest of the covered values, the matrix and the target. A decision on another subject has no effect.
Requester and approvers are compared as persons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.money import Money
from counterfoil.core.people import Person, fold_name


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


Part: TypeAlias = Literal["requester", "sender"]


def part_in_request(requester: str, senders: Iterable[str], person: Person) -> Part | None:
    """Return the part that a person has in a request. Earlier versions stored the requester as the event named it."""
    names = person.names()
    if fold_name(requester) in names:
        return "requester"
    return "sender" if any(fold_name(sender) in names for sender in senders) else None


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
    """Id of the person who requested it, or `system/NAME` if no person did."""
    senders: tuple[str, ...] = ()
    """Ids of the persons who sent the events that it rests on: they do not decide either."""
    state: ApprovalState = ApprovalState.OPEN
    expires: datetime
    created_at: datetime
    automatic: bool = False
    entity: str = ""
    """Legal entity of what is decided on; empty for a change of governance."""

    def part_of(self, person: Person) -> Part | None:
        """Return the part that a person has in the request, which keeps them from deciding it; None without one."""
        return part_in_request(self.requester, self.senders, person)

    def is_supported(self, approvers: Collection[Person]) -> bool:
        """Return True if the active persons who approved it suffice, and none of them has a part in the request."""
        if self.automatic:
            return True
        return len(approvers) >= self.quorum and not any(self.part_of(person) for person in approvers)


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of one person."""

    approval: str
    person: str
    approve: bool
    comment: str
    at: datetime
    behalf: str = ""
    """The person whose roles it was cast by, through a delegation. Empty: by the voter's own."""
