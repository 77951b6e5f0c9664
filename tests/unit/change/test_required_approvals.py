"""Who must approve a change, and what calendars say to it: from the policy in force, the owners, and the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from counterfoil.change.calendar import CalendarNotice, calendar_notices
from counterfoil.change.difference import difference
from counterfoil.change.required_approvals import ApprovalRules, required_approvals
from counterfoil.change.stages import CheckBase, MakeRelease, RequireApprovals, explain
from counterfoil.core.people import Person
from tests.changing_company import COMPANY
from tests.unit.rules.driver import model_of

PERSONS = [
    Person(id="pat", name="Pat", email="pat@x", roles=("architect",)),
    Person(id="cora", name="Cora", email="cora@x", roles=("controller",)),
    Person(id="carl", name="Carl", email="carl@x", roles=("controller",), active=False),
    Person(id="olga", name="Olga", email="olga@x", roles=("operator",)),
]
POLICY = COMPANY[
    COMPANY.index("kind: policy\nname: changes") : COMPANY.index("kind: workflow\nname: request")
]
WITHOUT = COMPANY.replace(POLICY, "")
STRICTER = ("up_to: 100,", "up_to: 10,")
LATER = ("until: +30d", "until: +60d")


def ask(base: str, *pairs: tuple[str, str], requester: str = "pat", persons: Any = PERSONS) -> ApprovalRules:
    revision = base
    for old, new in pairs:
        assert old in revision
        revision = revision.replace(old, new)
    before, after = model_of(base), model_of(revision)
    return required_approvals(before, after, difference(before, after), requester, persons)


def roles(asking: ApprovalRules) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(one.roles, one.could) for one in asking.approvals]


def test_the_policy_asks_the_role_that_it_names_and_never_the_requester() -> None:
    asking = ask(COMPANY, STRICTER)
    assert (asking.policy, roles(asking)) == ("changes", [(("controller",), ("cora",))])
    assert roles(ask(COMPANY, STRICTER, requester="cora")) == [(("controller",), ())]
    assert "cannot be granted" in ask(COMPANY, STRICTER, requester="cora").notes[0]


def test_what_the_policy_calls_automatic_waits_for_nobody() -> None:
    assert roles(ask(COMPANY, LATER)) == []


def test_the_policy_in_force_decides_about_its_own_end() -> None:
    asking = ask(COMPANY, (POLICY, ""))
    assert (asking.policy, [one.roles for one in asking.approvals]) == ("changes", [("controller",)])


def test_a_class_that_no_rule_names_asks_the_owners() -> None:
    base = COMPANY.replace("    - {of: [other], automatic: true}\n", "")
    asking = ask(base, LATER)
    assert [(one.name, one.roles) for one in asking.approvals] == [("owner:operator", ("operator",))]
    assert "owns the workflow `request`" in asking.approvals[0].because


def test_without_a_policy_one_owner_approves_and_words_wait_for_nobody() -> None:
    decides = (
        '"runs:any:read", "cases:any:read"]}',
        '"runs:any:read", "cases:any:read", "approvals:own:decide"]}',
    )
    base = WITHOUT.replace(*decides)
    assert roles(ask(base, LATER)) == [(("operator",), ("olga",))]
    assert roles(ask(base, ("name: request\nowner", "name: request\ndoc: Asked.\nowner"))) == []


def test_where_no_owner_could_anybody_who_may_decide_is_asked_and_where_nobody_could_nobody() -> None:
    asking = ask(WITHOUT, LATER)
    assert [one.name for one in asking.approvals] == ["anybody"]
    assert roles(asking) == [(("architect", "controller"), ("cora",))]
    alone = ask(WITHOUT, LATER, persons=PERSONS[:1])
    assert (roles(alone), "no other active person" in alone.notes[0]) == ([], True)
    assert roles(ask(WITHOUT, LATER, persons=[])) == []


# ------------------------------------------------------------------ calendars

CALENDAR = """\
---
kind: calendar
name: outside
zone: Europe/Berlin
changes:
  - {what: close, from: 2026-12-28, to: 2026-12-31, areas: [approval], effect: refuse}
  - {what: desk release, from: 2026-11-14, to: 2026-11-14, systems: [desk], effect: refuse}
  - {what: end of an API, from: 2027-02-01, notice: 60d, systems: [desk]}
  - {what: close there, from: 2026-07-01, to: 2026-07-01, legal_entity: le_us, effect: refuse}
"""


def said(now: datetime, *pairs: tuple[str, str], zones: Any = None) -> list[CalendarNotice]:
    revision = COMPANY + CALENDAR
    for old, new in pairs:
        revision = revision.replace(old, new)
    before, after = model_of(COMPANY + CALENDAR), model_of(revision)
    return calendar_notices(before, after, difference(before, after), now, zones or {})


@pytest.mark.parametrize(
    ("now", "there"),
    [
        (datetime(2026, 12, 27, 22, 59, tzinfo=UTC), []),
        (datetime(2026, 12, 27, 23, 0, tzinfo=UTC), ["close"]),
        (datetime(2026, 12, 31, 22, 59, tzinfo=UTC), ["close"]),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), []),
    ],
)
def test_days_are_whole_days_of_the_calendars_zone(now: datetime, there: list[str]) -> None:
    assert [one.what for one in said(now, STRICTER) if one.effect == "refuse"] == there


def test_an_entry_concerns_its_systems_and_classes_alone() -> None:
    freeze, release = datetime(2026, 12, 29, tzinfo=UTC), datetime(2026, 11, 14, 12, tzinfo=UTC)
    assert [one.what for one in said(freeze, LATER)] == []
    desk = ("kind: system, name: desk, role: support", "kind: system, name: desk, role: crm")
    assert [one.what for one in said(release, desk)] == ["desk release"]
    assert [one.what for one in said(release, STRICTER)] == []


def test_what_is_to_come_is_told_of_and_refuses_nothing_yet() -> None:
    desk = ("kind: system, name: desk, role: support", "kind: system, name: desk, role: crm")
    (one,) = said(datetime(2027, 1, 15, tzinfo=UTC), desk)
    assert (one.what, one.effect, one.message.endswith("not yet")) == ("end of an API", "warn", True)
    (there,) = said(datetime(2030, 1, 1, tzinfo=UTC), desk)
    assert (there.ends, there.effect) == (None, "warn")


def test_a_legal_entitys_days_are_of_its_zone() -> None:
    there = {"le_us": "America/New_York"}
    night = datetime(2026, 7, 2, 2, tzinfo=UTC)
    assert [one.what for one in said(night, LATER, zones=there)] == ["close there"]
    assert said(night, LATER) == []
    assert said(night + timedelta(hours=3), LATER, zones=there) == []


def test_a_change_of_calendars_alone_is_never_refused() -> None:
    (one,) = said(datetime(2026, 7, 1, 12, tzinfo=UTC), ("what: close there", "what: close of ours"))
    assert one.effect == "warn"


# ------------------------------------------------------------------ stages


def test_a_stage_is_explained_by_what_it_holds() -> None:
    assert explain(CheckBase(base="a" * 64)) == "Check that aaaaaaaaaaaa is still active."
    assert explain(RequireApprovals(approvals=("one",))) == "Wait for 1 approval."
    assert "bbbbbbbbbbbb" in explain(MakeRelease(revision="b" * 64))
