"""Changes of the active model: Releases, plans and their results, and Runs moved to another Release."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.store.port.people import SETTINGS
from counterfoil.store.port.transition import ALONE, Transition, wake_set
from counterfoil.store.port.wake import WakeKind

PutPlanVerdict: TypeAlias = Literal["new", "same", "stale", "moved"]
ApprovalRefusal: TypeAlias = Literal["rejected", "missing", "expired", "inactive"]
ApplyVerdict: TypeAlias = Literal["applied", "not_found", "closed", "moved", "role", "never", ApprovalRefusal]
MoveVerdict: TypeAlias = Literal["moved", "changed", "ended", "busy"]
_RELEASES = frozenset([*SETTINGS, ALONE])


class PutFirstRelease(Transition[bool], frozen=True, kw_only=True):
    """Store the first Release, with the first step of its history; leaf.

    False where one is active: from then on only `ApplyPlan` changes it. `waits` are stored with it in both cases, as
    long as it is the active one.
    """

    digest: str
    body: bytes
    waits: tuple[tuple[str, str], ...] = ()
    """Event types that its Runs may wait for, each with a field that narrows its topics, or none.

    One pair of empty strings where they wait for nothing. Without any pair, readers read the Release itself.
    """
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return SETTINGS


class PutPlan(Transition[PutPlanVerdict], frozen=True, kw_only=True):
    """Store a plan with the approvals that it waits for. Guarded: `plan.base` is active, else `moved`.

    An open plan of that digest in the same round -> `same`: only its body is replaced. One of the round before ->
    `new`: it is opened again, and its former approvals that are open or granted become stale. Any other round ->
    `stale`, nothing written. Leaf, unless `same`.
    """

    plan: Plan
    model: bytes
    approvals: tuple[Approval, ...] = ()
    """Those of `plan.approvals`; `run` is the plan's digest."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return _RELEASES

    def leaf_body(self) -> dict[str, object]:
        plan, approvals = self.plan, {a.id: list(a.roles) for a in self.approvals}
        return {"base": plan.base, "revision": plan.revision, "round": plan.round, "approvals": approvals}


class ApplyPlanResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: ApplyVerdict
    no: int = 0
    approvals: tuple[str, ...] = ()
    """The approvals that caused the refusal."""


class ApplyPlan(Transition[ApplyPlanResult], frozen=True, kw_only=True):
    """Activate a plan's revision, all or nothing.

    With it: the step of the history, the plan applied, every other open plan stale together with its approvals,
    `review` Cases where `emergency`; leaf.

    Refused: `not_found`; `closed` (the plan is not open); `moved` (its base is no longer active); `rejected`;
    `missing` (an approval is not granted); `expired`; `inactive` (an approver is no longer active).

    `emergency`: roles that may restore a former Release without approvals. Refused: `role`, `never` (it was never
    active). Empty: no emergency is claimed.
    """

    plan: str
    person: str
    reason: str
    emergency: tuple[str, ...] = ()
    review: tuple[Case, ...] = ()
    waits: tuple[tuple[str, str], ...] = ()
    """What Runs of the revision may wait for, as with PutFirstRelease."""
    at: datetime

    def keys(self) -> frozenset[str]:
        return _RELEASES

    def refusal(self, approval: Approval) -> ApprovalRefusal | None:
        """Return why an approval is not valid for the change, apart from its voters; None when it is."""
        if approval.state is ApprovalState.REJECTED:
            return "rejected"
        if approval.expires <= self.at or approval.state is ApprovalState.EXPIRED:
            return "expired"
        return None if approval.state is ApprovalState.GRANTED else "missing"

    def leaf_body(self, step: ReleaseStep) -> dict[str, object]:
        return {
            "base": step.base,
            "plan": step.plan,
            "requester": step.requester,
            "approvers": list(step.approvers),
            "reason": step.reason,
            "emergency": step.emergency,
        }

    def step(self, no: int, plan: Plan, approvers: Collection[str]) -> ReleaseStep:
        return ReleaseStep(
            no=no,
            digest=plan.revision,
            base=plan.base,
            plan=plan.digest,
            at=self.at,
            requester=plan.requester,
            applied_by=self.person,
            approvers=tuple(sorted(approvers)),
            reason=self.reason,
            emergency=bool(self.emergency),
        )

    def wakes(self, answer: ApplyPlanResult) -> frozenset[WakeKind]:
        return wake_set(release=answer.verdict == "applied")


class ExpirePlans(Transition[int], frozen=True, kw_only=True):
    """Expire open plans past their time, with their approvals; leaf for each. Returns how many."""

    at: datetime

    def keys(self) -> frozenset[str]:
        return _RELEASES


class MoveRunResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: MoveVerdict
    version: int = 0


class MoveRun(Transition[MoveRunResult], frozen=True, kw_only=True):
    """Pin a Run to another Release, with its state mapped to that one's steps; it is due at once.

    Guarded by `version` and `pin` (-> `changed`); `ended` for a terminal Run. `busy` while an effect of it is planned,
    sending, accepted or unknown, or its inbox has unread items; a Run before its first turn may have its start item
    unread. Its version rises; leaf.
    """

    run: str
    version: int
    pin: str
    to: str
    ctx: bytes
    paths: tuple[tuple[str, str], ...] = ()
    """Steps that have another path now, for the audit log."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([self.run])

    def leaf_body(self) -> dict[str, object]:
        return {"from": self.pin, "to": self.to, "paths": [list(pair) for pair in self.paths]}

    def wakes(self, answer: MoveRunResult) -> frozenset[WakeKind]:
        return wake_set(turn=answer.verdict == "moved")


class PinCount(msgspec.Struct, frozen=True, kw_only=True):
    """Number of Runs of a workflow that have not ended and are pinned to a Release."""

    workflow: str
    pin: str
    count: int
