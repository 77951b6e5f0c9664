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
    """The system could not do it now."""
    throttled: Reaction
    """The system received too many calls."""
    conflict: Reaction
    """Another change of the same object was in progress."""
    invalid: Reaction
    """The request does not fit the system's rules."""
    warning: Reaction
    """The system asks for a confirmation before it proceeds."""
    period_closed: Reaction
    """The period of the posting date is closed."""
    not_found: Reaction
    """Something that the request names does not exist."""
    unauthorized: Reaction
    """The system refused our credentials or permissions."""
    already_done: Reaction
    """The system has already done it, and the earlier result was not found."""
    refused: Reaction
    """The system refused on business grounds."""
    unknown: Reaction
    """No answer came, and look-ups cannot tell whether it was done."""
    timeout: Reaction
    """A wait reached its end."""
    failed: Reaction = "park"
    """A check is false."""
    rejected: Reaction = "park"
    """An approval was rejected."""
    expired: Reaction = "park"
    """An approval was not decided in time."""
    stale: Reaction = "park"
    """A value that an approval covers has changed."""
    accepted: Reaction = "continue"
    """The system took the request and does it later."""
    retry: Retry = Retry()
    """Waits and attempts of the verb `retry`."""
    queue: Queue = Queue()
    """Times of the verb `queue`."""
    case_within: Duration = "2d"
    """Deadline of the Cases that this policy opens."""


class Tier(Part):
    """Approvers up to an amount."""

    up_to: int | None = None
    """Highest amount without its sign, in major units of the policy's currency, inclusive; absent: no upper end."""
    automatic: bool = False
    """No person approves."""
    roles: list[Name] = []
    """Roles of which persons approve."""
    quorum: int = Field(default=1, ge=1, le=10)
    """Number of persons who must approve."""


class Approval(Part):
    """Roles that approve, by amount."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """Currency of the tiers."""
    rates: Name | None = None
    """The table with rates for other currencies; without it another currency is refused."""
    matrix: list[Tier]
    """Tiers by ascending amount; the first that fits applies."""
    negative: bool | None = None
    """Negative amounts are allowed; their tier follows from the amount without its sign. Absent: they are refused."""
    requester: Formula = "event.data.requested_by"
    """The person who requests; this person cannot approve."""
    requesters: list[Name] = []
    """Roles that request; no role can both request and approve."""
    excludes: list[Name] = []
    """Roles whose persons do not decide, whatever other roles they have."""
    expires: Duration = "3d"
    """Time to decide."""


class LimitCurrency(Part):
    """Conversion of amounts into the currency of a limit."""

    to: str
    """Currency of the limit; `amount`: amounts of each currency count by themselves."""
    rate: str = "spot"
    """Kind of rate. This version executes `spot` only."""
    at: str = "request_date"
    """Day of the rate. This version executes `request_date` only."""


class Limit(Part):
    """Most money that may be granted per key."""

    per: list[Formula]
    """Formulas whose values together are the key, such as a customer and `quarter`."""
    counts: list[Literal["reserved", "consumed"]] = ["reserved", "consumed"]
    """Amounts that use up the limit. This version always counts both."""
    currency: LimitCurrency | Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """Currency of the limit."""
    at_most: int | None = None
    """Highest total in major units; absent: the total only selects the approval tier."""
    negative: bool | None = None
    """Negative amounts are allowed, and count without their sign. Absent: they are refused."""


class PostingDate(Part):
    """Posting date of a document whose period is closed. The undo of a call is posted by the same rule, from its own day on."""

    rule: Literal["reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up"]
    """`reject` and `hold_for_reopen`: the document date or none. `first_open` and `accrue_and_true_up`: the first open
    day from it on. `current`: today."""
    periods: Name = "period"
    """The object with the states of the periods."""
    document: Literal["keep", "posting"] = "keep"
    """The document date when the posting date moves: unchanged, or the posting date."""


class Retention(Part):
    """Time for which records are kept. Not executed by this version."""

    receipts: Duration = "3650d"
    """Time for which receipts are kept."""


class Degradation(Part):
    """Behaviour while a system is down. Not executed by this version."""

    when_down: Name
    """The system."""
    then: Literal["queue", "refuse", "continue"]
    """What happens to calls while it is down."""


class Rate(Part):
    """Maximum calls of an operation by one consumer."""

    per: Literal["consumer"] = "consumer"
    """Calls are counted for each consumer and operation."""
    at_most: int = Field(default=60, ge=1, le=1_000_000)
    """Number of calls in each interval."""
    every: Duration = "1m"
    """The interval."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000)
    """Maximum calls at once; absent: `at_most`."""


ChangeClass = Literal[
    "contract", "money", "approval", "security", "ownership", "table", "failure", "workflow", "mapping",
    "reconciliation", "control", "system", "text", "breaking", "other",
]  # fmt: skip
"""Area of a change. `breaking`: the change breaks a consumer of a contract. `other`: every class that no rule of the
policy names."""


class ChangeRule(Part):
    """Approval that changes of some classes need."""

    of: list[ChangeClass] = Field(min_length=1)
    """Classes of changes to which the rule applies."""
    roles: list[Name] = []
    """Roles of which one person approves, or as many as `quorum`."""
    owners: bool = False
    """Every role approves that owns a changed document."""
    quorum: int = Field(default=1, ge=1, le=10)
    """Number of persons of `roles` who must approve."""
    automatic: bool = False
    """No approval is needed."""

    @model_validator(mode="after")
    def _one_way(self) -> ChangeRule:
        if sum((bool(self.roles), self.owners, self.automatic)) != 1:
            raise ValueError("a rule needs exactly one of `roles`, `owners: true`, `automatic: true`")
        return self


class Change(Part):
    """Required approvals for changes of the governance itself."""

    approve: list[ChangeRule] = Field(min_length=1)
    """Rules; every rule that names a class of the change asks for its own approval."""
    expires: Duration = "7d"
    """Time to approve a plan and to apply it."""
    emergency: list[Name] = []
    """Roles that may restore a former Release at once; a Case requests the review."""


class Policy(Kind):
    """A decision that workflows refer to by name: exactly one sort of policy."""

    kind: Literal["policy"] = "policy"
    failure: Failure | None = None
    """Reactions to error classes and timeouts."""
    approval: Approval | None = None
    """Roles that approve, by amount."""
    limit: Limit | None = None
    """Most money that may be granted per key."""
    degradation: Degradation | None = None
    """Behaviour while a system is down. Not executed by this version."""
    posting_date: PostingDate | None = None
    """Rule for the posting date when a period is closed."""
    retention: Retention | None = None
    """Time for which records are kept. Not executed by this version."""
    rate: Rate | None = None
    """Maximum calls of an exposed operation by one consumer."""
    change: Change | None = None
    """Approvals that a change of the governance needs."""

    @model_validator(mode="after")
    def _one_policy(self) -> Policy:
        sorts = [name for name in type(self).model_fields if name not in Kind.model_fields]
        if sum(getattr(self, sort) is not None for sort in sorts) != 1:
            raise ValueError(f"a policy needs exactly one of {', '.join(sorts)}")
        return self


# Reactions contain steps, whose classes are in the module of workflows.
for _model in (Failure, Policy):
    _model.model_rebuild(_types_namespace={**vars(workflow), **globals()})
