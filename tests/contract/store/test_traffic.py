"""Recorded traffic, page by page: each delivery with everything it led to, as of its time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.canonical import Head
from counterfoil.core.effect import EffectState
from counterfoil.store.port.recorded import DeliveryFilter, GuardUse, RecordedDelivery
from counterfoil.store.port.records import TopicPost
from counterfoil.store.port.turns import Reserve, WaitOn
from tests.contract.store import samples as s
from tests.contract.store.test_calls import place

ALL = DeliveryFilter(
    since=s.T0 - s.DAY, until=s.T0 + 9 * s.DAY, fetches=("bills.get",), calendars=("period",)
)


async def everything(store: Any, of: DeliveryFilter = ALL) -> list[RecordedDelivery]:
    found, after = [], of.after
    for _ in range(20):
        page, after = await store.traffic(msgspec.structs.replace(of, after=after))
        assert len(page) <= of.limit
        found += page
        if after is None:
            return found
    raise AssertionError("the pages do not end")


async def came(store: Any, n: int, **more: Any) -> int:
    received = await store.apply(s.receive(s.receipt(f"d{n}", received_at=s.at(n), **more), when=s.at(n)))
    return int(received.numbers[0])


def customer(n: int, name: str, when: float) -> Head:
    event = s.event(f"evt_c{n}", "cust-1", version=n, object="customer", data={"name": name})
    head = s.head(event)
    return msgspec.structs.replace(head, recorded_at=s.at(when), effective_at=s.at(when), versions={})


async def test_pages_go_through_a_stretch_of_time_in_the_order_of_receipts(store: Any) -> None:
    for n in range(7):
        await came(store, n)
    of = msgspec.structs.replace(ALL, since=s.at(1), until=s.at(6), limit=2)
    assert [r.receipt.ext_id for r in await everything(store, of)] == ["d1", "d2", "d3", "d4", "d5"]
    assert await everything(store, msgspec.structs.replace(of, since=s.at(50))) == []


async def test_fetched_bodies_come_with_their_delivery(store: Any) -> None:
    no = await came(store, 1)
    other = await came(store, 2)
    for n, body in enumerate((b'{"v":1}', b'{"v":2}')):
        await came(store, 3 + n, type=f"bills.get:{no}", door="fetch", body=body)
    await came(store, 5, type=f"other.get:{other}", door="fetch")
    first, second = await everything(store)
    assert first.fetched == {"bills.get": b'{"v":2}'}  # fetched again after it was held: the last counts
    assert second.fetched == {}


async def test_a_delivery_comes_with_its_events_and_their_runs(store: Any) -> None:
    first, second = await came(store, 1), await came(store, 2)
    one = s.event("evt_1", "inv-1", receipt=first, received_at=s.at(1))
    two = s.event("evt_2", "inv-2", receipt=second, received_at=s.at(2))
    await store.apply(s.admit(first, events=(one,), starts=(s.start("inv-1", "evt_1"),), when=s.at(3)))
    await store.apply(s.admit(second, events=(two,), starts=(s.start("inv-2", "evt_2"),), when=s.at(4)))
    run = s.start("inv-1").run
    e = s.effect(input=wire.dumps({"n": 1}))
    await store.apply(
        s.turn(
            run,
            plan=(e,),
            send=(s.send(e),),
            approvals=(s.approval(run=run),),
            waits=(WaitOn(topic="paid", since=s.T0),),
        )
    )
    await store.apply(s.conclude(e, result=wire.dumps({"id": 9}), when=s.at(9)))
    third = await came(store, 10)
    paid = s.event("evt_3", "inv-1", version=2, receipt=third, received_at=s.at(10))
    await store.apply(
        s.admit(third, events=(paid,), posts=(TopicPost(event="evt_3", topics=("paid",), body=b"{}"),))
    )
    a, b, c = await everything(store)
    assert (a.events, b.events, c.events) == ((one,), (two,), (paid,))
    (recorded,) = a.runs
    assert (recorded.run.id, recorded.event) == (run, "evt_1")
    assert [i.ref for i in recorded.inbox] == ["evt_3"]
    (effect,) = recorded.effects
    assert (effect.id, effect.state, effect.result) == (e.id, EffectState.CONFIRMED, wire.dumps({"id": 9}))
    assert [x.id for x in recorded.approvals] == ["apr_1"]
    assert [r.run.bkey for r in b.runs] == ["inv-2"]
    assert c.runs == ()


async def test_heads_and_links_of_the_named_objects_come_as_of_the_delivery(store: Any) -> None:
    numbers = [await came(store, n) for n in range(1, 5)]

    async def renamed(no: int, n: int, when: float) -> None:
        head = customer(n, f"name {n}", when)
        event = s.event(
            f"evt_c{n}", "cust-1", version=n, object="customer", data={"name": f"name {n}"},
            receipt=no, received_at=s.at(no),
        )  # fmt: skip
        await store.apply(s.admit(no, events=(event,), heads=(head,), when=s.at(when)))

    await renamed(numbers[0], 1, 1)
    asked = s.event(
        "evt_asked", "t", object="", data={"customer_id": "cust-1"}, receipt=numbers[1], received_at=s.at(2)
    )
    await store.apply(
        s.admit(
            numbers[1],
            events=(asked,),
            starts=(s.start("k", "evt_asked"),),
            links=(s.link("cust-1", "42"), s.link("cust-9", "43")),
            when=s.at(2),
        )
    )
    await renamed(numbers[2], 3, 3)
    first, second, third, fourth = await everything(store)
    assert first.heads == ()
    assert [h.state["name"] for h in second.heads] == ["name 1"]
    assert [h.state["name"] for h in second.runs[0].heads] == ["name 1"]
    assert [h.state["name"] for h in third.heads] == ["name 1"]
    assert [(link.canonical, link.ext_id) for link in second.links] == [("cust-1", "42")]
    assert (fourth.heads, fourth.links) == ((), ())


async def test_a_late_head_is_never_read(store: Any) -> None:
    numbers = [await came(store, n) for n in (1, 2, 3)]
    for no, n, when in ((numbers[0], 5, 1.0), (numbers[1], 2, 2.0)):
        event = s.event(f"evt_c{n}", "cust-1", version=n, object="customer", receipt=no)
        await store.apply(
            s.admit(no, events=(event,), heads=(customer(n, f"name {n}", when),), when=s.at(when))
        )
    asked = s.event(
        "evt_a", "t", object="", data={"customer_id": "cust-1"}, receipt=numbers[2], received_at=s.at(3)
    )
    await store.apply(s.admit(numbers[2], events=(asked,), when=s.at(3)))
    assert [h.state["name"] for h in (await everything(store))[-1].heads] == ["name 5"]


async def test_a_limit_counts_the_reservations_of_earlier_runs(store: Any) -> None:
    for n in (1, 2, 3):
        no = await came(store, n)
        event = s.event(f"evt_{n}", f"k{n}", receipt=no, received_at=s.at(n))
        await store.apply(s.admit(no, events=(event,), starts=(s.start(f"k{n}", f"evt_{n}"),), when=s.at(n)))
        run = s.start(f"k{n}").run
        used = await store.guard_used("cap", "q1")
        hold = Reserve(scope="cap", key="q1", path="ask", amount=10 * n, limit=None, expected_use=used)
        await store.apply(s.turn(run, reserve=(hold,)))
        if n == 2:
            await store.apply(s.turn(run, version=1, release=("ask",)))
    seen = [r.runs[0].guards for r in await everything(store)]
    assert seen == [
        (GuardUse(scope="cap", key="q1", before=0, own=10),),
        (),
        (GuardUse(scope="cap", key="q1", before=10, own=30),),
    ]


async def test_periods_are_read_as_of_any_time(store: Any) -> None:
    for n, state in ((1, "open"), (2, "closed")):
        no = await came(store, n)
        event = s.event(f"evt_p{n}", "p1", version=n, object="period", receipt=no, data={"state": state})
        head = msgspec.structs.replace(s.head(event), recorded_at=s.at(n), versions={})
        await store.apply(s.admit(no, events=(event,), heads=(head,), when=s.at(n)))
    calendars = (await everything(store))[0].calendars
    states = [[h.state["state"] for h in calendars.at("period", s.at(n))] for n in (0, 1, 2, 9)]
    assert states == [[], ["open"], ["closed"], ["closed"]]
    assert calendars.at("period", s.at(2)) is calendars.at("period", s.T0 + timedelta(days=1))
    assert calendars.at("other") == ()


async def test_a_consumers_request_is_no_delivery(store: Any) -> None:
    await store.apply(place())
    assert await store.traffic(ALL) == ([], None)
