"""Delegations of decisions on approvals: made and taken back by the giver."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.core.clock import micros
from counterfoil.core.delegation import MAX_DELEGATION, Delegation
from counterfoil.core.people import Person
from counterfoil.store.port.refusals import RefusedAttempt, refusal_key
from counterfoil.store.port.transition import Transition

DelegateRefusal: TypeAlias = Literal["inactive", "receiver", "self", "past", "time", "long", "overlap"]
DelegateVerdict: TypeAlias = Literal["done", DelegateRefusal]
"""`receiver`: no active person. `overlap`: the same persons have a delegation for a part of this time."""
EndDelegationVerdict: TypeAlias = Literal["done", "ended", "not_found"]


class DelegateResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: DelegateVerdict


class Delegate(Transition[DelegateResult], frozen=True, kw_only=True):
    """Let another person decide approvals. Leaf, also of a refusal."""

    delegation: Delegation
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset([f"delegations/{self.delegation.giver}", refusal_key(self.delegation.giver)])

    def refusal(
        self, giver: Person | None, receiver: Person | None, others: Collection[Delegation]
    ) -> DelegateRefusal | None:
        """Return why it is refused; `others` are the delegations of the giver."""
        new = self.delegation
        if giver is None or not giver.active:
            return "inactive"
        if new.receiver == new.giver:
            return "self"
        if receiver is None or not receiver.active:
            return "receiver"
        if new.ends_at <= self.at:
            return "past"
        if new.ends_at <= new.starts_at:
            return "time"
        if new.ends_at - new.starts_at > MAX_DELEGATION:
            return "long"
        same = (d for d in others if d.receiver == new.receiver and d.ended_at is None)
        if any(d.starts_at < new.ends_at and new.starts_at < d.ends_at for d in same):
            return "overlap"
        return None

    def body(self) -> bytes:
        """Return the body of its leaf."""
        new = self.delegation
        return wire.dumps(
            {
                "receiver": new.receiver,
                "from": micros(new.starts_at),
                "until": micros(new.ends_at),
                "up_to": None if new.up_to is None else str(new.up_to),
                "reason": new.reason,
            }
        )

    def refused(self, verdict: DelegateRefusal) -> RefusedAttempt:
        """Return the record of a refused delegation."""
        return RefusedAttempt(
            kind="decision.refused", person=self.delegation.giver, at=self.at, action="delegation.made",
            subject=self.delegation.receiver, verdict=verdict,
        )  # fmt: skip


class EndDelegationResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: EndDelegationVerdict


class EndDelegation(Transition[EndDelegationResult], frozen=True, kw_only=True):
    """Take a delegation back, by its giver. To another person it does not exist. Leaf."""

    delegation: str
    giver: str
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset([f"delegations/{self.giver}"])
