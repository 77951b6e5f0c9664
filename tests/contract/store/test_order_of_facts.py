"""Facts of one moment, late facts and facts that contradict each other, on all stores."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent, Head, rank, rank_key
from counterfoil.core.case import CaseState
from counterfoil.core.money import Money
from counterfoil.store.port.heads import merge_head
from counterfoil.store.port.records import RunStart
from tests.contract.store import samples as s

OPEN, PAID, VOID = (
    {"status": status, "open": 0 if status != "open" else 120} for status in ("open", "paid", "void")
)


def fact(
    id_: str,
    state: dict[str, Any],
    version: int = 1,
    final: bool = False,
    read: float | None = None,
    **more: Any,
) -> Head:
    e = s.event(id_, version=version, **more)
    at = None if read is None else s.at(read)
    return replace(s.head(e, state), versions={rank_key(e.system): rank(id_, final, at)})


def merged(facts: Any) -> Head:
    head: Head | None = None
    for one in facts:
        head = merge_head(head, one).head or head
    assert head is not None
    return head


@st.composite
def moments(draw: st.DrawFn) -> list[Head]:
    """Facts of one object by two systems, within few versions, with or without evidence of their order."""
    facts = []
    for number in range(draw(st.integers(1, 7))):
        fields = draw(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), min_size=1))
        system = draw(st.sampled_from(["billing", "billing", "erp"]))
        state = {f"{system}_{field}": value for field, value in fields.items()}
        read = draw(st.none() | st.integers(0, 3).map(lambda n, number=number: n * 10 + number))
        version, final = draw(st.integers(1, 3)), draw(st.booleans())
        facts.append(fact(f"evt_{number}", state, version, final, read, system=system))
    return facts


@settings(max_examples=300, deadline=None)
@given(moments(), st.randoms())
def test_any_order_and_repetition_ends_in_one_head(facts: list[Head], random: Any) -> None:
    """Each field is that of the greatest fact by version, final state, time of reading and id."""
    expected: dict[str, Any] = {}
    for one in sorted(facts, key=lambda f: (f.version, f.versions[rank_key(f.system)])):
        expected |= one.state
    arrivals = [*facts, *random.choices(facts, k=3)]
    random.shuffle(arrivals)
    head = merged(arrivals)
    assert head.state == expected
    newest = {f.system: max(o.version for o in facts if o.system == f.system) for f in facts}
    assert {system: head.versions[system] for system in newest} == newest


@settings(max_examples=200, deadline=None)
@given(moments(), st.randoms())
def test_whether_a_tie_remains_does_not_depend_on_the_order(facts: list[Head], random: Any) -> None:
    def open_ties(order: list[Head]) -> set[str]:
        return {key for key in merged(order).versions if key.endswith("?")}

    other = list(facts)
    random.shuffle(other)
    assert open_ties(facts) == open_ties(other)


async def test_every_order_of_one_second_ends_in_the_same_head(store: Any) -> None:
    facts = [("open", OPEN, False), ("paid", PAID, True), ("opened", {**OPEN, "open": 60}, False)]
    number = 0
    heads = []
    for nth, order in enumerate(permutations(facts)):
        key = f"inv-{nth}"
        for name, state, final in (*order, order[0]):
            number += 1
            await store.apply(s.receive(s.receipt(str(number))))
            id_ = f"evt-{name}"
            e = s.event(f"{id_}-{key}", key=key, version=7)
            head = replace(fact(id_, state, 7, final, key=key), event=e.id)
            await store.apply(s.admit(number, events=(e,), heads=(head,)))
        heads.append((await store.head("invoice", key)).state)
    assert heads == [PAID] * 6


async def admitted(store: Any, number: int, one: Head, **more: Any) -> Any:
    await store.apply(s.receive(s.receipt(f"r{number}")))
    e = s.event(one.event, version=one.version, system=one.system)
    return await store.apply(
        s.admit(number, events=(e,), heads=(one,), owners={one.event: "finance"}, **more)
    )


async def test_a_tie_that_nothing_orders_is_a_case_with_both_contents_until_a_newer_fact_comes(
    store: Any,
) -> None:
    await admitted(store, 1, fact("evt_a", {"open": Money(12000, "USD")}))
    await admitted(store, 2, fact("evt_b", {"open": Money(9000, "USD")}))
    (case,) = (await store.dump()).cases
    assert (case.reason, case.owner, case.event) == ("tie", "finance", "evt_b")
    assert "120.00 USD" in case.message
    assert "90.00 USD" in case.message
    assert case.exposure == (Money(3000, "USD"),)
    await admitted(store, 3, fact("evt_c", {"open": Money(9000, "USD")}))
    assert len((await store.dump()).cases) == 1, "one Case for one moment"
    await admitted(store, 4, fact("evt_d", {"open": Money(0, "USD")}, version=2))
    (case,) = (await store.dump()).cases
    assert (case.state, case.resolved_by) == (CaseState.RESOLVED, "admit")


async def test_facts_of_one_moment_that_agree_are_no_tie(store: Any) -> None:
    await admitted(store, 1, fact("evt_a", {"open": 1, "name": "x"}))
    await admitted(store, 2, fact("evt_b", {"open": 1}))
    await admitted(store, 3, fact("evt_c", {"other": 2}))
    assert (await store.dump()).cases == []
    assert (await store.head("invoice", "inv-1")).state == {"open": 1, "name": "x", "other": 2}


async def test_a_final_state_does_not_go_back_in_its_second(store: Any) -> None:
    await admitted(store, 1, fact("evt_a", PAID, final=True))
    await admitted(store, 2, fact("evt_b", OPEN))
    assert (await store.head("invoice", "inv-1")).state == PAID
    assert (await store.dump()).cases == []
    await admitted(store, 3, fact("evt_c", VOID, final=True))
    assert [case.reason for case in (await store.dump()).cases] == ["tie"], (
        "two final states contradict each other"
    )


async def test_what_was_read_later_from_the_system_of_record_wins(store: Any) -> None:
    await admitted(store, 1, fact("evt_a", {"open": 60}, read=20), read_from=s.at(15))
    await admitted(store, 2, fact("evt_b", {"open": 120}, read=10), read_from=s.at(25))
    await admitted(store, 3, fact("evt_c", {"open": 999}))
    assert (await store.head("invoice", "inv-1")).state == {"open": 60}
    assert (await store.dump()).cases == []


async def test_two_readings_that_overlap_are_read_again(store: Any) -> None:
    await admitted(store, 1, fact("evt_a", {"open": 60}, read=20), read_from=s.at(15))
    answer = await admitted(store, 2, fact("evt_b", {"open": 120}, read=21), read_from=s.at(18))
    assert (answer.applied, answer.overtaken) == (False, True)
    assert [todo.ref for todo in await store.todos(10)] == ["2"], "it is admitted again"
    again = s.admit(
        2, events=(s.event("evt_b"),), heads=(fact("evt_b", {"open": 0}, read=30),), read_from=s.at(25)
    )
    assert (await store.apply(again)).applied
    assert (await store.head("invoice", "inv-1")).state == {"open": 0}


# ------------------------------------------------------------------ one id, two contents


def paid(minor: int, **more: Any) -> CanonicalEvent:
    return s.event("evt_1", data={"total": Money(minor, "USD")}, **more)


async def test_an_event_id_with_other_content_is_a_clash_with_both_contents(store: Any) -> None:
    await store.apply(s.receive(*(s.receipt(c) for c in "abcd")))
    owners = {"evt_1": "finance"}
    first, other = paid(12000), paid(15000, receipt=2)
    await store.apply(s.admit(1, events=(first,), heads=(s.head(first),), owners=owners))
    await store.apply(s.admit(2, events=(other,), heads=(s.head(other),), owners=owners))
    await store.apply(s.admit(3, events=(other,), heads=(s.head(other),), owners=owners))
    await store.apply(s.admit(4, events=(paid(12000, received_at=s.at(9), version=2),), owners=owners))
    (case,) = (await store.dump()).cases
    assert (case.reason, case.owner, case.receipt, case.event) == ("clash", "finance", 2, "evt_1")
    assert "total was 120.00 USD, now 150.00 USD" in case.message
    assert case.exposure == (Money(3000, "USD"),)
    assert (await store.head("invoice", "inv-1")).state == first.data
    assert (await store.event("evt_1")).data == first.data


async def test_one_delivery_with_one_id_and_two_contents_is_a_clash(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a")))
    await store.apply(s.admit(1, events=(paid(12000), paid(15000)), owners={"evt_1": "finance"}))
    assert [case.reason for case in (await store.dump()).cases] == ["clash"]


def begin(ref: str, minor: int, **more: Any) -> RunStart:
    start = s.start("inv-1", ref, **more)
    names = {"event": {"id": ref, "type": "invoice.finalized.v1", "data": {"total": Money(minor, "USD")}}}
    return replace(start, stimulus=replace(start.stimulus, body=wire.dumps(names)))


async def test_an_event_that_starts_nothing_because_its_run_has_other_content_is_a_case(store: Any) -> None:
    await store.apply(s.receive(*(s.receipt(c) for c in "abcd")))
    await store.apply(s.admit(1, events=(s.event("e1"),), starts=(begin("e1", 12000),)))
    await store.apply(s.admit(2, events=(s.event("e2"),), starts=(begin("e2", 12000),)))
    assert (await store.dump()).cases == [], "the same content again is no contradiction"
    await store.apply(
        s.admit(3, events=(s.event("e3"),), starts=(begin("e3", 15000),), owners={"e3": "finance"})
    )
    (case,) = (await store.dump()).cases
    assert (case.reason, case.owner, case.run, case.event) == ("generation_clash", "finance", s.RUN, "e3")
    assert "total was 120.00 USD, now 150.00 USD" in case.message
    assert case.exposure == (Money(3000, "USD"),)


async def test_a_revision_after_the_end_of_its_run_is_a_case(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    await store.apply(s.admit(1, events=(s.event("e1"),), starts=(begin("e1", 12000),)))
    await store.apply(s.turn(s.RUN, status="done"))
    await store.apply(
        s.admit(2, events=(s.event("e2"),), starts=(begin("e2", 15000),), owners={"e2": "finance"})
    )
    assert [(case.reason, case.run) for case in (await store.dump()).cases] == [("generation_clash", s.RUN)]


async def test_a_repeat_with_other_content_is_admitted_once_for_comparison(store: Any) -> None:
    first = s.receipt("a", identity="i.c1")
    changed = s.receipt("a", identity="i.c2", body=b'{"id":2}')
    assert (await store.apply(s.receive(first))).verdicts == ("new",)
    for _ in range(2):
        assert (await store.apply(s.receive(changed, first))).verdicts == ("same", "same")
    todos = await store.todos(10)
    assert [todo.receipt.repeats for todo in todos] == [None, "a"]
    assert todos[1].receipt.body == b'{"id":2}'
    assert (await store.dump()).cases == []


async def test_a_clash_of_receipts_shows_what_differs(store: Any) -> None:
    def body(minor: int) -> bytes:
        return wire.write_json({"id": 1, "data": {"total": {"minor": minor, "currency": "USD"}, "no": "A1"}})

    await store.apply(s.receive(s.receipt("a", body=body(12000))))
    await store.apply(s.receive(s.receipt("a", identity="other", body=body(15000))))
    (case,) = (await store.dump()).cases
    assert "data.total was 120.00 USD, now 150.00 USD" in case.message
    assert "A1" not in case.message
    assert case.exposure == (Money(3000, "USD"),)


def test_ranks_fit_the_stores() -> None:
    last = rank("evt", True, s.T0 + timedelta(days=20_000))
    assert last < 2**63
