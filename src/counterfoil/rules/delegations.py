"""The delegation that lets a person decide an approval. Pure; the store checks the same again when it records the vote."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from counterfoil.core.approval import Approval, part_in_request
from counterfoil.core.delegation import Delegation
from counterfoil.core.money import Money
from counterfoil.core.people import Person
from counterfoil.core.release import is_of_plan
from counterfoil.model import Model
from counterfoil.rules.entities import deciding_roles, excluded_role


class PendingDecision(NamedTuple):
    """Fields of an approval that count for the choice of the person who decides it."""

    policy: str
    roles: Collection[str]
    amount: Money | None
    requester: str
    senders: Collection[str]
    entity: str | None
    """Legal entity; None: a decision for the company as a whole."""


def pending_decision(approval: Approval) -> PendingDecision:
    """Return what an approval asks for. A change of governance concerns the company as a whole."""
    entity = None if is_of_plan(approval.run) else approval.entity
    return PendingDecision(
        approval.policy, approval.roles, approval.amount, approval.requester, approval.senders, entity
    )


def for_decision(
    model: Model,
    received: Iterable[Delegation],
    persons: Mapping[str, Person],
    person: Person,
    decision: PendingDecision,
    now: datetime,
) -> Delegation | None:
    """Return the first delegation by which a person may decide; None if there is none.

    The person must see the legal entity, and have no role that the policy excludes.
    """
    if excluded_role(model, person, decision.policy, decision.entity, now.date()) is not None:
        return None
    if person.entities and decision.entity not in person.entities:
        return None
    for delegation in received:
        giver = persons.get(delegation.giver)
        if delegation.receiver != person.id or giver is None or not giver.active:
            continue
        if not (delegation.holds(now) and delegation.covers(decision.amount)):
            continue
        if part_in_request(decision.requester, decision.senders, giver) is not None:
            continue
        if may_decide(model, giver, decision, now):
            return delegation
    return None


def may_decide(model: Model, person: Person, decision: PendingDecision, now: datetime) -> bool:
    """Report whether a person may decide by roles of their own, apart from a part in the request."""
    roles = deciding_roles(model, person, decision.policy, decision.entity, now.date())
    return bool(roles & set(decision.roles))
