"""Awaited events of Releases and counted version uses, on all stores."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from counterfoil.core.event import Event
from counterfoil.core.money import Money
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.store.check import check
from counterfoil.store.port.releases import PutFirstRelease
from counterfoil.store.port.turns import WaitOn
from counterfoil.store.port.versions import CountUse, UseCount, VersionUsage, WaitingRuns
from tests.companies.base import COMPLETE_POLICY, documents
from tests.contract.store import samples as s
from tests.contract.store.test_releases import apply, plan
from tests.unit.rules.driver import model_of


def release(digest: str, *waits: tuple[str, str]) -> PutFirstRelease:
    return PutFirstRelease(digest=digest, body=digest.encode(), waits=waits, at=s.T0, actor="person:ann")


def use(who: str, minutes: float = 0, count: int = 1, name: str = "paid.v1", side: str = "sends") -> UseCount:
    at = s.T0 + timedelta(minutes=minutes)
    return UseCount(name=name, side=side, who=who, count=count, first_at=at, last_at=at)


async def test_awaited_events_are_stored_with_their_release(store: Any) -> None:
    await store.apply(release("r1", ("paid.v1", ""), ("paid.v1", "invoice_id")))
    assert await store.apply(release("r2", ("lost.v1", ""))) is False
    again = await store.apply(release("r1", ("paid.v1", ""), ("sent.v1", "")))
    assert again is False
    await store.apply(plan(base="r1", revision="r2", approvals=()))
    assert (await store.apply(apply(waits=(("", ""),)))).verdict == "applied"
    await store.apply(plan("plan_2", base="r2", revision="r3", approvals=()))
    assert (await store.apply(apply("plan_2"))).verdict == "applied"
    assert sorted(await store.awaited_events(), key=str) == [
        ("r1", "paid.v1", ""),
        ("r1", "paid.v1", "invoice_id"),
        ("r1", "sent.v1", ""),
        ("r2", "", ""),
        ("r3", None, None),
    ]


async def test_uses_are_counted_by_user_and_day(store: Any) -> None:
    await store.apply(
        CountUse(uses=(use("system:bills", 0, 2), use("system:bills", 5, 3), use("person:ann")))
    )
    await store.apply(CountUse(uses=(use("system:bills", 60 * 24, 1), use("system:bills", 1, 1))))
    bills, *others = sorted(await store.version_usage(s.T0 + timedelta(days=1)), key=lambda u: u.who)[::-1]
    assert bills == VersionUsage(
        name="paid.v1",
        side="sends",
        who="system:bills",
        count=7,
        first_at=s.T0,
        last_at=s.T0 + timedelta(days=1),
        days={s.T0.date().isoformat(): 6, (s.T0 + timedelta(days=1)).date().isoformat(): 1},
    )
    assert [(u.who, u.count) for u in others] == [("person:ann", 1)]
    (late, *_) = [u for u in await store.version_usage(s.T0 + timedelta(days=90)) if u.who == "system:bills"]
    assert (late.count, late.days) == (7, {})


async def test_uses_reported_at_once_are_all_counted(store: Any) -> None:
    names = ["a", "b", "c"]
    await asyncio.gather(
        *(
            store.apply(CountUse(uses=tuple(use(who) for who in names[n % 3 :] + names[: n % 3])))
            for n in range(12)
        )
    )
    assert [(u.who, u.count) for u in await store.version_usage(s.T0)] == [("a", 12), ("b", 12), ("c", 12)]


async def test_waiting_runs_are_counted_by_version_and_workflow(store: Any) -> None:
    waits = [
        ("w1", ("event:paid.v1", "event:paid.v1:invoice_id=1")),
        ("w1", ("event:paid.v1:invoice_id=2",)),
        ("w2", ("event:paid.v1",)),
        ("w2", ("event:paid.v11", "event:paid.v2")),
    ]
    for number, (workflow, topics) in enumerate(waits):
        receipt, event = s.receipt(f"r{number}"), s.event(f"evt_{number}", key=f"k{number}")
        (no,) = (await store.apply(s.receive(receipt))).numbers
        begun = s.start(f"k{number}", event.id, workflow)
        await store.apply(s.admit(no, events=(event,), starts=(begun,)))
        listens = tuple(WaitOn(topic=topic) for topic in topics)
        await store.apply(s.turn(begun.run, waits=listens))
    assert await store.waiting_runs(["paid.v1", "paid.v2", "sent.v1"]) == [
        WaitingRuns(name="paid.v1", workflow="w1", count=2),
        WaitingRuns(name="paid.v1", workflow="w2", count=1),
        WaitingRuns(name="paid.v2", workflow="w2", count=1),
    ]


COMPANY = documents(
    COMPLETE_POLICY,
    """\
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance}
---
{kind: object, name: invoice, system: bills, fields: {gross: money}}
---
{kind: event, name: bill.closed.v1, object: invoice, produced: http, data: {invoice_id: id, total: money}}
---
{kind: event, name: bill.closed.v2, object: invoice, produced: http, data: {invoice_id: id, gross: money}}
---
{kind: event, name: bill.paid.v1, produced: http, owner: finance, data: {ref: id}}
---
{kind: event, name: bill.paid.v2, produced: http, owner: finance, data: {invoice: id}}
---
{kind: mapping, name: closed-1-2, cast: {from: bill.closed.v1, to: bill.closed.v2}, with: {gross: =data.total}}
---
{kind: mapping, name: paid-2-1, cast: {from: bill.paid.v2, to: bill.paid.v1}, with: {ref: =data.invoice}}
---
kind: workflow
name: booking
owner: finance
failure: careful
start: {event: bill.closed.v2, key: event.data.invoice_id}
steps:
  - {wait: {event: bill.paid.v1, where: event.data.ref == start.data.invoice_id, until: +9d}}
""",
)


async def test_one_fact_in_two_versions_starts_one_run_that_gets_either_version(store: Any) -> None:
    model = model_of(COMPANY)
    releases = Releases(store, model)
    now = await store.now()
    await releases.publish(now, "test")
    worth = {"minor": 500, "currency": "EUR"}
    told = [
        ("bill.closed.v1", "e1", {"invoice_id": "i1", "total": worth}),
        ("bill.closed.v2", "e1", {"invoice_id": "i1", "gross": worth}),
        ("bill.paid.v2", "e2", {"invoice": "i1"}),
    ]
    for type_, id_, data in told:
        event = Event(id=id_, source="/bills", type=type_, time=s.T0, data=data)
        await receive_events(store, model, [event], now)
        for todo in await store.todos(10):
            await Admitter(store, releases, {}).admit(todo, now)
        for run in (await store.dump()).runs:
            await TurnPlanner(store, releases, "w").turn(run.id, await store.now())
    dump = await store.dump()
    assert [(run.workflow, str(run.status)) for run in dump.runs] == [("booking", "done")]
    assert [event.type for event in dump.events if event.object] == ["bill.closed.v1"]
    assert [head.state for head in dump.history] == [{"gross": Money(500, "EUR")}]
    assert len(dump.receipts) == 3
    assert await check(store, now) == []
