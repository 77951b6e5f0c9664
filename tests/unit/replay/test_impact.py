"""Recorded traffic of a played company through its model and through changed ones: the difference is what was planted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from counterfoil.change.plan_words import impact_lines
from counterfoil.core import wire
from counterfoil.core.impact import Impact, MoneyDifference
from counterfoil.model import Model
from counterfoil.replay.event_builder import DeliveryBodies, EventBuilder
from counterfoil.replay.impact import Paths, impact, recorded
from counterfoil.replay.incremental_mapping import IncrementalMapping
from counterfoil.replay.recorded_answers import UNLINKED_IDS, RecordedAnswers, ReplaySide
from counterfoil.replay.run_replayer import RunReplayer
from counterfoil.rules import routing
from counterfoil.rules.lookup import lookup_in
from counterfoil.store.port.recorded import RecordedDelivery
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.recorded import Account, Company, acme, changed

CUSTOMERS = 12
CREDITS = (1, 3, 7)
TAX = ("mapping/billing-invoice-finalized", "minor(i.total - i.total_excluding_tax, c)", "minor(0, c)")
TOTAL = ("mapping/billing-invoice-finalized", '"=minor(i.total, c)"', '"=minor(i.total_excluding_tax, c)"')
UNCHECKED = (
    "mapping/billing-invoice-finalized",
    "sum(data.lines.map(l, l.net)) + sum(data.taxes.map(t, t.amount)) == data.total",
    "true",
)


pytestmark = pytest.mark.xdist_group("impact")
"""One worker plays the company for all of them: that takes longer than the tests."""


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> list[RecordedDelivery]:
    """The traffic recorded in the store of a company."""

    async def played() -> list[RecordedDelivery]:
        store = await SqliteStore.open(tmp_path_factory.mktemp("played") / "store.db")
        try:
            company = Company(store, acme())
            async with company.at_work():
                await company.business(CUSTOMERS, CREDITS)
            now, day = await store.now(), timedelta(days=1)
            return [r async for r in recorded(store, Paths(acme(), acme()), now - day, now + day)]
        finally:
            await store.close()

    return asyncio.run(played())


def accounts(traffic: Sequence[RecordedDelivery]) -> list[Account]:
    at = traffic[0].receipt.received_at
    return [Account(n, at) for n in range(CUSTOMERS)]


def sums(report: Sequence[MoneyDifference], source: str, leg: str) -> tuple[int, int, int]:
    rows = [a for a in report if (a.source, a.leg) == (source, leg)]
    return sum(a.old for a in rows), sum(a.new for a in rows), sum(a.delta for a in rows)


def whole(report: Impact) -> int:
    c = report.counts
    return c.same + c.changed + c.only_old + c.only_new + c.not_comparable


# ------------------------------------------------------------------ nothing differs


@pytest.mark.parametrize("every", [False, True])
def test_a_model_replayed_against_itself_differs_in_nothing(
    traffic: list[RecordedDelivery], every: bool
) -> None:
    again = Model.from_json(acme().to_json())
    report = impact(acme(), again, traffic, every)
    assert report.nothing
    assert report.counts.receipts == report.counts.same == len(traffic)
    assert report.counts.shortcut == (0 if every else len(traffic))
    assert report.counts.events == sum(len(r.events) for r in traffic)
    empty = msgspec.structs.replace(report, counts=type(report.counts)(), assumed={}, since=None, until=None)
    assert empty == Impact(old=acme().digest, new=acme().digest)


def test_the_old_side_makes_the_events_that_were_recorded(traffic: list[RecordedDelivery]) -> None:
    side = ReplaySide(acme())
    builder = EventBuilder(side)
    for one in traffic:
        mapped = builder.build(one, DeliveryBodies(one), RecordedAnswers(side, one, {}))
        assert (mapped.held, mapped.events) == ("", one.events)


def test_the_old_side_plans_the_effects_that_were_recorded(traffic: list[RecordedDelivery]) -> None:
    side = ReplaySide(acme())
    replayer = RunReplayer(side)
    count = 0
    for one in traffic:
        answers = RecordedAnswers(side, one, {})
        for run in one.runs:
            event = next(e for e in one.events if e.id == run.event)
            (start,) = [
                s
                for s in routing.starts(acme(), event, lookup_in(answers, one.receipt.system))
                if s.run == run.run.id
            ]
            result = replayer.replay(start, event.id, event.received_at, run, answers)
            then = {e.id: (e.operation, e.input, e.request) for e in run.effects}
            now = {
                id_: (p.operation, wire.dumps(dict(p.input)), p.request) for id_, p in result.effects.items()
            }
            assert now == then
            assert result.state == run.run.state
            assert {a.policy for a in run.approvals} == {a.policy for a in result.approvals.values()}
            assert result.reserved == {(g.scope, g.key): g.own for g in run.guards}
            count += 1
    assert count == 3 * CUSTOMERS + len(CREDITS)
    assert side.assumed.keys() == {"counterfoils taken as matched", UNLINKED_IDS}


def test_what_a_document_says_of_itself_alone_changes_nothing(traffic: list[RecordedDelivery]) -> None:
    new = changed(
        ("mapping/billing-invoice-finalized", "The delivery is a hint", "The delivery is only a hint")
    )
    report = impact(acme(), new, traffic)
    assert report.nothing
    assert report.counts.shortcut < report.counts.receipts  # it was run, and came out alike


# ------------------------------------------------------------------ planted changes

PLANTED = {
    "tax": (TAX, TOTAL, UNCHECKED),
    "tier": (("policy/invoice-review", '"up_to":25000', '"up_to":100'),),
    "credit tier": (("policy/service-credit", '"up_to":100}', '"up_to":10}'),),
    "account": (("table/revenue_accounts", "4000", "4005"),),
    "ticket": (
        ("mapping/support-credit-request", "'sla'", "'goodwill'"),
        ("mapping/support-credit-request", "first(body.credit_reason", "first(null"),
    ),
    "sums": (("mapping/to-erp-invoice", "=major(l.net)", "=major(l.net) * 2"),),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_skipped_replay_would_have_the_same_result(traffic: list[RecordedDelivery], name: str) -> None:
    """The short ways and the long one tell the same."""
    new = changed(*PLANTED[name])
    short, long = impact(acme(), new, traffic), impact(acme(), new, traffic, every=True)
    assert short.counts.shortcut > long.counts.shortcut == 0
    assert short.counts.changed > 0
    same = msgspec.structs.replace(short.counts, shortcut=0)
    assert msgspec.structs.replace(short, counts=same, assumed={}) == msgspec.structs.replace(
        long, assumed={}
    )


INVOICE = "mapping/billing-invoice-finalized"
NUMBER = (INVOICE, '"=i.number"', "\"=i.number + 'x'\"")
OTHERWISE = {
    "a field": (True, (NUMBER,)),
    "a field that is made no more": (True, ((INVOICE, '"number":"=i.number",', ""),)),
    "a field that its contract does not let through": (True, ((INVOICE, '"=i.number"', '"=7"'),)),
    "a field that fails": (True, ((INVOICE, '"=i.number"', '"=i.nothing_of_the_kind"'),)),
    "an assertion that does not hold": (True, (TAX, TOTAL)),
    "what it is called by": (False, (NUMBER, (INVOICE, '"key":"=i.id"', '"key":"=i.id + \'x\'"'))),
    "what its fields read": (False, (NUMBER, (INVOICE, "i.currency.upperAscii()", "'EUR'"))),
}


def with_one_mapping(model: Model) -> Model:
    """Return the model without the other mapping of issued invoices: what two mappings read is evaluated whole."""
    other = ("mapping", "billing-balance-draw")
    return Model.from_documents([d for d in model.plain() if (d["kind"], d["name"]) != other])


@pytest.mark.parametrize("name", OTHERWISE)
def test_an_event_made_again_is_the_one_that_the_whole_mapping_makes(
    traffic: list[RecordedDelivery], name: str
) -> None:
    spared, edits = OTHERWISE[name]
    old, new = with_one_mapping(acme()), with_one_mapping(changed(*edits))
    assert (IncrementalMapping.of(old, new, "billing", "invoice.finalized") is not None) is spared
    short, long = impact(old, new, traffic), impact(old, new, traffic, every=True)
    assert not short.nothing
    same = msgspec.structs.replace(short.counts, shortcut=0)
    assert msgspec.structs.replace(short, counts=same, assumed={}) == msgspec.structs.replace(
        long, assumed={}
    )


def test_a_mapping_that_drops_the_tax_shows_it_as_money_by_customer(traffic: list[RecordedDelivery]) -> None:
    report = impact(acme(), changed(TAX, TOTAL, UNCHECKED), traffic)
    of = accounts(traffic)
    assert whole(report) == report.counts.receipts
    assert (report.counts.changed, report.counts.only_old, report.counts.not_comparable) == (
        CUSTOMERS + len(CREDITS), 0, 0,
    )  # fmt: skip
    # What a credit takes from revenue is its share of the net of its invoice.
    *of_credits, events = report.events
    assert {(e.name, e.changed) for e in of_credits} == {
        (f"credit.{step}.v1", len(CREDITS)) for step in ("approved", "calculated")
    }
    assert (events.name, events.changed) == ("invoice.finalized.v1", CUSTOMERS)
    assert events.fields == {"data.tax": CUSTOMERS, "data.total": CUSTOMERS}
    tax = sum(a.tax for a in of)
    for source, leg in (("erp.invoice.post", "tax"), ("invoice-in-erp", "tax")):
        assert sums(report.money, source, leg) == (tax, 0, -tax)
        assert sums(report.totals, source, leg) == (tax, 0, -tax)
    gross = sum(a.total for a in of)
    assert sums(report.money, "invoice-in-erp", "gross") == (gross, gross - tax, -tax)
    assert not [a for a in report.money if a.leg == "net"]
    assert len({a.customer for a in report.money}) == CUSTOMERS
    assert {(p.operation, p.leg): p.delta for p in report.postings if p.leg == "tax"} == {
        ("erp.invoice.post", "tax"): -tax
    }
    # The credits come after: their invoices' totals are others now, and nothing that they do is.
    assert [d.name for d in report.effects] == ["erp.invoice.post"]


def test_a_tier_that_moves_shows_whom_it_asks_and_moves_no_money(traffic: list[RecordedDelivery]) -> None:
    report = impact(acme(), changed(("policy/invoice-review", '"up_to":25000', '"up_to":100')), traffic)
    (moved,) = report.approvals
    above = [a for a in accounts(traffic) if a.total > 100_00]
    assert (moved.policy, moved.old, moved.new) == ("invoice-review", "automatic", "finance-operations x1")
    assert moved.count == report.counts.changed == len(above) == CUSTOMERS
    assert (report.events, report.effects, report.foils, report.money, report.postings) == (
        (),
        (),
        (),
        (),
        (),
    )
    assert report.assumed["approvals taken as granted"] == CUSTOMERS


def test_a_row_of_a_table_shows_the_accounts_that_change(traffic: list[RecordedDelivery]) -> None:
    report = impact(
        acme(), changed(("table/gl_credit", '"4800","reason":"sla"', '"4810","reason":"sla"')), traffic
    )
    (effects,) = report.effects
    assert (effects.name, effects.changed) == ("erp.credit_memo.post", len(CREDITS))
    assert effects.fields == {"request.lines[].account": len(CREDITS)}
    minor = sum((40 + 30 * (n % 5)) * 100 for n in CREDITS)
    assert {(p.accounts, p.old, p.new) for p in report.postings} == {("4800", minor, 0), ("4810", 0, minor)}
    lines = [line for line in impact_lines(report) if line.startswith("money erp.")]
    told = [(leg, account) for leg in ("amount", "net") for account in ("4800", "4810")]
    assert len(lines) == len(told)
    assert all(
        f" {leg} " in line and f"accounts {account}: " in line
        for (leg, account), line in zip(told, sorted(lines), strict=True)
    )
    assert not [a for a in report.money if a.delta]
    assert report.counts.changed == len(CREDITS)


def test_a_row_that_is_gone_shows_that_billing_is_not_written_to_either(
    traffic: list[RecordedDelivery],
) -> None:
    new = changed(("table/gl_credit", '"4800","reason":"sla"', '"4800","reason":"sla_of_old"'))
    report = impact(acme(), new, traffic)
    gone = {effects.name: effects.only_old for effects in report.effects}
    assert gone["billing.credit_memo.issue"] == gone["erp.credit_memo.post"] == len(CREDITS)


def test_another_posting_rule_moves_postings_between_periods(traffic: list[RecordedDelivery]) -> None:
    """The month is open, so that only another document date moves it."""
    new = changed(
        ("workflow/invoice-to-erp", "=event.data.document_date", "=date('2026-01-15')"),
        ("policy/receivables-posting", '"first_open"', '"reject"'),
    )
    report = impact(acme(), new, traffic)
    total = sum(a.total for a in accounts(traffic))
    assert {(p.period, p.old, p.new) for p in report.postings if p.leg == "total"} == {
        (f"{traffic[0].receipt.received_at.astimezone(ZoneInfo('America/New_York')):%Y-%m}", total, 0),
        ("2026-01", 0, total),
    }
    assert not report.events
    assert {f for d in report.effects for f in d.fields} == {
        "dates.document", "dates.posting", "dates.revenue", "request.invoice_date", "request.accounting_date",
    }  # fmt: skip


def test_an_event_that_is_ignored_takes_all_that_followed_with_it(traffic: list[RecordedDelivery]) -> None:
    documents: list[Any] = []
    for data in acme().plain():
        if (data["kind"], data["name"]) == ("mapping", "billing-invoice-finalized"):
            data = {k: v for k, v in data.items() if k in ("kind", "name", "from")} | {"ignore": "not ours"}
        documents.append(data)
    report = impact(acme(), Model.from_documents(documents), traffic)
    assert report.counts.only_old == CUSTOMERS
    assert {d.name: d.only_old for d in report.events} == {
        "invoice.finalized.v1": CUSTOMERS,
        **{f"credit.{step}.v1": len(CREDITS) for step in ("calculated", "unposted", "approved")},
    }
    assert {d.name: d.only_old for d in report.effects}["erp.invoice.post"] == CUSTOMERS
    total = sum(a.total for a in accounts(traffic))
    assert sums(report.totals, "erp.invoice.post", "total") == (total, 0, -total)
    # Without the invoice there is nothing that a credit could be checked against.
    assert {d.name: d.only_old for d in report.effects}["billing.credit_memo.issue"] == len(CREDITS)
    assert {(r.old, r.count) for r in report.runs if r.workflow == "support-credit-to-erp"} == {
        ("reconciled", len(CREDITS))
    }


def test_a_new_workflow_that_takes_an_event_shows_its_effects(traffic: list[RecordedDelivery]) -> None:
    thanks = {
        "kind": "workflow", "name": "thanks", "owner": "finance-operations", "failure": "erp-posting",
        "start": {"event": "payment.received.v1", "key": "event.data.payment_id"},
        "steps": [
            {"call": "support.ticket.reply",
             "with": {"ticket": "=event.data.customer_id", "message": "Thank you", "status": "new"}},
        ],
    }  # fmt: skip
    report = impact(acme(), Model.from_documents([*acme().plain(), thanks]), traffic)
    (effects,) = report.effects
    assert (effects.name, effects.only_new, effects.changed) == ("support.ticket.reply", CUSTOMERS, 0)
    assert {(r.workflow, r.old, r.new, r.count) for r in report.runs} == {
        ("thanks", "", "started", CUSTOMERS)
    }
    assert report.counts.changed == CUSTOMERS
    assert report.assumed["effects taken as done"] == CUSTOMERS
    assert not report.money


def test_amounts_that_are_rounded_otherwise_differ_by_the_rounding(traffic: list[RecordedDelivery]) -> None:
    """Billing's cents are whole: the new model books whole dollars."""
    whole_dollars = (
        "mapping/billing-invoice-changed",
        "minor(i.amount_remaining, c)",
        "minor(i.amount_remaining / 100 * 100, c)",
    )
    report = impact(acme(), changed(whole_dollars), traffic)
    uneven = [a for a in accounts(traffic) if a.total % 100]
    (events,) = report.events
    assert (events.name, events.fields) == ("invoice.changed.v1", {"data.open": len(uneven)})
    assert report.counts.changed == len(uneven)


def test_a_contract_that_grows_stricter_holds_what_came_before(traffic: list[RecordedDelivery]) -> None:
    new = changed(("event/payment.received.v1", '"payment_id":"id"', '"payment_id":"id","channel":"string"'))
    report = impact(acme(), new, traffic)
    (reason,) = report.held
    assert (reason.reason, reason.old, reason.new) == ("contract", 0, CUSTOMERS)
    assert report.counts.only_old == CUSTOMERS
    assert "channel" in reason.examples[0].new["message"]  # type: ignore[index]


def test_a_lookup_without_a_recorded_answer_is_not_comparable_and_not_guessed(
    traffic: list[RecordedDelivery],
) -> None:
    unfetched = [msgspec.structs.replace(r, fetched={}) for r in traffic]
    report = impact(acme(), changed(TAX, TOTAL, UNCHECKED), unfetched)
    (missing,) = [m for m in report.not_comparable if m.reason == "the answer of billing.invoice.get"]
    assert missing.count == CUSTOMERS
    assert report.counts.not_comparable == 2 * CUSTOMERS + len(CREDITS)  # payments, and invoices of credits
    assert (report.events, report.money, report.effects) == ((), (), ())
    assert whole(report) == report.counts.receipts


def test_the_report_is_plain_json(traffic: list[RecordedDelivery]) -> None:
    report = impact(acme(), changed(TAX, TOTAL, UNCHECKED), traffic)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Impact) == report
    assert len(report.events[-1].examples) == 5
    (example, *_) = report.events[-1].examples
    assert set(example.new or {}) == {"data.tax", "data.total"}
    assert example.delivery
