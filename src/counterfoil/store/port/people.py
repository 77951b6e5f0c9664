"""People: votes on approvals, decisions on Cases, persons and their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState, Vote
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.delegation import Delegation
from counterfoil.core.people import Person, Token
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.records import NewInboxItem
from counterfoil.store.port.refusals import RefusedAttempt, refusal_key
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind

VoteResult: TypeAlias = Literal["counted", "granted", "rejected"]
VoteRefusal: TypeAlias = Literal[
    "not_found",
    "closed",
    "expired",
    "subject",
    "requester",
    "sender",
    "role",
    "inactive",
    "voted",
    "delegation",
]
"""`delegation`: the one by which the person would vote does not hold, or not for this approval."""
DecideVerdict: TypeAlias = Literal[VoteResult, VoteRefusal]
ResolveRefusal: TypeAlias = Literal[
    "not_found", "closed", "choice", "role", "inactive", "changed", "settled", "differs", "cap", "tier"
]
ResolveVerdict: TypeAlias = Literal["resolved", "requested", ResolveRefusal]
"""`requested`: the difference is accepted once another person agrees."""

VOTE_RESULTS: dict[ApprovalState, VoteResult] = {
    ApprovalState.OPEN: "counted",
    ApprovalState.GRANTED: "granted",
    ApprovalState.REJECTED: "rejected",
}
"""The verdict on a vote, by the state of the approval after it."""


class DecideResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: DecideVerdict


class Decide(Transition[DecideResult], frozen=True, kw_only=True):
    """Record a person's vote.

    Refused when the approval is not open, is expired or has another subject. Refused when the person is the requester or
    a sender, has none of the approval's roles, is inactive or has voted. By a delegation the giver's roles count, and all
    this holds for both persons: one vote for both. Reaching the quorum grants; one rejection rejects; both append
    `approval` to the Run. Leaf, also of a refusal.
    """

    approval: str
    subject: str
    person: str
    approve: bool
    comment: str
    at: datetime
    idle: frozenset[str] = frozenset()
    """Roles by which the person does not act for the legal entity of what is decided on; with a delegation, the giver's."""
    delegation: str = ""
    """Delegation by which the person votes. Empty: by roles of their own."""

    def keys(self) -> frozenset[str]:
        return frozenset([self.approval, refusal_key(self.person)])

    def refusal(
        self,
        approval: Approval,
        person: Person | None,
        votes: Sequence[Vote],
        delegation: Delegation | None = None,
        giver: Person | None = None,
    ) -> VoteRefusal | None:
        """Return why the vote does not count. `votes` are those on the approval; `delegation` and `giver` are stored rows."""
        if approval.state is not ApprovalState.OPEN:
            return "closed"
        if approval.expires <= self.at:
            return "expired"
        if approval.subject != self.subject:
            return "subject"
        if person is None or not person.active:
            return "inactive"
        part = approval.part_of(person)
        if part is not None:
            return part
        roles = person.roles
        if self.delegation:
            if delegation is None or giver is None or not self._may_stand_in(approval, delegation, giver):
                return "delegation"
            roles = giver.roles
        if not set(approval.roles) & set(roles) - self.idle:
            return "role"
        voices = {self.person, delegation.giver if delegation is not None else self.person}
        return "voted" if voices & {name for vote in votes for name in (vote.person, vote.behalf)} else None

    def _may_stand_in(self, approval: Approval, delegation: Delegation, giver: Person) -> bool:
        """Report whether the delegation lets the person decide this approval for its giver."""
        return (
            delegation.receiver == self.person
            and giver.active
            and delegation.fits(approval, self.at)
            and approval.part_of(giver) is None
        )

    def vote(self, delegation: Delegation | None) -> Vote:
        """Return the vote to record."""
        return Vote(
            approval=self.approval,
            person=self.person,
            approve=self.approve,
            comment=self.comment,
            at=self.at,
            behalf="" if delegation is None else delegation.giver,
        )

    def body(self, vote: Vote) -> bytes:
        """Return the body of the vote's leaf."""
        body: dict[str, Any] = {"approve": self.approve, "subject": self.subject, "comment": self.comment}
        return wire.dumps(body | ({"behalf": vote.behalf} if vote.behalf else {}))

    def refused(self, verdict: VoteRefusal, run: str) -> RefusedAttempt:
        """Return the record of a refused vote."""
        details = {"approve": self.approve, "subject": self.subject, "comment": self.comment}
        return _refused(self, "vote", self.approval, verdict, run, details)

    def state_after(self, approval: Approval, approvers: int) -> ApprovalState:
        """Return the approval's state after the vote; `approvers` is their number, with this one."""
        if not self.approve:
            return ApprovalState.REJECTED
        return ApprovalState.GRANTED if approvers >= approval.quorum else approval.state

    def stimulus(self, approval: Approval, state: ApprovalState) -> NewInboxItem:
        """Return the item that tells the Run of its approval's new state."""
        names = {"approval": approval.id, "path": approval.path, "state": str(state)}
        body = wire.dumps({**names, "by": self.person, "comment": self.comment})
        return NewInboxItem(run=approval.run, kind="approval", ref=approval.id, body=body)

    def wakes(self, answer: DecideResult) -> frozenset[WakeKind]:
        del answer
        return wake_set(turn=True)


class ResolveResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: ResolveVerdict


class Resolve(Transition[ResolveResult], frozen=True, kw_only=True):
    """Record a person's decision on a Case.

    WAIVE is a decision on the match, `DecideMatch`. Refused when the Case is resolved, the choice is not offered, or the
    person has no role that owns it. RETRY of a receipt or event puts its todo back, with those that the Case counts;
    other choices drop them. A Case about a Run appends `case`. Leaf, also of a refusal.
    """

    case: str
    person: str
    choice: Choice
    note: str
    at: datetime
    idle: frozenset[str] = frozenset()
    """Roles by which the person does not act for the legal entity of what is decided on."""
    override: bool = False
    """The person may resolve any Case (an administrator)."""
    evidence: Conclude | None = None
    """The person's word on the outcome of the Case's effect: evidence, recorded in the same transaction after the
    decision."""

    def keys(self) -> frozenset[str]:
        return frozenset(
            [
                self.case,
                refusal_key(self.person),
                *(self.evidence.keys() if self.evidence is not None else ()),
            ]
        )

    def refusal(self, case: Case, person: Person | None) -> ResolveRefusal | None:
        if case.state is not CaseState.OPEN:
            return "closed"
        if person is None or not person.active:
            return "inactive"
        if case.owner not in set(person.roles) - self.idle and not self.override:
            return "role"
        return "choice" if self.choice not in case.choices or self.choice is Choice.WAIVE else None

    def refused(self, verdict: ResolveRefusal, run: str | None) -> RefusedAttempt:
        """Return the record of a refused decision."""
        details = {"choice": str(self.choice), "note": self.note}
        return _refused(self, "resolve", self.case, verdict, run, details)

    def stimulus(self, case: Case, run: str) -> NewInboxItem:
        """Return the item that tells the Run of the decision."""
        names = {"case": case.id, "path": case.path, "choice": str(self.choice)}
        body = wire.dumps({**names, "by": self.person, "note": self.note})
        return NewInboxItem(run=run, kind="case", ref=case.id, body=body)

    def effects_named(self) -> tuple[str, ...]:
        return () if self.evidence is None else (self.evidence.effect,)

    def wakes(self, answer: ResolveResult) -> frozenset[WakeKind]:
        del answer
        return wake_set(turn=True, admit=True)


def _refused(
    decision: Decide | Resolve,
    action: str,
    subject: str,
    verdict: str,
    run: str | None,
    details: dict[str, Any],
) -> RefusedAttempt:
    return RefusedAttempt(
        kind="decision.refused", person=decision.person, at=decision.at, action=action, subject=subject,
        verdict=verdict, run=run, details=details,
    )  # fmt: skip


class PutPerson(Transition[bool], frozen=True, kw_only=True):
    """Insert or replace a person; leaf. True for a new one. The sessions and tokens of an inactive person are deleted."""

    person: Person
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return SETTINGS

    def leaf_body(self) -> dict[str, object]:
        return person_body(self.person)


def person_body(person: Person) -> dict[str, object]:
    """Return what the leaf of a person carries: who they are and what they may do, and a digest of the password's hash."""
    aliases = {system: list(names) for system, names in person.aliases.items()}
    names = {"roles": list(person.roles), "active": person.active, "aliases": aliases}
    return {**names, "email": person.email, "secret": wire.digest(person.secret.encode())[:32]}


class PutToken(Transition[bool], frozen=True, kw_only=True):
    """Store a session or bearer token. `alone` deletes the person's other tokens of this kind."""

    token: Token
    at: datetime
    alone: bool = False

    def keys(self) -> frozenset[str]:
        return SETTINGS


SETTINGS = frozenset(["settings"])
