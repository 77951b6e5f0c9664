"""The approvals of a change and the calendar entries that concern it: by active policy, owners and date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from counterfoil.change.calendar import CalendarNotice, calendar_notices
from counterfoil.change.difference import difference
from counterfoil.change.required_approvals import ApprovalRules, required_approvals
from counterfoil.change.stages import CheckBase, MakeRelease, RequireApprovals, explain
from counterfoil.core.people import Person
from tests.companies.base import edited
from tests.companies.changing import COMPANY
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
WITHOUT = edited(COMPANY, (POLICY, ""))
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
    return [(item.roles, item.could) for item in asking.approvals]


def test_the_policy_requires_the_named_role_and_never_the_requester() -> None:
    asking = ask(COMPANY, STRICTER)
    assert (asking.policy, roles(asking)) == ("changes", [(("controller",), ("cora",))])
    assert roles(ask(COMPANY, STRICTER, requester="cora")) == [(("controller",), ())]
    assert "cannot be granted" in ask(COMPANY, STRICTER, requester="cora").notes[0]


def test_automatic_classes_need_no_approval() -> None:
    assert roles(ask(COMPANY, LATER)) == []


def test_the_policy_in_force_decides_about_its_own_end() -> None:
    asking = ask(COMPANY, (POLICY, ""))
    assert (asking.policy, [item.roles for item in asking.approvals]) == ("changes", [("controller",)])


def test_a_class_that_no_rule_names_asks_the_owners() -> None:
    base = edited(COMPANY, ("    - {of: [other], automatic: true}\n", ""))
    asking = ask(base, LATER)
    assert [(item.name, item.roles) for item in asking.approvals] == [("owner:operator", ("operator",))]
    assert "owns the workflow `request`" in asking.approvals[0].because


def test_without_a_policy_one_owner_approves_and_text_needs_no_approval() -> None:
    decides = (
        '"runs:any:read", "cases:any:read"]}',
        '"runs:any:read", "cases:any:read", "approvals:own:decide"]}',
    )
    base = WITHOUT.replace(*decides)
    assert roles(ask(base, LATER)) == [(("operator",), ("olga",))]
    assert roles(ask(base, ("name: request\nowner", "name: request\ndoc: Asked.\nowner"))) == []


def test_without_an_available_owner_any_decider_approves_and_without_deciders_none_is_needed() -> None:
    asking = ask(WITHOUT, LATER)
    assert [item.name for item in asking.approvals] == ["anybody"]
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


def notices(now: datetime, *pairs: tuple[str, str], zones: Any = None) -> list[CalendarNotice]:
    revision = COMPANY + CALENDAR
    for old, new in pairs:
        revision = revision.replace(old, new)
    before, after = model_of(COMPANY + CALENDAR), model_of(revision)
    return calendar_notices(before, after, difference(before, after), now, zones or {})


@pytest.mark.parametrize(
    ("now", "entries"),
    [
        (datetime(2026, 12, 27, 22, 59, tzinfo=UTC), []),
        (datetime(2026, 12, 27, 23, 0, tzinfo=UTC), ["close"]),
        (datetime(2026, 12, 31, 22, 59, tzinfo=UTC), ["close"]),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), []),
    ],
)
def test_days_are_whole_days_of_the_calendars_zone(now: datetime, entries: list[str]) -> None:
    assert [item.what for item in notices(now, STRICTER) if item.effect == "refuse"] == entries


def test_an_entry_concerns_its_systems_and_classes_alone() -> None:
    freeze, release = datetime(2026, 12, 29, tzinfo=UTC), datetime(2026, 11, 14, 12, tzinfo=UTC)
    assert [item.what for item in notices(freeze, LATER)] == []
    desk = ("kind: system, name: desk, role: support", "kind: system, name: desk, role: crm")
    assert [item.what for item in notices(release, desk)] == ["desk release"]
    assert [item.what for item in notices(release, STRICTER)] == []


def test_a_coming_entry_is_a_warning_and_refuses_nothing_yet() -> None:
    desk = ("kind: system, name: desk, role: support", "kind: system, name: desk, role: crm")
    (notice,) = notices(datetime(2027, 1, 15, tzinfo=UTC), desk)
    assert (notice.what, notice.effect, notice.message.endswith("not yet")) == ("end of an API", "warn", True)
    (later,) = notices(datetime(2030, 1, 1, tzinfo=UTC), desk)
    assert (later.ends, later.effect) == (None, "warn")


def test_a_legal_entitys_days_are_of_its_zone() -> None:
    there = {"le_us": "America/New_York"}
    night = datetime(2026, 7, 2, 2, tzinfo=UTC)
    assert [item.what for item in notices(night, LATER, zones=there)] == ["close there"]
    assert notices(night, LATER) == []
    assert notices(night + timedelta(hours=3), LATER, zones=there) == []


def test_a_change_of_calendars_alone_is_never_refused() -> None:
    (notice,) = notices(datetime(2026, 7, 1, 12, tzinfo=UTC), ("what: close there", "what: close of ours"))
    assert notice.effect == "warn"


# ------------------------------------------------------------------ stages


def test_a_stage_is_explained_by_what_it_holds() -> None:
    assert explain(CheckBase(base="a" * 64)) == "Check that aaaaaaaaaaaa is still active."
    assert explain(RequireApprovals(approvals=("one",))) == "Wait for 1 approval."
    assert "bbbbbbbbbbbb" in explain(MakeRelease(revision="b" * 64))
