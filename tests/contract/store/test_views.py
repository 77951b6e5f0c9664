"""Lists for pages, on the SQL stores."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.case import Choice
from counterfoil.core.case_edits import AssignCase, CommentCase, SnoozeCase, TagCase
from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.money import INT64_MAX, Money
from counterfoil.core.run import RunStatus
from counterfoil.core.waiting import waits_for
from counterfoil.store.port import views
from counterfoil.store.port.maintenance import OpenCases, Seal
from counterfoil.store.port.turns import WaitOn
from counterfoil.store.sql import reads
from counterfoil.store.sql import views as sql_views
from counterfoil.store.sql.statements import Statement, Work, lite_args, to_sqlite
from tests.contract.store import samples as s


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: s.Places) -> Any:
    return await places(request.param)


async def test_pages_go_through_everything_once_newest_first(store: Any) -> None:
    numbers = await store.apply(s.receive(*(s.receipt(str(i)) for i in range(7))))
    for i, no in enumerate(numbers.numbers):
        # Two Runs at each moment: the cursor must tell them apart by id.
        e = s.event(f"evt_{i}", f"k{i}")
        await store.apply(s.admit(no, events=(e,), starts=(s.start(f"k{i}", e.id),), when=s.at(i // 2)))
    seen, cursor = [], None
    for _ in range(4):
        rows, cursor = await store.runs(views.ListFilter(limit=2, cursor=cursor))
        seen += [row.run for row in rows]
    assert cursor is None
    assert len({run.id for run in seen}) == 7
    assert seen == sorted(seen, key=lambda run: (run.created_at, run.id), reverse=True)


async def test_an_invalid_cursor_is_refused(store: Any) -> None:
    with pytest.raises(ValueError):
        await store.runs(views.ListFilter(cursor="yesterday"))


async def test_runs_are_filtered_and_show_what_is_at_stake(store: Any) -> None:
    run, other = await s.born(store, "k1"), await s.born(store, "k2", workflow="w2")
    foils = (
        s.foil("f1", "m1", run=run, minor=5000),
        s.foil(
            "f2", "m2", run=run, minor=2000, legs={"net": Money(-1500, "USD"), "total": Money(-2000, "USD")}
        ),
        s.foil("f3", "m3", run=run, minor=9999, state=FoilState.VOID),
        s.foil("f4", "m4", run=run, legs={"total": Money(100, "EUR")}),
    )
    cases = (
        s.case("c1", run=run, exposure=(Money(6000, "USD"), Money(300, "EUR"))),
        s.case("c2", run=run, exposure=(Money(500, "GBP"),), choices=(Choice.DISMISS,)),
    )
    await store.apply(s.turn(run, foils=foils, cases=cases, status=RunStatus.WAITING))
    rows, _ = await store.runs(views.ListFilter(status="waiting"))
    (row,) = rows
    assert row.run.id == run
    assert row.exposure == (Money(300, "EUR"), Money(500, "GBP"), Money(7000, "USD"))
    assert (row.cases, dict(row.foils)) == (2, {FoilState.OPEN: 3, FoilState.VOID: 1})
    for page in (
        views.ListFilter(workflow="w2"),
        views.ListFilter(key="k2"),
        views.ListFilter(run=other),
        views.ListFilter(status="ready"),
    ):
        assert [r.run.id for r in (await store.runs(page))[0]] == [other]
    assert (await store.runs(views.ListFilter(workflow="w2", key="k1")))[0] == []


async def test_a_run_says_what_it_waits_for(store: Any) -> None:
    """The first thing that stops it; nothing once it has ended."""

    async def words(run: str) -> str:
        (row,), _ = await store.runs(views.ListFilter(run=run))
        return waits_for(row.run, row.obstacles, s.at(60))

    first, second, third = [await s.born(store, f"k{n}") for n in range(3)]
    assert await words(first) == "a worker"
    e = s.effect(run=first)
    await store.apply(s.turn(first, plan=(e,), send=(s.send(e),), hold=("customer:C-1",)))
    assert await words(first) == "the answer of erp to erp.credit_memo.post"
    await store.apply(s.conclude(e, EffectState.UNKNOWN, look_at=s.at(3600)))
    look_up = "a look-up in erp whether erp.credit_memo.post was done, next at 2026-03-01 13:00 UTC"
    assert await words(first) == look_up
    blocked = await store.apply(s.turn(second, hold=("customer:C-1",)))
    assert blocked.verdict == "held"
    assert await words(second) == "Run k0, which holds customer:C-1"
    asked = (s.approval("apr_1", third, quorum=2),)
    await store.apply(s.turn(third, approvals=asked))
    assert (
        await words(third)
        == "approval of 120.00 USD by 2 of finance or controller until 2026-03-02 12:00 UTC"
    )


async def test_a_call_that_is_tried_again_says_when_and_what_is_at_stake(store: Any) -> None:
    run = await s.born(store)
    e = s.effect(run=run, input=wire.dumps({"amount": Money(7_500, "USD"), "net": Money(7_000, "USD")}))
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    await store.apply(s.conclude(e, EffectState.REFUSED, error="it refuses the connection"))
    ctx = wire.dumps(
        {"steps": {"post": {"phase": "backoff", "retry_at": wire.time_text(s.at(90)), "effect": e.id}}}
    )
    await store.apply(s.turn(run, version=1, consumed=2, due=s.at(90), ctx=ctx))
    (row,), _ = await store.runs(views.ListFilter(run=run))
    said = waits_for(row.run, row.obstacles, s.at(60))
    assert said == (
        "the next try of erp.credit_memo.post at 2026-03-01 12:01:30 UTC, after 1 attempt: it refuses the connection"
    )
    assert row.exposure == (Money(7_500, "USD"),)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"waits": (WaitOn(topic="event:paid.v1:id=7"), WaitOn(topic="event:paid.v1"))}, "event paid.v1"),
        (
            {"waits": (WaitOn(topic="link:invoice:INV:7:erp"),), "due": s.at(3600)},
            "the id of invoice INV:7 in erp until 2026-03-01 13:00 UTC",
        ),
        ({"due": s.at(3600)}, "2026-03-01 13:00 UTC"),
        ({"plan": (s.effect(run="RUN"),)}, "a free slot for erp.credit_memo.post in erp"),
        (
            {"cases": (s.case(run="RUN"),)},
            "finance to decide a Case: The mapping could not read the delivery",
        ),
        ({"status": RunStatus.DONE}, ""),
    ],
)
async def test_a_run_that_nothing_else_stops_waits_for_an_event_a_time_or_a_person(
    store: Any, more: dict[str, Any], expected: str
) -> None:
    run = await s.born(store)
    rows = {
        name: tuple(replace(row, run=run) for row in value) if name in ("plan", "cases") else value
        for name, value in more.items()
    }
    await store.apply(s.turn(run, **rows))
    (row,), _ = await store.runs(views.ListFilter(run=run))
    assert waits_for(row.run, row.obstacles, s.at(60)) == expected


async def test_every_list_is_filtered_by_run_and_state(store: Any) -> None:
    run, other = await s.born(store, "k1"), await s.born(store, "k2")
    for r in (run, other):
        await store.apply(
            s.turn(
                r,
                plan=(s.effect(run=r),),
                foils=(s.foil(f"foil_{r}", r, run=r),),
                approvals=(s.approval(f"apr_{r}", r),),
                cases=(s.case(f"case_{r}", run=r),),
            )
        )
    await store.apply(s.put_person(s.person("ann")))
    await store.apply(s.vote(f"apr_{run}"))
    await store.apply(s.resolve(f"case_{run}"))
    assert [e.run for e in (await store.effects(views.ListFilter(run=run)))[0]] == [run]
    assert [f.run for f in (await store.foils(views.ListFilter(run=run, state="open")))[0]] == [run]
    assert (await store.foils(views.ListFilter(key=other)))[0][0].run == other
    assert [a.run for a in (await store.approvals(views.ListFilter(state="open")))[0]] == [other]
    (target,), _ = await store.cases(views.ListFilter(state="open"))
    assert (target.case.run, target.workflow, target.bkey) == (other, "w1", "k2")
    assert [c.case.run for c in (await store.cases(views.ListFilter(key="k1", workflow="w1")))[0]] == [run]


async def test_events_are_filtered_by_type_system_and_key(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a")))
    events = (
        s.event("evt_1", "k1"),
        s.event("evt_2", "k2", type="customer.updated.v1"),
        s.event("evt_3", "k3", system="crm"),
    )
    await store.apply(s.admit(1, events=events))

    async def ids(**filters: str) -> list[str]:
        rows, _ = await store.events(views.EventFilter(**filters))
        return sorted(row.id for row in rows)

    assert await ids() == ["evt_1", "evt_2", "evt_3"]
    assert await ids(key="k1") == ["evt_1"]
    assert await ids(type="customer.updated.v1") == ["evt_2"]
    assert await ids(system="crm") == ["evt_3"]
    assert await ids(system="crm", key="k1") == []


async def test_a_run_s_story_is_its_inbox_and_its_leaves(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, when=s.at(1)))
    await store.apply(Seal(at=s.T0, limit=3))
    await store.apply(s.turn(run, 1, when=s.at(2), cases=(s.case(run=run),)))
    assert [i.kind for i in await store.inbox(run)] == ["start"]
    leaves = await store.leaves_of(run)
    assert [(index is None, leaf.kind) for index, leaf in leaves] == [
        (False, "turned"),
        (True, "case.opened"),
        (True, "turned"),
    ]


async def test_links_of_an_object_include_superseded_ones(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    await store.apply(s.admit(1, links=(s.link(),)))
    await store.apply(s.admit(2, links=(s.link("cust-2", valid_from=s.at(5)),), when=s.at(5)))
    first, second = ("customer", "cust-1"), ("customer", "cust-2")
    links = await store.links_of([second, ("invoice", "cust-1"), first])
    assert [(link.canonical, link.status.value) for link in links] == [
        ("cust-2", "confirmed"),
        ("cust-1", "superseded"),
    ]
    assert await store.links_of([]) == []
    link = links[0]
    assert await store.links_by_ext(
        "42", ["customer", "invoice"], [link.system, "crm"], ["", link.account]
    ) == [link]
    assert await store.links_by_ext("42", ["invoice"], [link.system], [link.account]) == []


async def first_plan(places: s.Places, work: Work[Any]) -> list[str]:
    """Return the steps by which SQLite executes the first statement of a read."""
    store = await places("sqlite")
    statement = work.send(None)
    work.close()
    assert isinstance(statement, Statement)
    with contextlib.closing(apsw.Connection(str(store.path))) as connection:
        plan = connection.execute(
            f"explain query plan {to_sqlite(statement.sql)}", lite_args(statement.args)
        ).fetchall()
    return [row[3] for row in plan]


@pytest.mark.parametrize(
    "read",
    [
        lambda: reads.link_by_ext("customer", "erp", "42", "main"),
        lambda: sql_views.links_by_ext("42", ["customer"], ["erp"], ["main"]),
    ],
    ids=["one", "many"],
)
async def test_a_link_is_found_by_its_id_through_an_index(
    places: s.Places, read: Callable[[], Work[Any]]
) -> None:
    plan = await first_plan(places, read())
    whole = "USING INDEX link_active (object=? AND system=? AND account=? AND ext_id=?)"
    assert any(whole in step for step in plan), plan


async def test_the_oldest_unmatched_items_come_first(store: Any) -> None:
    """Those that another reconciliation accounts for are left out, as in the list."""
    for n, minute in enumerate((30, 10, 20), 1):
        await store.apply(s.receive(s.receipt(f"d{n}")))
        item = s.observation(
            f"o{n}", f"m{n}", event=f"evt_{n}", document=f"erp:{n}", at=s.at(minute), since=s.at(minute)
        )
        await store.apply(s.admit(n, events=(s.event(f"evt_{n}", f"k{n}"),), observations=(item,)))
    await store.apply(s.receive(s.receipt("d4")))
    matched = s.observation("o4", "m4", event="evt_4", document="erp:4")
    await store.apply(
        s.admit(
            4,
            events=(s.event("evt_4", "k4"),),
            foils=(s.foil("f4", "m4", cause="evt_4"),),
            observations=(matched,),
        )
    )
    assert [item.id for item in await store.oldest_unmatched(10)] == ["o2", "o3", "o1"]
    assert [item.id for item in await store.oldest_unmatched(2)] == ["o2", "o3"]
    listed, _ = await store.unmatched(views.ItemFilter())
    assert [row.item.id for row in listed] == ["o1", "o3", "o2"]


@pytest.mark.parametrize(
    "read",
    [
        lambda: sql_views.unmatched(views.ItemFilter()),
        lambda: sql_views.oldest_unmatched(100),
    ],
    ids=["newest", "oldest"],
)
async def test_unmatched_items_are_read_through_an_index(
    places: s.Places, read: Callable[[], Work[Any]]
) -> None:
    plan = await first_plan(places, read())
    assert any("SCAN observation USING INDEX observation_unmatched" in step for step in plan), plan
    assert not any("ORDER BY" in step for step in plan), plan


async def test_events_are_read_by_their_ids(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    await store.apply(s.admit(1, events=(s.event("evt_1", "k1"), s.event("evt_2", "k2"))))
    assert {event.id for event in await store.events_of(["evt_2", "evt_1", "evt_9"])} == {"evt_1", "evt_2"}
    assert await store.events_of([]) == []


async def test_matches_show_both_sides(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a")))
    owed = (s.foil("f1", "m1"), s.foil("f2", "m2"))
    seen = (
        s.observation("o1", "m1", event="evt_1", document="erp:1"),
        s.observation("o3", "m3", event="evt_1", document="erp:3"),
    )
    await store.apply(s.admit(1, events=(s.event(),), foils=owed, observations=seen))
    rows = await store.matches()
    assert [(r.key, len(r.foils), len(r.observations), len(r.allocations)) for r in rows] == [
        ("m1", 1, 1, 1),
        ("m2", 1, 0, 0),
        ("m3", 0, 1, 0),
    ]
    assert [r.key for r in await store.matches(2)] == ["m1", "m2"]


async def test_counts_by_table_and_state(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, plan=(s.effect(run=run),), foils=(s.foil(run=run),), cases=(s.case(),)))
    counts = await store.counts()
    wanted = {"run.waiting": 1, "effect.planned": 1, "foil.open": 1, "case.open": 1, "receipt": 1}
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["pending"] == len((await store.dump()).leaves)


async def test_cases_are_filtered_by_person_tag_reason_cause_and_snooze(store: Any) -> None:
    for person in (s.person("ann", ("finance",)), s.person("bob", ("finance",))):
        await store.apply(s.put_person(person))
    cases = (
        s.case("case_a", cause="refused/erp.post", reason="refused"),
        s.case("case_b", cause="refused/erp.post", reason="refused", owner="support"),
        s.case("case_c"),
    )
    await store.apply(OpenCases(cases=cases, at=s.T0, actor="test"))
    edits = (
        ("case_a", AssignCase("ann")),
        ("case_a", TagCase(("month-end", "tax"))),
        ("case_b", TagCase(("tax 2",))),
        ("case_c", SnoozeCase(s.at(60), "later")),
    )
    for case, edit in edits:
        answer = await store.apply(s.edit_case(edit, case, override=True))
        assert answer.verdict == "done"

    async def listed(**filters: Any) -> list[str]:
        rows, _ = await store.cases(views.ListFilter(**filters))
        return sorted(row.case.id for row in rows)

    assert await listed(assignee="ann") == ["case_a"]
    assert await listed(assignee="") == ["case_b", "case_c"]
    assert await listed(tag="tax") == ["case_a"]
    assert await listed(tag="%") == await listed(tag="t_x") == []
    assert await listed(reason="refused") == await listed(cause="refused/erp.post") == ["case_a", "case_b"]
    assert await listed(ids=("case_c", "case_x")) == ["case_c"]
    assert await listed(awake_at=s.at(59)) == ["case_a", "case_b"]
    assert await listed(awake_at=s.at(60)) == ["case_a", "case_b", "case_c"]
    assert await listed(snoozed_at=s.at(59)) == ["case_c"]
    assert await listed(snoozed_at=s.at(60)) == []
    assert (
        await store.apply(s.resolve("case_c", "ann", Choice.DISMISS, override=True))
    ).verdict == "resolved"
    assert await listed(awake_at=s.at(1)) == ["case_a", "case_b", "case_c"]


async def test_cases_are_grouped_by_cause_with_money_age_and_owners(store: Any) -> None:
    huge = Money(INT64_MAX, "USD")
    cases = (
        s.case("case_a", cause="x", exposure=(Money(100, "USD"),), created_at=s.at(5)),
        s.case("case_b", cause="x", exposure=(Money(100, "USD"), Money(-7, "EUR")), owner="support"),
        s.case("case_c", cause="x", exposure=(Money(100, "USD"),), created_at=s.at(1)),
        s.case("case_d", cause="y", exposure=(huge,)),
        s.case("case_e", cause="y", exposure=(huge,)),
        s.case("case_f", cause="z", created_at=s.at(9)),
    )
    await store.apply(OpenCases(cases=cases, at=s.T0, actor="test"))
    rows = await store.causes(views.ListFilter(state="open"))
    assert [
        (row.cause, row.number, row.exposure, row.oldest, row.owners, row.unassigned) for row in rows
    ] == [
        ("x", 3, (Money(7, "EUR"), Money(300, "USD")), s.T0, ("finance", "support"), 3),
        ("y", 2, (huge,), s.T0, ("finance",), 2),
        ("z", 1, (), s.at(9), ("finance",), 1),
    ]
    of_support = await store.causes(views.ListFilter(state="open", owner="support"))
    assert [(row.cause, row.number) for row in of_support] == [("x", 1)]
    assert await store.causes(views.ListFilter(state="open", entities=("acme-de",))) == []


async def test_comments_of_a_case_come_oldest_first(store: Any) -> None:
    await store.apply(s.put_person(s.person("ann")))
    await store.apply(OpenCases(cases=(s.case(), s.case("case_2")), at=s.T0, actor="test"))
    for n, case in enumerate(("case_1", "case_2", "case_1")):
        await store.apply(s.edit_case(CommentCase(f"text {n}"), case, at=s.at(n)))
    assert [c.text for c in await store.case_comments("case_1")] == ["text 0", "text 2"]
    assert await store.case_comments("case_none") == []
