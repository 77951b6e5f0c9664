"""Deliveries of notices on all stores: planned once for each round, claimed by one, repeated with the same bytes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

from counterfoil.core.delivery import CHANNEL_PREFIX, GATHER, SEND_LEASE, DeliveryState, NoticeDelivery
from counterfoil.core.money import Money
from counterfoil.store.port.deliveries import ClaimDeliveries, EndDelivery
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.notices import WriteNotices
from tests.contract.store import samples as s

CHAT = f"{CHANNEL_PREFIX}chat"
DUE = s.T0 + GATHER


async def plan(store: Any, *ids: str, at: Any = s.T0) -> None:
    cases = tuple(s.case(id_) for id_ in ids)
    await store.apply(OpenCases(cases=cases, at=at, actor="test"))
    notices = tuple(s.new_notice(id_, persons=(CHAT,), amounts=(Money(1000, "USD"),)) for id_ in ids)
    await store.apply(WriteNotices(notices=notices, at=at))


async def claim(store: Any, at: Any = DUE) -> list[NoticeDelivery]:
    return list(await store.apply(ClaimDeliveries(at=at, limit=9)))


async def end(store: Any, delivery: NoticeDelivery, how: Any, at: Any = DUE, **more: Any) -> bool:
    fields = {"id": delivery.id, "attempts": delivery.attempts, "at": at, "next_at": at, **more}
    return bool(await store.apply(EndDelivery(end=how, **fields)))


async def states(store: Any) -> list[DeliveryState]:
    return [delivery.state for delivery in (await store.dump()).deliveries]


async def test_a_thousand_cases_of_one_cause_are_one_delivery_with_all_of_them(store: Any) -> None:
    await plan(store, *(f"case_{n}" for n in range(500)))
    await plan(store, *(f"case_{n}" for n in range(500, 1000)), at=s.at(5))
    assert await claim(store, s.T0) == [], "further Cases are awaited first"
    (delivery,) = await claim(store)
    data = json.loads(delivery.body)["data"]
    assert (data["count"], data["amounts"]) == (1000, [{"amount": "10000.00", "currency": "USD"}])
    assert await end(store, delivery, "sent")
    assert await claim(store, s.T0 + timedelta(days=3)) == []


async def test_two_workers_at_once_send_once(store: Any) -> None:
    await plan(store, "case_1")
    claims = await asyncio.gather(*(claim(store) for _ in range(4)))
    assert sorted(map(len, claims)) == [0, 0, 0, 1]


async def test_a_worker_that_died_between_intent_and_outcome_leaves_the_same_id_and_bytes(store: Any) -> None:
    await plan(store, "case_1")
    (first,) = await claim(store)
    await plan(store, "case_2", at=s.at(30))
    assert await claim(store, DUE + SEND_LEASE - timedelta(seconds=1)) == []
    (again,) = await claim(store, DUE + SEND_LEASE)
    assert (again.id, again.body, again.attempts) == (first.id, first.body, 2)
    assert not await end(store, first, "failed"), "the first worker comes back too late"
    assert await end(store, again, "sent")
    assert not await end(store, again, "sent")
    assert await states(store) == [DeliveryState.SENT]


async def test_a_failure_opens_its_case_in_the_same_transaction(store: Any) -> None:
    await plan(store, "case_1")
    (delivery,) = await claim(store)
    assert await end(store, delivery, "later", next_at=s.at(60), error="the receiver answered 503")
    assert await claim(store, s.at(59)) == []
    (again,) = await claim(store, s.at(60))
    case = s.case("case_undelivered", reason="undelivered")
    assert await end(store, again, "failed", error="the receiver answered 400", case=case)
    assert (await store.case("case_undelivered")).case.reason == "undelivered"
    assert await states(store) == [DeliveryState.FAILED]


async def test_a_person_has_no_delivery(store: Any) -> None:
    await store.apply(OpenCases(cases=(s.case(),), at=s.T0, actor="test"))
    await store.apply(WriteNotices(notices=(s.new_notice(),), at=s.T0))
    assert await states(store) == []
