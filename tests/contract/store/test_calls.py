"""A consumer's idempotency key names one call: one receipt, one Run, one answer, also across crashes."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec

from counterfoil.core import ids
from counterfoil.core.call import DOOR, CallRate, OperationCall
from counterfoil.store.check import check
from counterfoil.store.port.calls import AnswerCall, PlaceCall
from counterfoil.store.port.releases import PutFirstRelease
from counterfoil.store.port.turns import Claim
from tests.contract.store import samples as s


def place(
    key: str = "k1",
    bkey: str | None = "c-1",
    holder: str = "h1",
    digest: str = "d",
    seconds: float = 0,
    **more: Any,
) -> PlaceCall:
    consumer = more.pop("consumer", "ann")
    event = s.event(f"evt_{consumer}_{key}", key, type="debit.ask.called", system="counterfoil", object="")
    start = s.start(bkey, event.id, only_birth=True) if bkey is not None else None
    call = OperationCall(
        consumer=consumer,
        operation="billing.debit.ask",
        key=key,
        digest=digest,
        correlation="cor-1",
        run=start.run if start is not None else None,
        holder=holder,
        until=s.at(seconds + 10),
        at=s.at(seconds),
    )
    request = s.receipt(f"call:{consumer}:{key}", digest, system="counterfoil", door=DOOR)
    begun: dict[str, Any] = {} if start is None else {"start": start, "event": event}
    return PlaceCall(
        call=call, receipt=request, at=s.at(seconds), actor=f"person:{consumer}", **begun, **more
    )


def answer(
    key: str = "k1", holder: str = "h1", status: int | None = 200, seconds: float = 1, **more: Any
) -> AnswerCall:
    return AnswerCall(
        consumer="ann",
        operation="billing.debit.ask",
        key=key,
        holder=holder,
        status=status,
        headers={"content-type": "application/json"},
        body=b'{"ok":true}',
        at=s.at(seconds),
        actor="gateway",
        **more,
    )


async def leaves(store: Any) -> list[str]:
    return [leaf.kind for _, leaf in (await store.dump()).leaves]


async def test_a_call_is_one_receipt_one_event_and_one_run(store: Any) -> None:
    placed = await store.apply(place())
    assert (placed.verdict, placed.call.receipt, placed.left) == ("new", 1, None)
    dump = await store.dump()
    assert [(r.no, r.door, r.body) for r in dump.receipts] == [(1, DOOR, b'{"id":1}')]
    assert [(e.id, e.receipt) for e in dump.events] == [("evt_ann_k1", 1)]
    assert [(r.id, r.status, r.inbox_n) for r in dump.runs] == [(s.start("c-1").run, "ready", 1)]
    assert dump.todos == [], "it is admitted already"
    assert dump.calls == [await store.call("ann", "billing.debit.ask", "k1")] == [placed.call]
    assert await leaves(store) == ["operation.called"]
    assert await check(store, s.T0) == []


async def test_the_run_of_a_call_can_be_claimed_at_once(store: Any) -> None:
    await store.apply(place())
    claim = Claim(worker="w", limit=5, lease_until=s.at(10), at=s.at(1))
    assert [run.bkey for run in await store.apply(claim)] == ["c-1"]


async def test_a_second_call_is_busy_while_the_first_is_in_flight(store: Any) -> None:
    first = await store.apply(place())
    again = await store.apply(place(holder="h2", seconds=9.9))
    assert (again.verdict, again.call) == ("busy", first.call)
    assert await leaves(store) == ["operation.called"]


async def test_the_first_answer_is_stored_and_returned_again(store: Any) -> None:
    await store.apply(place())
    assert await store.apply(answer()) is True
    again = await store.apply(place(holder="h2", seconds=1e8))
    assert (again.verdict, again.call.status, again.call.body) == ("answered", 200, b'{"ok":true}')
    assert again.call.headers == {"content-type": "application/json"}
    assert again.call.answered_at == s.at(1)
    assert await store.apply(answer(status=500)) is False, "an answer stands for ever"
    assert await leaves(store) == ["operation.called", "operation.answered"]
    assert await check(store, s.at(1e8)) == []


async def test_another_request_under_the_same_key_is_refused_in_flight_and_after(store: Any) -> None:
    await store.apply(place())
    assert (await store.apply(place(digest="other", holder="h2"))).verdict == "changed"
    await store.apply(answer())
    assert (await store.apply(place(digest="other", bkey="c-9", holder="h2"))).verdict == "changed"
    assert len((await store.dump()).runs) == 1


async def test_keys_of_two_consumers_are_two_keys(store: Any) -> None:
    assert (await store.apply(place())).verdict == "new"
    assert (await store.apply(place(bkey="c-2", consumer="bob"))).verdict == "new"
    assert [c.consumer for c in (await store.dump()).calls] == ["ann", "bob"]


async def test_a_call_whose_holder_died_is_taken_over_with_its_run(store: Any) -> None:
    first = await store.apply(place())
    later = await store.apply(place(holder="h2", seconds=10))
    assert (later.verdict, later.call.run, later.call.receipt) == ("taken", first.call.run, 1)
    assert (later.call.holder, later.call.until) == ("h2", s.at(20))
    assert await store.apply(answer(holder="h1", seconds=11)) is False, "the dead one answers no more"
    assert await store.apply(answer(holder="h2", seconds=11)) is True
    assert len((await store.dump()).runs) == 1
    assert await leaves(store) == ["operation.called", "operation.called", "operation.answered"]
    assert await check(store, s.at(20)) == []


async def test_a_call_that_did_nothing_is_freed_for_another_try(store: Any) -> None:
    await store.apply(place(bkey=None))
    assert await store.apply(answer(status=None)) is True
    assert (await store.apply(place(bkey=None, holder="h2", seconds=1))).verdict == "taken"
    assert await leaves(store) == ["operation.called", "operation.freed", "operation.called"]
    assert await check(store, s.at(2)) == []


async def test_an_existing_run_is_not_started_again_under_another_key(store: Any) -> None:
    await store.apply(place())
    before = await store.dump()
    assert (await store.apply(place(key="k2"))).verdict == "exists"
    assert await store.dump() == before, "no call, no receipt, no stimulus"
    assert (await store.apply(place(key="k2", bkey="c-2"))).verdict == "new", (
        "the key is free for another request"
    )


async def test_a_case_opens_with_the_answer_and_names_the_receipt(store: Any) -> None:
    await store.apply(place(bkey=None))
    assert await store.apply(answer(status=502, cases=(s.case(reason="output_contract"),)))
    (case,) = (await store.dump()).cases
    assert (case.reason, case.receipt) == ("output_contract", 1)
    assert await store.apply(answer(status=502, cases=(s.case("case_2"),))) is False
    assert len((await store.dump()).cases) == 1


async def test_only_new_calls_count_against_the_rate(store: Any) -> None:
    rate = CallRate(at_most=2, every=60, burst=2)
    first = await store.apply(place(bkey=None, rate=rate))
    assert (first.left.calls, first.left.wait) == (1, 0)
    again = await store.apply(place(bkey=None, rate=rate))
    assert (again.verdict, again.left) == ("busy", None)
    assert (await store.apply(place("k2", None, rate=rate))).left.calls == 0
    refused = await store.apply(place("k3", None, rate=rate))
    assert (refused.verdict, refused.left.calls, refused.left.wait) == ("limited", 0, 30)
    assert (await store.apply(place("k3", None, consumer="bob", rate=rate))).verdict == "new"
    assert (await store.apply(place("k3", None, rate=rate, seconds=30))).verdict == "new"
    assert Counter(c.consumer for c in (await store.dump()).calls) == {"ann": 3, "bob": 1}
    assert await check(store, s.at(30)) == []


async def test_a_new_call_is_judged_by_the_active_release(store: Any) -> None:
    assert (await store.apply(place(release="r1"))).verdict == "new", "where none is, every one will do"
    await store.apply(PutFirstRelease(digest="r2", body=b"{}", at=s.T0, actor="plan"))
    assert (await store.apply(place("k2", "c-2", release="r1"))).verdict == "outdated"
    assert (await store.apply(place(release="r1", holder="h2"))).verdict == "busy", "what stands was judged"
    assert (await store.apply(place("k2", "c-2", release="r2"))).verdict == "new"
    assert [call.key for call in (await store.dump()).calls] == ["k1", "k2"]


async def test_of_many_at_once_under_one_key_one_is_first(store: Any) -> None:
    placed = await asyncio.gather(*(store.apply(place(holder=f"h{n}")) for n in range(20)))
    assert Counter(p.verdict for p in placed) == {"new": 1, "busy": 19}
    assert len({p.call.holder for p in placed}) == 1
    dump = await store.dump()
    assert (len(dump.runs), len(dump.receipts), len(dump.calls)) == (1, 1, 1)
    assert await check(store, s.T0) == []


async def test_of_many_keys_for_one_run_one_starts_it(store: Any) -> None:
    placed = await asyncio.gather(*(store.apply(place(f"k{n}")) for n in range(20)))
    assert Counter(p.verdict for p in placed) == {"new": 1, "exists": 19}
    assert len((await store.dump()).calls) == 1
    assert await check(store, s.T0) == []


async def test_two_processes_give_one_key_one_run_and_one_rate(two: tuple[Any, Any]) -> None:
    rate = CallRate(at_most=30, every=3600, burst=30)
    wanted = [place(f"k{n // 2}", f"c-{n // 2}", f"h{n}", rate=rate) for n in range(100)]
    placed = await asyncio.gather(*(two[n % 2].apply(each) for n, each in enumerate(wanted)))
    verdicts = Counter(p.verdict for p in placed)
    dump = await two[0].dump()
    assert verdicts["new"] == len(dump.calls) == len(dump.runs) == len(dump.receipts)
    # Who meets another's insert under its key has taken from the rate for nothing: it errs to the strict side alone.
    assert 15 <= verdicts["new"] <= 30
    assert verdicts["limited"] >= 2 * (50 - 30)
    assert await check(two[0], s.T0) == []


async def test_two_processes_that_take_over_are_one(two: tuple[Any, Any]) -> None:
    await two[0].apply(place())
    placed = await asyncio.gather(*(two[n % 2].apply(place(holder=f"t{n}", seconds=11)) for n in range(10)))
    assert Counter(p.verdict for p in placed) == {"taken": 1, "busy": 9}
    (taken,) = [p.call.holder for p in placed if p.verdict == "taken"]
    answers = await asyncio.gather(*(two[n % 2].apply(answer(holder=f"t{n}", seconds=12)) for n in range(10)))
    assert sum(answers) == 1
    held = await two[1].call("ann", "billing.debit.ask", "k1")
    assert (held.holder, held.status) == (taken, 200)


async def test_an_answer_outlives_its_process(places: Any) -> None:
    for kind in ("sqlite", "postgres"):
        first = await places(kind)
        await first.apply(place())
        await first.apply(answer())
        await first.close()
        again = await (await places(kind)).apply(place(holder="h2"))
        assert (again.verdict, again.call.body) == ("answered", b'{"ok":true}')


async def test_the_leaf_of_a_call_names_the_request(store: Any) -> None:
    await store.apply(place())
    ((_, leaf),) = (await store.dump()).leaves
    body = msgspec.json.decode(leaf.body)
    assert (leaf.subject, leaf.run, leaf.actor) == ("1", ids.run_id("w1", "c-1", 0), "person:ann")
    assert (body["operation"], body["key"], body["correlation"]) == ("billing.debit.ask", "k1", "cor-1")
    assert leaf.at == s.T0 < s.T0 + timedelta(seconds=1)
