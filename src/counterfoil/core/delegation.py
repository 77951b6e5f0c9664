"""Delegations: a person who is away lets another one decide approvals, for a time and up to an amount.

Pure. The receiver decides by the giver's roles, and both names are on record. A delegation never passes on what the giver
has received, and it never lets a person decide what the person or the giver requested or sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from counterfoil.core import ids
from counterfoil.core.approval import Approval
from counterfoil.core.clock import micros
from counterfoil.core.money import Money

MAX_DELEGATION = timedelta(days=366)
MAX_DELEGATION_REASON_CHARS = 500


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions on approvals that one person lets another take."""

    id: str
    giver: str
    receiver: str
    starts_at: datetime
    ends_at: datetime
    """It holds from `starts_at` to before `ends_at`."""
    up_to: Money | None = None
    """The largest amount, without its sign. None: any amount, and approvals that have none."""
    reason: str = ""
    created_at: datetime
    ended_at: datetime | None = None
    """When the giver took it back. None: not."""

    def holds(self, at: datetime) -> bool:
        """Report whether the receiver may decide at a time."""
        return self.ended_at is None and self.starts_at <= at < self.ends_at

    def covers(self, amount: Money | None) -> bool:
        """Report whether an approval over an amount is within the limit. An amount in another currency is not."""
        if self.up_to is None:
            return True
        return (
            amount is not None
            and amount.currency == self.up_to.currency
            and abs(amount.minor) <= self.up_to.minor
        )

    def fits(self, approval: Approval, at: datetime) -> bool:
        return self.holds(at) and self.covers(approval.amount)


def delegation_id(giver: str, receiver: str, starts_at: datetime, ends_at: datetime, at: datetime) -> str:
    """Return the id of a delegation that is made at a time."""
    return ids.derive("delegation", giver, receiver, micros(starts_at), micros(ends_at), micros(at))
