"""Two versions of an event alive: producers send either, consumers take either, and one fact counts once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from counterfoil.core.event import Event
from counterfoil.core.foil import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.flow.receive import receive_events
from counterfoil.flow.releases import Releases
from counterfoil.model import Model
from tests.unit.rules.driver import CheckedTurner, Play, model_of

BASE = """
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: external, owner: finance}
---
{kind: object, name: invoice, system: bills, fields: {gross: money, due_on: date}}
---
kind: policy
name: careful
failure:
  {transient: retry, throttled: retry, conflict: retry, invalid: park, warning: park, period_closed: park,
   not_found: park, unauthorized: park, already_done: continue, refused: park, unknown: park, timeout: park,
   failed: park, stale: park, rejected: park, expired: park, accepted: continue}
---
kind: event
name: invoice.closed.v1
object: invoice
produced: http
data: {invoice_id: id, total: money, memo?: string}
---
kind: event
name: invoice.paid.v1
produced: http
owner: finance
data: {ref: id}
---
{kind: event, name: invoice.seen.v1, produced: workflow, owner: finance, data: {invoice_id: id, gross: money}}
"""
CLOSED_2 = """
---
kind: event
name: invoice.closed.v2
object: invoice
produced: http
data: {invoice_id: id, gross: money}
---
{kind: mapping, name: closed-1-2, cast: {from: invoice.closed.v1, to: invoice.closed.v2},
 with: {gross: =data.total}, loses: {memo: nobody reads it}}
---
{kind: mapping, name: closed-2-1, cast: {from: invoice.closed.v2, to: invoice.closed.v1}, with: {total: =data.gross}}
"""
PAID_2 = """
---
{kind: event, name: invoice.paid.v2, produced: http, owner: finance, data: {invoice: id, by: string}}
---
{kind: mapping, name: paid-2-1, cast: {from: invoice.paid.v2, to: invoice.paid.v1},
 with: {ref: =data.invoice}, loses: {by: not asked for}}
---
{kind: mapping, name: paid-1-2, cast: {from: invoice.paid.v1, to: invoice.paid.v2},
 with: {invoice: =data.ref, by: unknown}}
"""
FLOW = """
---
kind: workflow
name: booking
owner: finance
failure: careful
start: {event: invoice.closed.%s, key: event.data.invoice_id}
steps:
  - {wait: {event: invoice.paid.v1, where: event.data.ref == start.data.invoice_id, until: +9d}, becomes: paid}
  - {emit: invoice.seen.v1, data: {invoice_id: =event.data.invoice_id, gross: =event.data.%s}}
"""
FOIL = """
---
kind: reconciliation
name: shown
object: invoice
left: bills
right: ledger
owner: finance
foil: {event: invoice.closed.v1, key: event.data.invoice_id, legs: {gross: event.data.total}, due: 5d}
observe: {event: invoice.booked.v2, key: event.data.number, legs: {gross: event.data.value}}
---
{kind: event, name: invoice.booked.v1, produced: http, owner: finance, data: {number: id, sum: money}}
---
{kind: event, name: invoice.booked.v2, produced: http, owner: finance, data: {number: id, value: money}}
---
{kind: mapping, name: booked-1-2, cast: {from: invoice.booked.v1, to: invoice.booked.v2}, with: {value: =data.sum}}
"""
OLD = BASE + FLOW % ("v1", "total")
NEW = BASE + CLOSED_2 + PAID_2 + FLOW % ("v2", "gross")


def five(minor: int = 500) -> dict[str, Any]:
    return {"minor": minor, "currency": "EUR"}


async def told(play: Play, type_: str, id_: str, system: str = "bills", **data: Any) -> None:
    """A CloudEvent comes in by the door and all that follows from it happens."""
    at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    event = Event(id=id_, source=f"/{system}", type=type_, time=at, data=data, subject="i1")
    await receive_events(play.store, play.releases.present, [event], play.now)
    await play.settle()


async def released(play: Play, model: Model) -> None:
    """The company goes on under another model; its Runs stay pinned."""
    await play.releases.publish(play.now, "test")
    play.model, play.releases = model, Releases(play.store, model)
    await play.releases.publish(play.now, "test")
    play.turner = CheckedTurner(play.store, play.releases, "play")
    play.admission = type(play.admission)(play.store, play.releases, play.systems)


async def test_a_version_is_offered_to_whoever_takes_another() -> None:
    play = Play(model_of(NEW))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five(), memo="m")
    assert play.state().names["event"]["data"] == {"invoice_id": "i1", "gross": Money(500, "EUR")}
    assert play.state().names["event"]["type"] == "invoice.closed.v2"
    (kept,) = [e for e in play.store.events.values() if e.type.startswith("invoice.closed")]
    assert (kept.type, kept.data["total"], kept.data["memo"]) == ("invoice.closed.v1", Money(500, "EUR"), "m")
    await told(play, "invoice.paid.v2", "e2", invoice="i1", by="card")
    assert play.run().status is RunStatus.DONE
    assert [e.data for e in play.emitted("invoice.seen.v1")] == [
        {"invoice_id": "i1", "gross": Money(500, "EUR")}
    ]


async def test_one_fact_in_two_versions_counts_once() -> None:
    play = Play(model_of(NEW + FOIL))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    await told(play, "invoice.closed.v2", "e1", invoice_id="i1", gross=five())
    await told(play, "invoice.closed.v2", "e1", invoice_id="i1", gross=five())
    assert len(play.store.receipts) == 2
    assert len(play.store.events) == 1
    assert len(play.runs()) == 1
    assert len(play.store.head_history["invoice", "i1"]) == 1
    assert [(f.state, f.legs) for f in play.foils()] == [(FoilState.OPEN, {"gross": Money(500, "EUR")})]
    assert play.cases() == []
    await told(play, "invoice.booked.v1", "b1", "ledger", number="i1", sum=five())
    assert [f.state for f in play.foils()] == [FoilState.MATCHED]


async def test_the_head_has_the_shape_of_the_newest_version() -> None:
    play = Play(model_of(NEW))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    head = await play.store.head("invoice", "i1")
    assert head is not None
    assert head.state == {"gross": Money(500, "EUR")}


async def test_a_run_pinned_to_the_old_release_gets_new_facts_in_its_version() -> None:
    """The present model has casts, the Run's own Release has none and knows nothing of the new version."""
    play = Play(model_of(OLD))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    run = play.run()
    await released(
        play,
        model_of(
            NEW.replace(
                "event: invoice.paid.v1, where: event.data.ref ==",
                "event: invoice.paid.v2, where: event.data.invoice ==",
            )
        ),
    )
    await told(play, "invoice.paid.v2", "e2", invoice="i1", by="card")
    ended = play.store.runs[run.id]
    assert (ended.pin, ended.status) == (model_of(OLD).digest, RunStatus.DONE)


async def test_a_pinned_run_casts_by_what_it_is_pinned_to() -> None:
    """The present model has dropped the old version with its casts; the Run's Release still has them."""
    play = Play(model_of(NEW))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    last = NEW.replace(
        "event: invoice.paid.v1, where: event.data.ref ==",
        "event: invoice.paid.v2, where: event.data.invoice ==",
    )
    cut = "---\nkind: event\nname: invoice.paid.v1\nproduced: http\nowner: finance\ndata: {ref: id}\n"
    assert cut in last
    only = last.replace(cut, "").replace(PAID_2, PAID_2.split("---\n{kind: mapping")[0])
    await released(play, model_of(only))
    assert "invoice.paid.v1" not in play.model.events
    await told(play, "invoice.paid.v2", "e2", invoice="i1", by="card")
    assert play.runs()[0].status is RunStatus.DONE


async def test_a_version_that_nobody_declares_is_a_case() -> None:
    play = Play(model_of(NEW))
    await told(play, "invoice.closed.v3", "e1", invoice_id="i1", gross=five())
    assert play.case("unrouted").message.endswith("no file declares the event invoice.closed.v3")


async def test_a_cast_that_fails_holds_the_fact_with_a_case() -> None:
    play = Play(model_of(NEW.replace("with: {gross: =data.total}", "with: {gross: =data.total * 'x'}")))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    assert "closed-1-2 gives no invoice.closed.v2" in play.case("cast_failed").message
    assert play.runs() == []


async def test_a_signal_in_the_version_that_was_sent_is_taken_before_one_by_cast() -> None:
    signals = """signals:
  - {event: invoice.paid.v1, where: event.data.ref == start.data.invoice_id, do: [{emit: invoice.seen.v1, data: {invoice_id: one, gross: =start.data.gross}}]}
  - {event: invoice.paid.v2, where: event.data.invoice == start.data.invoice_id, do: [{emit: invoice.seen.v1, data: {invoice_id: two, gross: =start.data.gross}}]}
steps:
  - {wait: {until: +9d}}
"""
    flow = (FLOW % ("v2", "gross")).split("steps:")[0].replace("start.data", "event.data") + signals.replace(
        "=start.data.gross", "=event.data.gross"
    )
    play = Play(model_of(BASE + CLOSED_2 + PAID_2 + flow))
    await told(play, "invoice.closed.v2", "e1", invoice_id="i1", gross=five())
    await told(play, "invoice.paid.v2", "e2", invoice="i1", by="card")
    assert [e.data["invoice_id"] for e in play.emitted("invoice.seen.v1")] == ["two"]
    await told(play, "invoice.paid.v1", "e3", ref="i1")
    assert [e.data["invoice_id"] for e in play.emitted("invoice.seen.v1")] == ["two", "one"]
