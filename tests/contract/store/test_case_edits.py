"""Edits of Cases on all stores: assignee, comments, tags, snooze, and what they refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.case import Choice
from counterfoil.core.case_edits import (
    MAX_CASE_COMMENTS,
    MAX_CASE_TAGS,
    AssignCase,
    CaseEdit,
    CommentCase,
    SnoozeCase,
    TagCase,
)
from counterfoil.store.port.maintenance import OpenCases
from tests.contract.store import samples as s


async def desk(store: Any, **more: Any) -> None:
    """Fill a store with an open Case of finance and persons with several roles."""
    for person in (
        s.person("ann", ("finance",)),
        s.person("bob", ("finance", "controller")),
        s.person("zoe", ("support",)),
        s.person("old", ("finance",), active=False),
    ):
        await store.apply(s.put_person(person))
    await store.apply(OpenCases(cases=(s.case(**more),), at=s.T0, actor="test"))


async def edit(store: Any, change: CaseEdit, who: str = "ann", **more: Any) -> str:
    return str((await store.apply(s.edit_case(change, who=who, **more))).verdict)


async def leaves(store: Any) -> list[tuple[str, str, dict[str, Any]]]:
    rows = [leaf for _, leaf in (await store.dump()).leaves if leaf.subject == "case_1"]
    return [(leaf.kind, leaf.actor, wire.loads(leaf.body)) for leaf in rows][1:]


async def test_a_person_takes_a_case_and_gives_it_to_another(store: Any) -> None:
    await desk(store)
    assert await edit(store, AssignCase("ann")) == "done"
    assert await edit(store, AssignCase("bob", "ann")) == "done"
    assert (await store.case("case_1")).case.assignee == "bob"
    assert await leaves(store) == [
        ("case.assigned", "person:ann", {"assignee": "ann", "former": ""}),
        ("case.assigned", "person:ann", {"assignee": "bob", "former": "ann"}),
    ]


async def test_the_second_of_two_who_take_a_case_is_refused(store: Any) -> None:
    await desk(store)
    verdicts = await asyncio.gather(
        edit(store, AssignCase("ann"), "ann"), edit(store, AssignCase("bob"), "bob")
    )
    assert sorted(verdicts) == ["assignee", "done"]
    winner = ("ann", "bob")[verdicts.index("done")]
    assert (await store.case("case_1")).case.assignee == winner


async def test_the_same_edit_again_changes_nothing(store: Any) -> None:
    await desk(store)
    snooze = SnoozeCase(s.at(60), "waits for the bank")
    for change in (AssignCase("ann"), TagCase(("tax",)), snooze, CommentCase("looked at it")):
        assert await edit(store, change) == "done"
        before = await store.dump()
        assert await edit(store, change, at=s.at(1)) == "same"
        assert await store.dump() == before


@pytest.mark.parametrize(
    ("verdict", "change", "more"),
    [
        ("inactive", AssignCase("ann"), {"who": "old"}),
        ("inactive", CommentCase("hi"), {"who": "nobody"}),
        ("role", AssignCase("zoe"), {"who": "zoe"}),
        ("role", TagCase(("tax",)), {"who": "zoe"}),
        ("role", SnoozeCase(s.at(60), "why"), {"who": "zoe"}),
        ("role", AssignCase("ann"), {"idle": frozenset(["finance"])}),
        ("receiver", AssignCase("zoe"), {}),
        ("receiver", AssignCase("old"), {}),
        ("receiver", AssignCase("nobody"), {}),
        ("receiver", AssignCase("bob"), {"receiver_idle": frozenset(["finance"])}),
        ("assignee", AssignCase("ann", "bob"), {}),
        ("past", SnoozeCase(s.T0, "why"), {}),
        ("overdue", SnoozeCase(s.at(200_000), "why"), {"at": s.T0 + s.DAY}),
        ("tags", TagCase(tuple(f"t{n}" for n in range(MAX_CASE_TAGS + 1))), {}),
    ],
)
async def test_a_refused_edit_leaves_a_leaf_only(store: Any, verdict: str, change: Any, more: Any) -> None:
    await desk(store)
    before = await store.dump()
    assert await edit(store, change, **more) == verdict
    after = await store.dump()
    assert (after.cases, after.case_comments) == (before.cases, before.case_comments)
    (kind, _, body), *others = await leaves(store)
    assert (kind, body["verdict"], others) == ("decision.refused", verdict, [])


async def test_a_person_who_may_decide_any_case_needs_no_role(store: Any) -> None:
    await desk(store)
    assert await edit(store, AssignCase("zoe"), "zoe", override=True, receiver_override=True) == "done"


async def test_a_resolved_case_refuses_every_edit(store: Any) -> None:
    await desk(store)
    assert (await store.apply(s.resolve("case_1", "ann", Choice.DISMISS))).verdict == "resolved"
    for change in (AssignCase("ann"), CommentCase("hi"), TagCase(("tax",)), SnoozeCase(s.at(60), "why")):
        assert await edit(store, change) == "closed"
    assert (await store.dump()).case_comments == []


async def test_there_is_no_other_case(store: Any) -> None:
    await desk(store)
    assert await edit(store, CommentCase("hi"), id_="case_none") == "not_found"


async def test_a_comment_is_of_any_active_person_and_its_leaf_has_the_digest_alone(store: Any) -> None:
    await desk(store)
    assert await edit(store, CommentCase("Can I tell them tomorrow?"), "zoe") == "done"
    assert await edit(store, CommentCase("=1+1 <b>yes</b>"), "ann", at=s.at(5)) == "done"
    comments = sorted((await store.dump()).case_comments, key=lambda c: c.at)
    assert [(c.about, c.person, c.text) for c in comments] == [
        ("case_1", "zoe", "Can I tell them tomorrow?"),
        ("case_1", "ann", "=1+1 <b>yes</b>"),
    ]
    assert "tomorrow" not in str(await leaves(store))
    assert [body["comment"] for _, _, body in await leaves(store)] == [c.id for c in comments]


async def test_a_case_has_a_bounded_number_of_comments(store: Any) -> None:
    await desk(store)
    for n in range(MAX_CASE_COMMENTS):
        assert await edit(store, CommentCase(f"comment {n}"), at=s.at(n)) == "done"
    assert await edit(store, CommentCase("one more"), at=s.at(MAX_CASE_COMMENTS)) == "comments"


async def test_tags_are_added_and_removed_in_order(store: Any) -> None:
    await desk(store)
    assert await edit(store, TagCase(("tax", "month-end"))) == "done"
    assert await edit(store, TagCase(("audit",), ("tax",))) == "done"
    assert (await store.case("case_1")).case.tags == ("audit", "month-end")


async def test_a_snooze_ends_at_the_deadline_at_the_latest(store: Any) -> None:
    await desk(store)
    assert await edit(store, SnoozeCase(s.T0 + 30 * s.DAY, "waits for the bank")) == "done"
    case = (await store.case("case_1")).case
    assert (case.snoozed_until, case.snooze_reason) == (case.deadline, "waits for the bank")
    assert await edit(store, SnoozeCase(None)) == "done"
    case = (await store.case("case_1")).case
    assert (case.snoozed_until, case.snooze_reason) == (None, "")
