"""Two versions of an event alive: producers send either, consumers take either, and one fact counts once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from counterfoil.connectors.sdk import OperationSpec, Repeat
from counterfoil.core.event import Event
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.release import Plan
from counterfoil.core.run import RunStatus
from counterfoil.flow.context.deprecations import DeprecationUsage, open_overdue_cases
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.releases import ApplyPlan, PutFirstRelease, PutPlan
from tests.companies.base import COMPLETE_POLICY, documents
from tests.unit.rules.driver import MONDAY, CheckedTurner, Play, model_of

BASE = documents(
    COMPLETE_POLICY,
    """\
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: external, owner: finance}
---
{kind: object, name: invoice, system: bills, fields: {gross: money, due_on: date}}
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
""",
)
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
BOTH = NEW.replace(
    "event: invoice.paid.v1, where: event.data.ref ==", "event: invoice.paid.v2, where: event.data.invoice =="
)
"""The workflow has moved, the old version and its casts are there."""
PAID_1 = next(document for document in BASE.split("---\n") if "name: invoice.paid.v1" in document)
ONLY = BOTH.replace("---\n" + PAID_1, "").replace(PAID_2, PAID_2.split("---\n{kind: mapping")[0])
"""The old version is gone, with its casts."""


def five(minor: int = 500) -> dict[str, Any]:
    return {"minor": minor, "currency": "EUR"}


async def told(play: Play, type_: str, id_: str, system: str = "bills", **data: Any) -> None:
    """A CloudEvent comes in by the door and all that follows from it happens."""
    at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    event = Event(id=id_, source=f"/{system}", type=type_, time=at, data=data, subject="i1")
    await receive_events(play.store, play.releases.present, [event], play.now)
    await play.settle()


async def replaced(store: MemoryStore, base: str, revision: str, body: bytes, now: datetime) -> None:
    """Another Release comes into force, without a word of what its Runs may wait for."""
    plan = Plan(
        digest=f"plan {revision}", base=base, revision=revision, requester="",
        created_at=now, expires=now + timedelta(days=1),
    )  # fmt: skip
    await store.apply(PutPlan(plan=plan, model=body, at=now, actor="test"))
    await store.apply(ApplyPlan(plan=plan.digest, person="test", reason="", at=now))


async def released(play: Play, model: Model) -> None:
    """The company goes on under another model; its Runs stay pinned."""
    await play.releases.publish(play.now, "test")
    await replaced(play.store, play.releases.present.digest, model.digest, model.to_json(), play.now)
    play.model, play.releases = model, Releases(play.store, model)
    await play.releases.publish(play.now, "test")
    play.turner = CheckedTurner(play.store, play.releases, "play")
    play.admission = type(play.admission)(play.store, play.releases, play.systems)


async def test_a_version_is_offered_to_whoever_takes_another() -> None:
    play = Play(model_of(NEW))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five(), memo="m")
    assert play.state().names["event"]["data"] == {"invoice_id": "i1", "gross": Money(500, "EUR")}
    assert play.state().names["event"]["type"] == "invoice.closed.v2"
    (kept,) = [e for e in play.store.tables.events.values() if e.type.startswith("invoice.closed")]
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
    assert len(play.store.tables.receipts) == 2
    assert len(play.store.tables.events) == 1
    assert len(play.runs()) == 1
    assert len(play.store.tables.head_history["invoice", "i1"]) == 1
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
    await released(play, model_of(BOTH))
    await told(play, "invoice.paid.v2", "e2", invoice="i1", by="card")
    ended = play.store.tables.runs[run.id]
    assert (ended.pin, ended.status) == (model_of(OLD).digest, RunStatus.DONE)


async def test_a_release_that_was_kept_without_its_waits_is_read_for_them() -> None:
    former, present = model_of(OLD), model_of(BOTH)
    store = MemoryStore(lambda: MONDAY)
    await store.apply(
        PutFirstRelease(digest="unreadable", body=b"no model", waits=(), at=MONDAY, actor="test")
    )
    base = "unreadable"
    for model in (former, present):
        await replaced(store, base, model.digest, model.to_json(), MONDAY)
        base = model.digest
    releases = Releases(store, present)
    assert "invoice.paid.v1" not in releases.waited
    await releases.refresh()
    assert releases.waited["invoice.paid.v1"] == {"ref"}


async def test_a_pinned_run_casts_by_what_it_is_pinned_to() -> None:
    """The present model has dropped the old version with its casts; the Run's Release still has them."""
    play = Play(model_of(NEW))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    await released(play, model_of(ONLY))
    assert "invoice.paid.v1" not in play.model.events
    await told(play, "invoice.paid.v2", "e2", invoice="i1", by="card")
    assert play.runs()[0].status is RunStatus.DONE


async def test_a_run_of_before_gets_it_by_the_casts_of_a_release_in_between() -> None:
    """Its own Release knew one version, the next had both with casts, the present one knows the other alone."""
    play = Play(model_of(OLD))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    await released(play, model_of(BOTH))
    await released(play, model_of(ONLY))
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


SEEN_2 = """
---
{kind: event, name: invoice.seen.v2, produced: http, owner: finance, data: {invoice_id: id, worth: money}}
---
kind: workflow
name: telling
owner: finance
failure: careful
start: {event: invoice.seen.v2, key: event.data.invoice_id}
steps:
  - check: event.data.worth.minor == 500
"""
SEEN_1_2 = """
---
{kind: mapping, name: seen-1-2, cast: {from: invoice.seen.v1, to: invoice.seen.v2}, with: {worth: =data.gross}}
"""


async def _told_by_an_old_run(former: str) -> Play:
    """A Run of a former Release emits a version that the present model does not declare."""
    play = Play(model_of(former))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    seen_1 = next(d for d in BASE.split("---\n") if "name: invoice.seen.v1" in d)
    present = (BASE + SEEN_2 + CLOSED_2 + PAID_2).replace("---\n" + seen_1, "")
    await released(play, model_of(present))
    assert "invoice.seen.v1" not in play.model.events
    await told(play, "invoice.paid.v1", "e2", ref="i1")
    return play


async def test_what_an_old_run_emits_reaches_the_present_by_the_casts_of_its_release() -> None:
    play = await _told_by_an_old_run(NEW + SEEN_2 + SEEN_1_2)
    assert [run.status for run in play.runs("telling")] == [RunStatus.DONE]
    assert [event.type for event in play.emitted("invoice.seen.v1")] == ["invoice.seen.v1"]
    assert play.cases() == []


async def test_what_an_old_run_emits_and_nothing_casts_is_a_case() -> None:
    play = await _told_by_an_old_run(NEW)
    assert play.case("unrouted").owner == "finance"


POSTING = """
---
{kind: system, name: books, role: erp, connector: http, owner: finance}
---
kind: operation
name: erp.invoice.post
system: books
executor: identity
repeat: unique
irreversible: posted stays posted
input: {invoice_id: id, amount: money}
---
kind: operation
name: erp.invoice.post.v2
system: books
executor: identity
repeat: unique
irreversible: posted stays posted
input: {invoice_id: id, value: money}
---
{kind: mapping, name: post-1-2, cast: {from: erp.invoice.post, to: erp.invoice.post.v2}, with: {value: =input.amount}}
---
kind: reconciliation
name: posted
object: invoice
left: bills
right: books
owner: finance
foil: {operation: erp.invoice.post.v2, key: input.invoice_id, legs: {gross: input.value}, due: 5d}
observe: {event: invoice.paid.v1, key: event.data.ref, legs: {gross: "money(5, 'EUR')"}}
---
kind: workflow
name: posting
owner: finance
failure: careful
start: {event: invoice.closed.v1, key: event.data.invoice_id}
serial: {key: event.data.invoice_id}
steps:
  - {call: erp.invoice.post, with: {invoice_id: =event.data.invoice_id, amount: =event.data.total}}
  - {wait: {foils: all, until: +3d}}
"""


async def test_a_call_writes_the_foil_of_the_operation_in_its_other_version() -> None:
    play = Play(model_of(BASE + POSTING))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    assert [(f.rule, f.key, f.legs) for f in play.foils()] == [("posted", "i1", {"gross": Money(500, "EUR")})]
    own = POSTING.replace("name: posted\n", "name: own\n").replace(
        "erp.invoice.post.v2, key", "erp.invoice.post, key"
    )
    rule = "---\nkind: reconciliation\n" + own.split("kind: reconciliation\n")[1].split("---\n")[0]
    both = Play(model_of(BASE + POSTING + rule.replace("input.value", "input.amount")))
    await told(both, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    assert [f.rule for f in both.foils()] == ["own"], "one call owes once"


async def test_a_connector_that_knows_no_versions_does_an_operation_by_its_plain_name() -> None:
    newer = POSTING.replace("call: erp.invoice.post,", "call: erp.invoice.post.v2,").replace(
        "amount: =event", "value: =event"
    )
    play = Play(model_of(BASE + newer))
    spec = OperationSpec("erp.invoice.post", Repeat.UNIQUE)
    play.systems["books"].operations = {"erp.invoice.post": spec}
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    assert [effect.operation for effect in play.effects()] == ["erp.invoice.post.v2"]
    assert [name for name, _, _ in play.systems["books"].calls] == ["erp.invoice.post"]


async def test_a_workflow_that_calls_a_deprecated_operation_is_counted() -> None:
    dated = "name: erp.invoice.post\ndeprecated: {since: 2026-01-01, sunset: 2026-07-01, use: erp.invoice.post.v2}\n"
    model = model_of(BASE + POSTING.replace("name: erp.invoice.post\n", dated))
    store = MemoryStore(lambda: MONDAY)
    uses = DeprecationUsage(store, lambda: model)
    releases = Releases(store, model)
    event = Event(
        id="e1", source="/bills", type="invoice.closed.v1", data={"invoice_id": "i1", "total": five()}
    )
    await receive_events(store, model, [event], MONDAY)
    await Admitter(store, releases, {}, uses=uses).admit((await store.todos(1))[0], MONDAY)
    (run,) = store.tables.runs
    await TurnPlanner(store, releases, "w", uses).turn(run, MONDAY)
    await uses.flush()
    used = [(u.name, u.side, u.who, u.count) for u in await store.version_usage(MONDAY)]
    assert used == [("erp.invoice.post", "calls", "workflow:posting", 1)]


async def test_two_rules_for_two_versions_owe_once() -> None:
    second = (
        FOIL.split("---\n")[1]
        .replace("name: shown", "name: shown-2")
        .replace("foil: {event: invoice.closed.v1", "foil: {event: invoice.closed.v2")
        .replace("data.total", "data.gross")
    )
    play = Play(model_of(NEW + FOIL + "---\n" + second))
    await told(play, "invoice.closed.v1", "e1", invoice_id="i1", total=five())
    await told(play, "invoice.closed.v2", "e2", invoice_id="i2", gross=five())
    assert sorted((f.key, f.rule) for f in play.foils()) == [("i1", "shown"), ("i2", "shown-2")]


async def test_who_takes_a_deprecated_version_is_counted_with_who_sends_it() -> None:
    dated = "deprecated: {since: 2026-01-01, sunset: 2026-01-04, use: invoice.closed.v2}\n"
    model = model_of(
        (BASE + CLOSED_2 + FLOW % ("v1", "total") + FOIL).replace(
            "name: invoice.closed.v1\n", "name: invoice.closed.v1\n" + dated
        )
    )
    play = Play(model)
    await told(play, "invoice.closed.v2", "e1", invoice_id="i1", gross=five())
    await told(play, "invoice.closed.v1", "e2", invoice_id="i2", total=five())
    await told(play, "invoice.closed.v1", "e2", invoice_id="i2", total=five())
    await play.admission._uses.flush()
    used = [(u.name, u.side, u.who, u.count) for u in await play.store.version_usage(play.now)]
    assert used == [
        ("invoice.closed.v1", "takes", "reconciliation:shown", 2),
        ("invoice.closed.v1", "takes", "workflow:booking", 2),
    ]
    opened: set[str] = set()
    assert await open_overdue_cases(play.store, model, play.now, opened) == 2
    assert await open_overdue_cases(play.store, model, play.now, opened) == 0
    assert await open_overdue_cases(play.store, model, play.now, set()) == 2
    messages = sorted(case.message for case in play.cases("sunset_in_use"))
    assert len(messages) == 2
    assert messages[1].startswith(
        "invoice.closed.v1 reached its sunset on 2026-01-04, but workflow:booking still takes it (2 times in all, last at"
    )
