"""The JSON of a plan's report: read back and written again, it is the same bytes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from counterfoil.change import stages
from counterfoil.change.calendar import CalendarNotice
from counterfoil.change.difference import difference
from counterfoil.change.plan_report import PlanReport, StartupReport, read_report
from counterfoil.change.required_approvals import RequiredApproval
from counterfoil.change.reviewers import reviewers
from counterfoil.change.verdicts import AffectedRuns
from counterfoil.core.errors import Refused
from counterfoil.core.impact import Impact, ImpactCounts
from counterfoil.core.release import Plan
from tests.companies.base import edited
from tests.companies.changing import COMPANY
from tests.unit.rules.driver import model_of

NOW = datetime(2026, 3, 2, 9, 30, 0, 250_000, tzinfo=UTC)
TABLE = """
---
kind: table
name: credit_accounts
owner: controller
key: [reason]
value: account
valid_from: since
rows:
  - {reason: sla, since: 2026-01-01, account: '4890'}
"""


def report(**changed: Any) -> PlanReport:
    old = model_of(COMPANY + TABLE)
    new = model_of(edited(COMPANY, ("up_to: 100,", "up_to: 10,")) + TABLE.replace("'4890'", "'4891'"))
    differences = difference(old, new, date(2026, 3, 2))
    assert {d.kind for d in differences} == {"policy", "table"}
    values: dict[str, Any] = {
        "digest": "d" * 64, "base": old.digest, "revision": new.digest, "requester": "arc",
        "created_at": NOW, "expires": NOW, "breaking": False, "classes": ("money",), "differences": differences,
        "reviewers": reviewers(old, new, differences),
        "runs": [AffectedRuns(workflow="w", pin="p", verdict="pinned", why="", count=2, examples=("run_1",))],
        "impact": Impact(old=old.digest, new=new.digest, since=NOW, counts=ImpactCounts(receipts=1)),
        "calendar": [
            CalendarNotice(calendar="c", what="close", effect="warn", begins=NOW, ends=None, message="close")
        ],
        "policy": "changes",
        "approvals": [RequiredApproval(name="a", roles=("controller",), because=("money",))],
        "emergency": (),
        "stages": stages.build(
            base="b", revision="r", approvals=["a"], systems=["erp"], migrate=["w"], watch=["w"]
        ),
    }  # fmt: skip
    return PlanReport(**{**values, **changed})


def plan(body: bytes) -> Plan:
    return Plan(
        digest="d" * 64, base="b", revision="r", requester="arc", body=body, created_at=NOW, expires=NOW
    )


def test_a_report_that_is_read_back_is_written_as_the_same_bytes() -> None:
    body = report().to_json()
    again = read_report(plan(body))
    assert isinstance(again, PlanReport)
    assert again.to_json() == body
    assert [stage.__struct_config__.tag for stage in again.stages] == [
        "check_base", "check_calendar", "require_approvals", "try_connectors", "make_release", "take_up",
        "move_runs", "watch",
    ]  # fmt: skip


def test_stages_without_anything_to_do_are_left_out() -> None:
    built = stages.build(base="b", revision="r", approvals=(), systems=(), migrate=(), watch=())
    assert [type(stage) for stage in built] == [
        stages.CheckBase, stages.CheckCalendar, stages.MakeRelease, stages.TakeUp, stages.Watch,
    ]  # fmt: skip


def test_a_startup_plan_has_a_report_without_stages() -> None:
    body = b'{"approvals":[],"emergency":[],"stages":[]}'
    assert StartupReport().to_json() == body
    assert read_report(plan(body)) == StartupReport()


def test_a_report_of_another_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(Refused, match="Run `counterfoil plan` again"):
        read_report(plan(b'{"digest": "d"}'))
