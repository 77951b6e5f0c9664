"""Usage is stored once; a repeat adds nothing; a clash or refusal goes to quarantine with a Case."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from counterfoil.core.case import Choice
from counterfoil.core.cases import id_after
from counterfoil.core.money import Money
from counterfoil.core.usage import RefusedUsage, UsageGroup, UsageRow, digest
from counterfoil.store.check import check
from counterfoil.store.port.people import Resolve
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult
from tests.contract.store import samples as s


def row(id_: str, batch: str = "b1", quantity: int = 1, source: str = "/product") -> UsageRow:
    body = b'{"id":"%s","data":{"quantity":%d}}' % (id_.encode(), quantity)
    return (source, id_, "usage.recorded.v1", "sub_1", "api_calls", 1_772_000_000_000_000, batch, body)


def keep(
    *rows: UsageRow, batch: str = "b1", refused: tuple[RefusedUsage, ...] = (), at: datetime = s.T0
) -> StoreUsage:
    groups = {UsageGroup("usage_clash", row[0], row[4]) for row in rows} | {r.group for r in refused}
    cases = {g.case_id(at): s.case(g.case_id(at), reason=g.reason, message="m", run=None) for g in groups}
    return StoreUsage(
        batch=batch,
        rows=tuple(sorted(rows)),
        refused=refused,
        cases=tuple(cases.values()),
        at=at,
        actor="person:meter",
    )


def kept(dump: Any) -> list[str]:
    return [r[1] for r in dump.usage]


async def test_a_batch_is_stored_with_one_leaf(store: Any) -> None:
    rows = tuple(row(f"u{n}") for n in range(5))
    answer = await store.apply(keep(*rows))
    assert answer == StoreUsageResult(accepted=5, repeated=0)
    dump = await store.dump()
    assert dump.usage == sorted(rows)
    (leaf,) = [leaf for _, leaf in dump.leaves]
    assert (leaf.kind, leaf.subject) == ("usage.kept", "b1")
    body = msgspec.json.decode(leaf.body)
    assert body == {"accepted": 5, "repeated": 0, "refused": 0, "digest": digest(sorted(rows))}
    assert (dump.cases, dump.todos) == ([], [])
    assert await check(store, s.T0) == []


async def test_a_repeat_adds_nothing_and_needs_no_leaf(store: Any) -> None:
    await store.apply(keep(row("u1"), row("u2")))
    again = await store.apply(keep(row("u1", "b2"), row("u2", "b2"), batch="b2"))
    assert again == StoreUsageResult(accepted=0, repeated=2)
    mixed = await store.apply(keep(row("u2", "b3"), row("u3", "b3"), batch="b3"))
    assert mixed == StoreUsageResult(accepted=1, repeated=1)
    dump = await store.dump()
    assert [(r[1], r[6]) for r in dump.usage] == [("u1", "b1"), ("u2", "b1"), ("u3", "b3")]
    assert [leaf.subject for _, leaf in dump.leaves] == ["b1", "b3"]
    assert await check(store, s.T0) == []


async def test_white_space_and_order_make_no_clash(store: Any) -> None:
    await store.apply(keep(row("u1")))
    spaced = (*row("u1", "b2")[:7], b'{ "data": {"quantity": 1},\n "id": "u1" }')
    assert await store.apply(keep(spaced, batch="b2")) == StoreUsageResult(accepted=0, repeated=1)


async def test_the_same_id_of_another_source_is_another_event(store: Any) -> None:
    answer = await store.apply(keep(row("u1"), row("u1", source="/product/eu")))
    assert answer.accepted == 2


async def test_another_content_under_an_existing_id_is_quarantined_with_a_case(store: Any) -> None:
    await store.apply(keep(row("u1"), row("u2")))
    answer = await store.apply(keep(row("u0", "b2"), row("u2", "b2", 9), batch="b2"))
    assert answer == StoreUsageResult(accepted=1, repeated=0, clashes=(1,))
    dump = await store.dump()
    assert dump.usage[2] == row("u2"), "the first one stands"
    (aside,) = dump.quarantine
    assert (aside[1], aside[3], aside[5], aside[6]) == ("b2", "usage_clash", "/product", "u2")
    (case,) = dump.cases
    assert case.reason == "usage_clash"
    assert case.message.startswith("m; 1 in quarantine: /product u2: stored before")
    # Sent again, it is known: no second row, no second Case, no leaf.
    again = await store.apply(keep(row("u2", "b3", 9), batch="b3"))
    assert again == StoreUsageResult(accepted=0, repeated=0, clashes=(0,))
    dump = await store.dump()
    assert (len(dump.quarantine), len(dump.cases)) == (1, 1)
    assert "b3" not in {leaf.subject for _, leaf in dump.leaves}


async def test_refused_events_are_quarantined_with_one_case_for_each_reason(store: Any) -> None:
    refused = tuple(
        RefusedUsage(reason=reason, message=f"no {n}", source="/product", id=f"r{n}", body=b"{%d}" % n)
        for n, reason in enumerate(["usage_invalid", "usage_future", "usage_invalid"])
    )
    assert (await store.apply(keep(row("u1"), refused=refused))).accepted == 1
    dump = await store.dump()
    assert sorted((q[3], q[6], q[7]) for q in dump.quarantine) == [
        ("usage_future", "r1", b"{1}"), ("usage_invalid", "r0", b"{0}"), ("usage_invalid", "r2", b"{2}"),
    ]  # fmt: skip
    assert sorted((c.reason, c.message) for c in dump.cases) == [
        ("usage_future", "m; 1 in quarantine: /product r1: no 1"),
        ("usage_invalid", "m; 2 in quarantine: /product r0: no 0; /product r2: no 2"),
    ]
    assert await check(store, s.T0) == []


async def test_batches_at_once_store_each_event_once(store: Any) -> None:
    asked = [
        keep(*(row(f"u{n:03}", f"b{b}") for n in range(b * 10, b * 10 + 40)), batch=f"b{b}")
        for b in range(12)
    ]
    answers = await asyncio.gather(*(store.apply(each) for each in asked))
    dump = await store.dump()
    assert kept(dump) == [f"u{n:03}" for n in range(150)]
    assert sum(a.accepted for a in answers) == 150
    assert sum(a.repeated for a in answers) == 12 * 40 - 150
    assert await check(store, s.T0) == []


async def test_two_processes_store_each_event_once(two: tuple[Any, Any]) -> None:
    asked = [keep(*(row(f"u{n:03}", f"b{b}") for n in range(60)), batch=f"b{b}") for b in range(8)]
    answers = await asyncio.gather(*(two[b % 2].apply(each) for b, each in enumerate(asked)))
    assert sorted(a.accepted for a in answers) == [0] * 7 + [60]
    assert kept(await two[0].dump()) == [f"u{n:03}" for n in range(60)]


@pytest.mark.parametrize("planted", ["lost", "changed"])
async def test_the_checker_sees_a_batch_that_is_not_what_its_leaf_says(
    places: Any, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = await places("memory")
    await memory.apply(keep(row("u1"), row("u2")))
    if planted == "lost":
        del memory.tables.usage["/product", "u2"]
    else:
        memory.tables.usage["/product", "u2"] = row("u2", quantity=5)
    assert [line[:2] for line in await check(memory, s.T0)] == ["4:"]


# ------------------------------------------------------------------ one cause opens one Case


def refusal(n: int, reason: str = "usage_negative", **more: Any) -> RefusedUsage:
    fields = {
        "message": f"no {n}",
        "source": "/product/eu",
        "id": f"r{n}",
        "meter": "api_calls",
        "body": b"%d" % n,
    }
    return RefusedUsage(reason=reason, **{**fields, **more})  # type: ignore[arg-type]


async def test_ten_batches_with_one_cause_open_one_case_that_counts(store: Any) -> None:
    for n in range(10):
        money = (Money(n * 100, "USD"), Money(7, "JPY"))
        await store.apply(keep(batch=f"b{n}", refused=(refusal(n, amounts=money),)))
    dump = await store.dump()
    (case,) = dump.cases
    assert (case.count, case.exposure) == (10, (Money(70, "JPY"), Money(4500, "USD")))
    assert case.message == "m; 1 in quarantine: /product/eu r9: no 9 (10 in all)"
    kinds = [leaf.kind for _, leaf in dump.leaves if leaf.subject == case.id]
    assert kinds == ["case.opened", *["case.repeated"] * 9]
    assert await check(store, s.T0) == []


async def test_the_same_event_again_is_no_further_occurrence(store: Any) -> None:
    for n in range(3):
        await store.apply(keep(batch=f"b{n}", refused=(refusal(1),)))
    (case,) = (await store.dump()).cases
    assert case.count == 1


async def test_another_reason_system_meter_or_day_is_another_cause(store: Any) -> None:
    refused = (
        refusal(1),
        refusal(2, source="/product/us"),
        refusal(3, "usage_future"),
        refusal(4, source="/app"),
        refusal(5, meter="seats"),
    )
    await store.apply(keep(refused=refused))
    await store.apply(keep(batch="b2", refused=(refusal(6),), at=s.T0 + timedelta(days=1)))
    counts = sorted(case.count for case in (await store.dump()).cases)
    assert counts == [1, 1, 1, 1, 2], "the two regions of one system share a Case"


async def test_names_that_only_the_sender_chose_open_one_case(store: Any) -> None:
    refused = tuple(refusal(n, "usage_unknown_source", source=f"/{n}", meter="") for n in range(20))
    await store.apply(keep(refused=refused))
    (case,) = (await store.dump()).cases
    assert case.count == 20


async def test_after_the_case_was_resolved_the_cause_opens_another(store: Any) -> None:
    await store.apply(s.put_person(s.person()))
    await store.apply(keep(refused=(refusal(1),)))
    (first,) = (await store.dump()).cases
    resolve = Resolve(case=first.id, person="ann", choice=Choice.DISMISS, note="", at=s.T0, override=True)
    assert (await store.apply(resolve)).verdict == "resolved"
    for n in (2, 3):
        await store.apply(keep(batch=f"b{n}", refused=(refusal(n),)))
    cases = {case.id: case for case in (await store.dump()).cases}
    assert {id_: (str(case.state), case.count) for id_, case in cases.items()} == {
        first.id: ("resolved", 1),
        id_after(first.id): ("open", 2),
    }


async def test_batches_at_once_count_every_occurrence(store: Any) -> None:
    await asyncio.gather(*(store.apply(keep(batch=f"b{n}", refused=(refusal(n),))) for n in range(30)))
    (case,) = (await store.dump()).cases
    assert case.count == 30
    assert await check(store, s.T0) == []


async def test_clashes_at_once_are_all_counted(store: Any) -> None:
    await store.apply(keep(*(row(f"u{n:02}") for n in range(20))))
    await asyncio.gather(*(store.apply(keep(row(f"u{n:02}", f"c{n}", 9), batch=f"c{n}")) for n in range(20)))
    (case,) = (await store.dump()).cases
    assert (case.reason, case.count) == ("usage_clash", 20)


async def test_meters_of_stored_events_are_read_by_source_and_id(store: Any) -> None:
    first, second = row("u1"), row("u2")
    await store.apply(keep(first, second))
    assert await store.usage_meters(first[0], ["u2", "u1", "u9"]) == {"u1": first[3:5], "u2": second[3:5]}
    assert await store.usage_meters(f"{first[0]}/other", ["u1"]) == {}


async def test_heads_are_read_set_wise(store: Any) -> None:
    day = timedelta(days=1)
    events = [s.event("e2", version=2, effective_at=s.T0 + day), s.event("e1", effective_at=s.T0)]
    for n, event in enumerate([*events, s.event("e3", "inv-2")], 1):
        await store.apply(s.receive(s.receipt(f"d{n}")))
        await store.apply(s.admit(n, events=(event,), heads=(replace(s.head(event), entity=event.id),)))
    assert await store.known_heads("invoice", ["inv-2", "inv-1", "inv-9"]) == {"inv-1": "e2", "inv-2": "e3"}
    assert await store.known_heads("customer", ["inv-1"]) == {}
    newest = await store.heads_of("invoice", ["inv-2", "inv-1", "inv-9", "inv-1"])
    assert [(head.key, head.event) for head in newest] == [("inv-1", "e2"), ("inv-2", "e3")]
    assert await store.heads_of("customer", ["inv-1"]) == []
    states = await store.head_states("invoice", ["inv-1", "inv-9"])
    assert {key: [state.effective_at for state in of] for key, of in states.items()} == {
        "inv-1": [s.T0, s.T0 + day]
    }
    assert states["inv-1"][0].state == events[1].data
