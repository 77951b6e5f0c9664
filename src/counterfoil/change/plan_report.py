"""The report of a plan: the JSON that is stored with the plan, answered by the API and printed by the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from counterfoil.change.calendar import CalendarNotice
from counterfoil.change.difference import DocumentChange
from counterfoil.change.required_approvals import RequiredApproval
from counterfoil.change.reviewers import Review
from counterfoil.change.stages import Stage
from counterfoil.change.verdicts import AffectedRuns
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.impact import Impact
from counterfoil.core.release import Plan


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """The effects of a change, the approvals it needs, and the stages that apply it."""

    digest: str
    """Digest of base, revision and required approvals. Approvals are bound to it. Empty if nothing changes."""
    base: str
    revision: str
    requester: str
    created_at: datetime
    expires: datetime
    breaking: bool
    classes: tuple[str, ...]
    differences: list[DocumentChange]
    reviewers: list[Review]
    runs: list[AffectedRuns]
    impact: Impact | None
    """None: no traffic was replayed."""
    calendar: list[CalendarNotice]
    policy: str
    approvals: list[RequiredApproval]
    emergency: tuple[str, ...]
    stages: list[Stage]
    notes: tuple[str, ...] = ()
    rollback: bool = False
    """True if the revision was active before."""

    @property
    def changes(self) -> bool:
        return self.base != self.revision

    def to_json(self) -> bytes:
        return write_json(self)

    @classmethod
    def from_json(cls, body: bytes) -> PlanReport:
        """Raises msgspec.ValidationError or msgspec.DecodeError."""
        return msgspec.json.decode(body, type=cls)


class StartupReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a plan that a starting process applies by itself: no stages and no approvals."""

    approvals: tuple[RequiredApproval, ...] = ()
    emergency: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()

    def to_json(self) -> bytes:
        return write_json(self)


def read_report(plan: Plan) -> PlanReport | StartupReport:
    """Decode the report of a stored plan. Raises Refused for one that this version cannot read."""
    if plan.body == StartupReport().to_json():
        return StartupReport()
    try:
        return PlanReport.from_json(plan.body)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Refused(
            f"Plan {plan.digest[:12]} was written by another version of Counterfoil and cannot be read ({error}). "
            "Run `counterfoil plan` again.",
            ErrorClass.CONFLICT,
        ) from error


def write_json(value: Any) -> bytes:
    """Encode a report or its parts. A document's value without a JSON type becomes its text."""
    return msgspec.json.encode(value, enc_hook=str)
