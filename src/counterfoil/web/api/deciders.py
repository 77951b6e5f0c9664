"""The persons who may decide an approval: by roles of their own, or for a person who is away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from counterfoil.core.approval import part_in_request
from counterfoil.core.delegation import Delegation
from counterfoil.core.money import Money
from counterfoil.core.people import Person
from counterfoil.core.release import is_of_plan
from counterfoil.model import Model
from counterfoil.rules.delegations import PendingDecision, for_decision, may_decide
from counterfoil.web.api.shapes import ApprovalShape


def pending_of(approval: ApprovalShape) -> PendingDecision:
    """Return what counts of an approval for who may decide it."""
    amount = None if approval.amount is None else Money(approval.amount.minor, approval.amount.currency)
    entity = None if is_of_plan(approval.run) else approval.legal_entity or None
    return PendingDecision(
        approval.policy, approval.roles, amount, approval.requester, approval.senders, entity
    )


class Deciders:
    """The persons and delegations of one moment."""

    def __init__(
        self, model: Model, persons: Sequence[Person], delegations: Iterable[Delegation], now: datetime
    ) -> None:
        self._model, self._now = model, now
        self._persons = {person.id: person for person in persons if person.active}
        self._delegations = [row for row in delegations if row.holds(now)]

    def giver_for(self, person: Person, decision: PendingDecision) -> Person | None:
        """Return the person for whom another one may decide; None if by roles of their own, or not at all."""
        if not self._delegations or not self._is_free(person, decision):
            return None
        if may_decide(self._model, person, decision, self._now):
            return None
        delegation = for_decision(self._model, self._delegations, self._persons, person, decision, self._now)
        return None if delegation is None else self._persons[delegation.giver]

    def names_for(self, decision: PendingDecision) -> list[str]:
        """Return the names of the persons who may decide, each with the person for whom."""
        names = []
        for person in self._persons.values():
            if not self._is_free(person, decision):
                continue
            if may_decide(self._model, person, decision, self._now):
                names.append(person.name)
            elif (giver := self.giver_for(person, decision)) is not None:
                names.append(f"{person.name} for {giver.name}")
        return names

    def _is_free(self, person: Person, decision: PendingDecision) -> bool:
        """Report whether a person has no part in the request."""
        return part_in_request(decision.requester, decision.senders, person) is None
