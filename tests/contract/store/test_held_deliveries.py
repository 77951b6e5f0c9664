"""Deliveries of one fact that are held for one reason share a Case, and follow the decision on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from counterfoil.core.case import Choice
from counterfoil.core.cases import case_topic, id_after
from counterfoil.core.money import Money
from counterfoil.store.check import check
from counterfoil.store.port.people import Resolve
from counterfoil.store.port.records import TopicPost
from tests.contract.store import samples as s

LATER = s.T0 + timedelta(minutes=1)


async def hold(
    store: Any, no: int, message: str = "it failed", topic: str | None = None, **more: Any
) -> None:
    case = s.case("case_1", message=message, receipt=no, exposure=(Money(500, "USD"),), **more)
    assert (await store.apply(s.admit(no, cases=(case,), park=True, wake_topic=topic))).applied


async def received(store: Any, count: int) -> None:
    for n in range(count):
        await store.apply(s.receive(s.receipt(f"r{n}")))
    await store.apply(s.put_person(s.person()))


async def resolve(store: Any, case: str, choice: Choice) -> None:
    await store.apply(Resolve(case=case, person="ann", choice=choice, note="", at=LATER))


async def test_a_callback_and_a_sweep_of_one_revision_open_one_case(store: Any) -> None:
    await received(store, 2)
    await hold(store, 1)
    await hold(store, 2, "it failed again")
    dump = await store.dump()
    (case,) = dump.cases
    assert (case.count, case.receipt, case.message) == (2, 1, "it failed again (2 in all)")
    assert case.exposure == (Money(500, "USD"),), "one fact, one amount"
    assert dump.todos == [("receipt", "1", ""), ("receipt", "2", case_topic("case_1"))]
    assert await check(store, LATER) == []


async def wake(store: Any, topic: str) -> None:
    """Put back the deliveries that wait for a topic, as a new Link does."""
    name = f"woken-{topic}"
    no = (await store.apply(s.receive(s.receipt(name)))).numbers[0]
    event = s.event(f"evt_{name}", f"inv-{topic}")
    post = TopicPost(event=event.id, topics=(topic,), body=b"{}")
    assert (await store.apply(s.admit(no, events=(event,), posts=(post,)))).applied


async def test_the_same_delivery_again_is_no_further_occurrence(store: Any) -> None:
    await received(store, 1)
    await hold(store, 1, topic="t")
    await wake(store, "t")
    await hold(store, 1, "another message", topic="u")
    dump = await store.dump()
    (case,) = dump.cases
    assert (case.count, case.message) == (1, "another message")
    assert dump.todos == [("receipt", "1", "u")]


@pytest.mark.parametrize("choice", [Choice.RETRY, Choice.DISMISS])
async def test_every_delivery_follows_the_decision(store: Any, choice: Choice) -> None:
    await received(store, 3)
    for no in (1, 2, 3):
        await hold(store, no)
    await resolve(store, "case_1", choice)
    todos = (await store.dump()).todos
    retried = [("receipt", str(no), None) for no in (1, 2, 3)]
    assert todos == (retried if choice is Choice.RETRY else [])
    assert await check(store, LATER) == []


async def test_what_is_held_again_after_the_decision_opens_another_case(store: Any) -> None:
    await received(store, 2)
    await hold(store, 1)
    await hold(store, 2)
    await resolve(store, "case_1", Choice.RETRY)
    await hold(store, 2)
    await hold(store, 1)
    cases = {case.id: (str(case.state), case.count, case.receipt) for case in (await store.dump()).cases}
    assert cases == {"case_1": ("resolved", 2, 1), id_after("case_1"): ("open", 2, 2)}
    assert await check(store, LATER) == []


async def test_the_admission_of_the_first_puts_back_the_others(store: Any) -> None:
    await received(store, 2)
    await hold(store, 1, topic="t")
    await hold(store, 2, topic="t")
    await wake(store, "t")
    assert (await store.apply(s.admit(1, ignored="nothing follows"))).applied
    dump = await store.dump()
    assert [str(case.state) for case in dump.cases] == ["resolved"]
    assert dump.todos == [("receipt", "2", None)]


async def test_deliveries_at_once_are_all_counted(store: Any) -> None:
    await received(store, 12)
    await asyncio.gather(*(hold(store, no) for no in range(1, 13)))
    dump = await store.dump()
    (case,) = dump.cases
    assert case.count == 12
    waiting = [topic for _, _, topic in dump.todos]
    assert sorted(waiting) == ["", *[case_topic("case_1")] * 11]
    assert await check(store, LATER) == []
