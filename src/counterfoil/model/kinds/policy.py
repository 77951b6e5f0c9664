"""Policies: failure, approval, limit, degradation, posting dates, retention, rate, change."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from counterfoil.model.kinds import workflow
from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part
from counterfoil.model.kinds.workflow import Queue, Reaction, Retry


class Failure(Part):
    """A reaction to every error class and timeout: work queues, partly completes or is undone."""

    transient: Reaction
    throttled: Reaction
    conflict: Reaction
    invalid: Reaction
    warning: Reaction
    period_closed: Reaction
    not_found: Reaction
    unauthorized: Reaction
    already_done: Reaction
    refused: Reaction
    unknown: Reaction
    timeout: Reaction
    failed: Reaction = "park"
    rejected: Reaction = "park"
    expired: Reaction = "park"
    stale: Reaction = "park"
    accepted: Reaction = "continue"
    retry: Retry = Retry()
    queue: Queue = Queue()
    case_within: Duration = "2d"
    """Deadline of the Cases that this policy opens."""


class Tier(Part):
    up_to: int | None = None
    """Highest amount without its sign, in major units of the policy's currency, inclusive; absent: no upper end."""
    automatic: bool = False
    roles: list[Name] = []
    quorum: int = Field(default=1, ge=1, le=10)


class Approval(Part):
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    rates: Name | None = None
    """The table with rates for other currencies; without it another currency is refused."""
    matrix: list[Tier]
    negative: bool | None = None
    """Negative amounts are allowed; their tier follows from the amount without its sign. Absent: they are refused."""
    requester: Formula = "event.data.requested_by"
    requesters: list[Name] = []
    """Roles that request; no role can both request and approve."""
    expires: Duration = "3d"


class LimitCurrency(Part):
    to: str
    rate: str = "spot"
    at: str = "request_date"


class Limit(Part):
    per: list[Formula]
    counts: list[Literal["reserved", "consumed"]] = ["reserved", "consumed"]
    currency: LimitCurrency | Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    at_most: int | None = None
    """Highest total in major units; absent: the total only selects the approval tier."""
    negative: bool | None = None
    """Negative amounts are allowed, and count without their sign. Absent: they are refused."""


class PostingDate(Part):
    rule: Literal["reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up"]
    periods: Name = "period"
    """The object with the states of the periods."""
    document: Literal["keep", "posting"] = "keep"
    """The document date when the posting date moves: unchanged, or the posting date."""


class Retention(Part):
    receipts: Duration = "3650d"


class Degradation(Part):
    when_down: Name
    then: Literal["queue", "refuse", "continue"]


class Rate(Part):
    """Maximum calls of an operation by one consumer."""

    per: Literal["consumer"] = "consumer"
    at_most: int = Field(default=60, ge=1, le=1_000_000)
    every: Duration = "1m"
    burst: int | None = Field(default=None, ge=1, le=1_000_000)
    """Maximum calls at once; absent: `at_most`."""


ChangeClass = Literal[
    "contract", "money", "approval", "security", "ownership", "table", "failure", "workflow", "mapping",
    "reconciliation", "control", "system", "text", "breaking", "other",
]  # fmt: skip
"""Area of a change. `breaking`: the change breaks a consumer of a contract. `other`: every class that no rule of the
policy names."""


class ChangeRule(Part):
    of: list[ChangeClass] = Field(min_length=1)
    roles: list[Name] = []
    """Roles of which one person approves, or as many as `quorum`."""
    owners: bool = False
    """Every role approves that owns a changed document."""
    quorum: int = Field(default=1, ge=1, le=10)
    automatic: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> ChangeRule:
        if sum((bool(self.roles), self.owners, self.automatic)) != 1:
            raise ValueError("a rule needs exactly one of `roles`, `owners: true`, `automatic: true`")
        return self


class Change(Part):
    """Required approvals for changes of the governance itself."""

    approve: list[ChangeRule] = Field(min_length=1)
    expires: Duration = "7d"
    """Time to approve a plan and to apply it."""
    emergency: list[Name] = []
    """Roles that may restore a former Release at once; a Case requests the review."""


class Policy(Kind):
    kind: Literal["policy"] = "policy"
    failure: Failure | None = None
    approval: Approval | None = None
    limit: Limit | None = None
    degradation: Degradation | None = None
    posting_date: PostingDate | None = None
    retention: Retention | None = None
    rate: Rate | None = None
    change: Change | None = None

    @model_validator(mode="after")
    def _one_policy(self) -> Policy:
        sorts = [name for name in type(self).model_fields if name not in Kind.model_fields]
        if sum(getattr(self, sort) is not None for sort in sorts) != 1:
            raise ValueError(f"a policy needs exactly one of {', '.join(sorts)}")
        return self


# Reactions contain steps, whose classes are in the module of workflows.
for _model in (Failure, Policy):
    _model.model_rebuild(_types_namespace={**vars(workflow), **globals()})
