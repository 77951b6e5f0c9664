"""Receipts and admission, on all stores."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from counterfoil.core.case import CaseState
from counterfoil.core.link import LinkStatus
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.store.port.intake import AdmitResult, ReceiveResult
from counterfoil.store.port.turns import WaitOn
from tests.contract.store import samples as s


async def test_a_receipt_comes_back_as_it_was_sent(store: Any) -> None:
    sent = s.receipt(headers={"x": "ü"}, body=b"\x00\xff raw")
    received = await store.apply(s.receive(sent))
    assert received == ReceiveResult(numbers=(1,), verdicts=("new",))
    kept = await store.receipt(1)
    assert kept == msgspec.structs.replace(sent, no=1)
    assert [t.receipt for t in await store.todos(10)] == [kept]


async def test_second_delivery_starts_nothing(store: Any) -> None:
    await store.apply(s.receive(s.receipt()))
    again = await store.apply(s.receive(s.receipt(body=b"other envelope")))
    assert again == ReceiveResult(numbers=(1,), verdicts=("same",))
    assert len(await store.todos(10)) == 1
    assert (await store.receipt(1)).body == b'{"id":1}'


async def test_the_same_receipt_twice_in_one_delivery_is_one(store: Any) -> None:
    received = await store.apply(s.receive(s.receipt("a"), s.receipt("b"), s.receipt("a")))
    assert received == ReceiveResult(numbers=(1, 2, 1), verdicts=("new", "new", "same"))


async def test_another_identity_under_a_known_id_opens_a_case_and_the_first_stays(store: Any) -> None:
    await store.apply(s.receive(s.receipt()))
    clash = await store.apply(s.receive(s.receipt(identity="other")))
    assert clash.verdicts == ("clash",)
    cases = (await store.dump()).cases
    assert [(c.reason, c.receipt) for c in cases] == [("clash", 1)]
    assert (await store.receipt(1)).identity == "i"
    assert len(await store.todos(10)) == 1


async def test_a_fetched_receipt_is_stored_without_a_todo(store: Any) -> None:
    received = await store.apply(s.receive(s.receipt(door="fetch")))
    assert received.verdicts == ("new",)
    assert await store.todos(10) == []


async def test_the_cursor_moves_with_its_receipts(store: Any) -> None:
    await store.apply(s.receive(s.receipt(), cursor=("billing", "events", "c1")))
    assert await store.cursor("billing", "events") == "c1"
    await store.apply(s.receive(cursor=("billing", "events", "c2")))
    assert await store.cursor("billing", "events") == "c2"
    assert await store.cursor("billing", "other") is None


async def test_todos_come_in_order_and_can_be_skipped(store: Any) -> None:
    await store.apply(s.receive(*(s.receipt(str(i)) for i in range(5))))
    assert [t.ref for t in await store.todos(2)] == ["1", "2"]
    assert [t.ref for t in await store.todos(2, [("receipt", "1"), ("receipt", "3")])] == ["2", "4"]


async def test_admission_happens_once(store: Any) -> None:
    await store.apply(s.receive(s.receipt()))
    e = s.event()
    first = await store.apply(s.admit(1, events=(e,), heads=(s.head(e),)))
    assert first == AdmitResult(applied=True, new_events=("evt_1",))
    assert await store.apply(s.admit(1, events=(e,))) == AdmitResult(applied=False)
    assert await store.event("evt_1") == e
    assert await store.head("invoice", "inv-1") == s.head(e)
    assert await store.heads("invoice") == [s.head(e)]


async def test_an_existing_fact_has_no_second_consequence(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    e = s.event()
    parts = {"events": (e,), "heads": (s.head(e),), "starts": (s.start(),), "foils": (s.foil(),)}
    await store.apply(s.admit(1, **parts))
    before = await store.dump()
    again = await store.apply(s.admit(2, **parts, cases=(s.case(),)))
    assert again == AdmitResult(applied=True)
    after = await store.dump()
    assert (after.runs, after.inbox, after.foils, after.history) == (
        before.runs,
        before.inbox,
        before.foils,
        before.history,
    )
    assert [c.id for c in after.cases] == ["case_1"]


async def test_an_older_version_is_recorded_and_not_applied(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    new = s.event("evt_new", version=5, effective_at=s.at(10))
    old = s.event("evt_old", version=4, effective_at=s.at(5))
    await store.apply(s.admit(1, events=(new,), heads=(s.head(new, {"v": 5}),)))
    admitted = await store.apply(s.admit(2, events=(old,), heads=(s.head(old, {"v": 4}),)))
    assert admitted.older == ("evt_old",)
    assert (await store.head("invoice", "inv-1")).state == {"v": 5}
    assert (await store.head("invoice", "inv-1", s.at(7))).state == {"v": 4}
    assert (await store.head("invoice", "inv-1", s.at(11))).state == {"v": 5}
    assert await store.head("invoice", "inv-1", s.at(1)) is None


async def test_a_head_keeps_fields_that_a_newer_fact_does_not_name(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    first, second = s.event("evt_1", version=1), s.event("evt_2", version=2)
    await store.apply(s.admit(1, events=(first,), heads=(s.head(first, {"a": 1, "b": Money(5, "EUR")}),)))
    await store.apply(s.admit(2, events=(second,), heads=(s.head(second, {"a": 2}),)))
    assert (await store.head("invoice", "inv-1")).state == {"a": 2, "b": Money(5, "EUR")}


async def test_a_late_older_fact_fills_in_fields_without_a_newer_value(store: Any) -> None:
    """Each field is that of the newest fact that asserts it, in whatever order the facts come."""
    facts = [(1, {"a": 1, "b": 1, "c": 1}), (3, {"a": 3, "b": 3}), (4, {"d": 4}), (6, {"a": 6})]
    await store.apply(s.receive(*(s.receipt(str(n)) for n in range(25 * 5))))
    number = 0
    for nth, order in enumerate(permutations(facts)):
        key = f"inv-{nth}"
        number += 1
        other = s.event(f"erp-{nth}", key=key, system="erp", version=900)
        await store.apply(s.admit(number, events=(other,), heads=(s.head(other, {"posted": True}),)))
        for version, state in order:
            number += 1
            e = s.event(f"evt-{nth}-{version}", key=key, version=version, effective_at=s.at(version))
            await store.apply(s.admit(number, events=(e,), heads=(s.head(e, state),)))
        held = await store.head("invoice", key)
        assert held.state == {"a": 6, "b": 3, "c": 1, "d": 4, "posted": True}, order
        assert held.versions["billing"] == 6
        assert (await store.head("invoice", key, s.at(7))).state == held.state


async def test_an_emitted_event_is_admitted_with_its_consequences(store: Any) -> None:
    run = await s.born(store)
    e = s.event("evt_emitted", key="e")
    await store.apply(s.turn(run, events=(e,)))
    todo = next(t for t in await store.todos(10) if t.kind == "event")
    assert todo.event == e
    admitted = await store.apply(s.admit(e.id, "event", events=(e,), starts=(s.start("e", e.id),)))
    assert admitted.new_events == (e.id,)
    assert len(admitted.born) == 1


async def test_a_run_starts_once_and_later_events_are_appended(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b"), s.receipt("c")))
    first = await store.apply(s.admit(1, events=(s.event("e1"),), starts=(s.start(ref="e1"),)))
    second = await store.apply(s.admit(2, events=(s.event("e2"),), starts=(s.start(ref="e2"),)))
    only = s.start(ref="e3", only_birth=True)
    third = await store.apply(s.admit(3, events=(s.event("e3"),), starts=(only,)))
    assert (first.born, second.born, third.born) == ((s.RUN,), (), ())
    loaded = await store.load(s.RUN)
    assert [(i.seq, i.kind, i.ref) for i in loaded.inbox] == [(1, "start", "e1"), (2, "start", "e2")]
    assert loaded.run.due == s.T0
    assert loaded.run.arrival == 1


async def test_a_start_with_a_date_waits_for_it(store: Any) -> None:
    run = await s.born(store, due=s.at(3600))
    assert (await s.run_of(store, run)).due == s.at(3600)
    assert await store.next_due() == s.at(3600)


async def test_a_link_is_found_from_both_ends_and_superseded_by_another(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    await store.apply(s.admit(1, links=(s.link(),)))
    assert await store.link_by_ext("customer", "erp", "42") == s.link()
    assert await store.link_by_canonical("customer", "cust-1", "erp") == s.link()
    await store.apply(s.admit(2, links=(s.link("cust-2"),), when=s.at(1)))
    assert (await store.link_by_ext("customer", "erp", "42")).canonical == "cust-2"
    assert await store.link_by_canonical("customer", "cust-1", "erp") is None
    held = {(link.canonical, link.status, link.valid_to) for link in (await store.dump()).links}
    assert held == {("cust-1", LinkStatus.SUPERSEDED, s.at(1)), ("cust-2", LinkStatus.CONFIRMED, None)}


async def test_a_proposed_link_has_no_effect_until_it_is_confirmed(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    await store.apply(s.admit(1, links=(s.link(status=LinkStatus.PROPOSED),)))
    assert await store.link_by_ext("customer", "erp", "42") is None
    await store.apply(s.admit(2, links=(s.link(),)))
    assert await store.link_by_ext("customer", "erp", "42") == s.link()


async def test_a_link_wakes_the_run_that_lacked_it(store: Any) -> None:
    run = await s.born(store)
    topic = s.link().topics[0]
    await store.apply(s.turn(run, waits=(WaitOn(topic=topic),), due=s.at(9000)))
    await store.apply(s.receive(s.receipt("l")))
    admitted = await store.apply(s.admit(2, links=(s.link(),), when=s.at(1)))
    assert admitted.woken == (run,)
    loaded = await store.load(run)
    assert [i.kind for i in loaded.inbox] == ["event"]
    assert loaded.run.due == s.at(1)


async def test_a_parked_todo_comes_back_when_its_topic_is_posted(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    topic = s.link().topics[1]
    await store.apply(s.admit(1, park=True, wake_topic=topic, cases=(s.case(receipt=1),)))
    assert [t.ref for t in await store.todos(10)] == ["2"]
    assert await store.apply(s.admit(1)) == AdmitResult(applied=False)
    await store.apply(s.admit(2, links=(s.link(),)))
    assert [t.ref for t in await store.todos(10)] == ["1"]


async def test_a_todo_that_waits_for_a_posted_topic_is_not_parked(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    await store.apply(s.admit(1, links=(s.link(),)))
    await store.apply(s.admit(2, park=True, wake_topic=s.link().topics[1]))
    assert [t.ref for t in await store.todos(10)] == ["2"]


async def test_admitting_a_held_delivery_resolves_its_case(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    topic = s.link().topics[1]
    clash = s.case("case_clash", reason="clash", receipt=1)
    await store.apply(s.admit(1, park=True, wake_topic=topic, cases=(s.case(receipt=1), clash)))
    await store.apply(s.admit(2, links=(s.link(),)))
    await store.apply(s.admit(1, events=(s.event(),), when=s.at(3)))
    cases = {c.id: c for c in (await store.dump()).cases}
    assert (cases["case_1"].state, cases["case_1"].resolved_by) == (CaseState.RESOLVED, "admit")
    assert cases["case_clash"].state is CaseState.OPEN


@pytest.mark.parametrize("foil_first", [True, False])
async def test_both_halves_meet_whichever_comes_first(store: Any, foil_first: bool) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    owed = s.admit(1, events=(s.event("evt_1"),), foils=(s.foil(),))
    shown = s.admit(2, events=(s.event("evt_2"),), observations=(s.observation(),))
    for admission in (owed, shown) if foil_first else (shown, owed):
        await store.apply(admission)
    (match,) = (await store.dump()).matches
    assert match.foils[0].state is FoilState.MATCHED
    assert match.foils[0].settled_at == s.T0
    assert [(a.foil, a.observation, a.amount) for a in match.allocations] == [
        ("foil_1", "obs_1", Money(12000, "USD"))
    ]


async def test_a_newer_observation_replaces_the_older_one(store: Any) -> None:
    await store.apply(s.receive(*(s.receipt(c) for c in "abc")))
    await store.apply(s.admit(1, events=(s.event("evt_1"),), foils=(s.foil(),)))
    await store.apply(s.admit(2, events=(s.event("evt_2"),), observations=(s.observation(minor=9000),)))
    (match,) = (await store.dump()).matches
    assert match.foils[0].state is FoilState.BROKEN
    newer = s.observation("obs_1", version=2, event="evt_3")
    await store.apply(s.admit(3, events=(s.event("evt_3"),), observations=(newer,)))
    (match,) = (await store.dump()).matches
    assert match.foils[0].state is FoilState.MATCHED
    assert [(o.version, o.event) for o in match.observations] == [(2, "evt_3")]
    assert [a.amount for a in match.allocations] == [Money(12000, "USD")]


async def test_one_observation_covers_two_foils_in_order_of_due_time(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    early = s.foil("foil_b", minor=7000, due=s.at(10), terms=s.PARTS)
    late = s.foil("foil_a", minor=7000, due=s.at(20), terms=s.PARTS)
    await store.apply(s.admit(1, events=(s.event("evt_1"),), foils=(late, early)))
    await store.apply(s.admit(2, events=(s.event("evt_2"),), observations=(s.observation(minor=10000),)))
    (match,) = (await store.dump()).matches
    assert {f.id: f.state for f in match.foils} == {"foil_b": FoilState.MATCHED, "foil_a": FoilState.PARTLY}
    assert [(a.foil, a.amount.minor) for a in match.allocations] == [("foil_a", 3000), ("foil_b", 7000)]


async def test_every_step_writes_its_leaf(store: Any) -> None:
    await store.apply(s.receive(s.receipt()))
    await store.apply(s.admit(1, events=(s.event(),), cases=(s.case(),), ignored="not ours"))
    leaves = [leaf for _, leaf in (await store.dump()).leaves]
    assert [(leaf.kind, leaf.subject) for leaf in leaves] == [
        ("received", "1"),
        ("case.opened", "case_1"),
        ("admitted", "receipt:1"),
    ]
