"""Deliveries of notices: claimed before they are sent, and ended by what was answered."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from counterfoil.core.case import Case
from counterfoil.core.delivery import NoticeDelivery
from counterfoil.store.port.transition import ALONE, Transition

DeliveryEnd: TypeAlias = Literal["sent", "later", "failed", "obsolete"]


class ClaimDeliveries(Transition[tuple[NoticeDelivery, ...]], frozen=True, kw_only=True):
    """Take deliveries that are due, with the bytes to send; returns them. The intent is durable before the call.

    One whose lease ended was perhaps sent: it is taken again, and sent with the same id and bytes. A mail in the person's
    quiet hours is put off to their end; one of which the person has read or wants nothing is obsolete. Leaf for each.
    """

    at: datetime
    limit: int

    def keys(self) -> frozenset[str]:
        return frozenset(["deliveries", ALONE])


class EndDelivery(Transition[bool], frozen=True, kw_only=True):
    """Record the outcome of an attempt; False if a later attempt has begun meanwhile. Leaf."""

    id: str
    attempts: int
    """Of the attempt; its guard."""
    end: DeliveryEnd
    at: datetime
    next_at: datetime
    error: str = ""
    case: Case | None = None
    """Opened with a failure."""

    def keys(self) -> frozenset[str]:
        return frozenset(["deliveries", ALONE, self.id])
