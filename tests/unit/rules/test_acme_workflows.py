"""The workflows of the example company, played from the first event to matched counterfoils."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.expr import compile
from counterfoil.model.kinds import Check
from counterfoil.rules.mapping import MappedEvents, apply_inbound
from tests.unit.rules import acme
from tests.unit.rules.acme import FINANCE, LEAD, usd
from tests.unit.rules.driver import MONDAY

NO = Rejected(ErrorClass.REFUSED, "no")


async def test_an_invoice_brings_its_customer_to_the_ledger_first() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    assert [op for op, _, _ in play.systems["erp"].calls] == ["erp.party.upsert", "erp.invoice.post"]
    assert play.run("invoice-to-erp").state == "posted"
    await acme.show_invoice(play)
    assert play.run("invoice-to-erp").state == "reconciled"
    assert [f.state for f in play.foils()] == [FoilState.MATCHED]


async def test_an_invoice_that_the_ledger_shows_otherwise_breaks_its_foil() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    await acme.show_invoice(play, total=100)
    assert [f.state for f in play.foils()] == [FoilState.BROKEN]
    await play.advance(days=3)
    assert play.case("timeout")


async def test_an_invoice_of_unusual_size_is_looked_at_and_rejected() -> None:
    play = await acme.acme()
    await acme.finalized(play, total=30_000)
    await play.vote(play.approval(), FINANCE, approve=False)
    assert play.run("invoice-to-erp").state == "rejected"
    assert not play.bodies("erp.invoice.post")


async def test_an_invoice_in_a_closed_period_takes_the_first_open_day() -> None:
    play = await acme.acme()
    await play.head("period", "2026-01", **acme.month(1, "closed"))
    await acme.finalized(play)
    (post,) = play.bodies("erp.invoice.post")
    assert (post["invoice_date"], post["accounting_date"]) == ("2026-01-05", "2026-02-01")


async def test_a_credit_goes_through_every_system_and_the_requester_is_told() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    await acme.requested(play)
    assert play.run("support-credit-to-erp").state == "told"
    assert [b["message"] for b in play.bodies("support.ticket.reply")] == [
        "The credit is granted and posted as D8."
    ]
    await acme.credit_shown(play)
    assert play.run("support-credit-to-erp").status is RunStatus.DONE


async def test_a_credit_waits_for_its_period_to_be_reopened() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    await play.head("period", "2026-01", **acme.month(1, "closed"))
    await acme.requested(play)
    assert play.run("support-credit-to-erp").state == "billed"
    await play.head("period", "2026-01", **acme.month(1, "open"))
    opened = acme.month(1, "open") | {"period_id": "2026-01"}
    await play.event("period.opened.v1", system="erp", **opened)
    assert play.run("support-credit-to-erp").state == "told"


async def test_a_credit_that_the_ledger_refuses_is_taken_back_in_billing() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    play.systems["erp"].script["erp.credit_memo.post"] = [NO]
    await acme.requested(play)
    run = play.run("support-credit-to-erp")
    assert run.status is RunStatus.UNDONE
    assert [e.operation for e in play.effects() if e.undoes] == ["billing.credit_memo.void"]
    assert play.used("customer-quarter-credit") == 0
    assert {f.rule: f.state for f in play.foils()}["credit-in-erp"] is FoilState.REVERSED


async def test_a_credit_whose_amount_changes_while_it_is_decided_is_asked_for_again() -> None:
    play = await acme.acme()
    await acme.finalized(play, total=1000)
    await acme.requested(play, 300)
    first = play.approval()
    await play.head("ticket", "t1", title="Down", status="open", requested_by="ann", amount=acme.usd(350))
    await play.vote(first, LEAD)
    assert not play.bodies("billing.credit_memo.issue")
    await play.vote(play.approval(), LEAD)
    assert [b["amount"] for b in play.bodies("billing.credit_memo.issue")] == [35_000]


async def test_an_ineligible_credit_is_answered_and_stops() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    await acme.requested(play, 4000)
    assert play.run("support-credit-to-erp").state == "refused"
    assert [b["fields"]["status"] for b in play.bodies("support.ticket.reply")] == ["credit-rejected"]


async def test_a_rejected_credit_frees_the_limit_and_the_incident() -> None:
    play = await acme.acme()
    await acme.finalized(play, total=1000)
    await acme.requested(play, 300)
    await play.vote(play.approval(), LEAD, approve=False)
    assert play.run("support-credit-to-erp").state == "rejected"
    assert sum(used for used, _ in play.store.tables.guards.values()) == 0


async def test_an_unreachable_party_is_a_case_and_the_invoice_waits_for_it() -> None:
    play = await acme.acme()
    play.systems["erp"].script["erp.party.upsert"] = [NO]
    await acme.finalized(play)
    assert not play.bodies("erp.invoice.post")
    await play.resolve(play.case("refused"), Choice.RETRY)
    assert play.run("invoice-to-erp").state == "posted"


def billed(total: int, lines: list[int]) -> Any:
    """Return what the delivery of a finalized invoice becomes."""
    invoice = {
        "id": "in_9",
        "customer": "cus_9",
        "currency": "usd",
        "number": "N-9",
        "status": "paid",
        "total": total,
        "total_excluding_tax": total,
        "amount_remaining": max(total, 0),
        "status_transitions": {"finalized_at": 1_767_600_000},
        "lines": [
            {"description": "x", "price": None, "amount": a, "discount_amounts": [], "tax_amounts": []}
            for a in lines
        ],
        "total_tax_amounts": [],
        "tax_rates": {},
    }
    mappings = acme.model().inbound("billing", "invoice.finalized")
    (mapping,) = [m for m in mappings if m.name == "billing-invoice-finalized"]
    objects = {"invoice": "in_9", "customer": "cus_9", "credit": "in_9"}
    answers = {("canon", (o, id_, "billing")): f"{o}-9" for o, id_ in objects.items()}
    mapped = apply_inbound(mapping, {"data": {"object": invoice}}, invoice, MONDAY, answers)
    assert isinstance(mapped, MappedEvents), mapped
    (event,) = mapped.events
    return event


async def test_a_negative_invoice_is_a_credit_that_the_ledger_posts() -> None:
    event = billed(-50_00, [20_00, -70_00])
    assert (event.type, event.data["total"]) == ("credit.issued.v1", usd(50))
    play = await acme.acme()
    await play.event(event.type, system="billing", **event.data)
    assert [run.workflow for run in play.runs()] == ["negative-invoice"]
    assert play.run("negative-invoice").state == "reviewed", "it waits for its customer in the ledger"


async def test_an_invoice_over_nothing_ends_without_a_posting() -> None:
    event = billed(0, [20_00, -20_00])
    assert (event.type, event.data["total"]) == ("invoice.finalized.v1", usd(0))
    play = await acme.acme()
    await play.event(event.type, system="billing", **event.data)
    assert (play.run("invoice-to-erp").status, play.run("invoice-to-erp").state) == (
        RunStatus.DONE,
        "nothing-owed",
    )
    assert not play.systems["erp"].calls
    assert not play.cases()


async def test_a_line_may_be_negative_and_a_total_may_not() -> None:
    event = billed(30_00, [50_00, -20_00])
    play = await acme.acme()
    await play.event(event.type, system="billing", **event.data | {"customer_id": "cus1"})
    assert [line["unit_price"] for line in play.bodies("erp.invoice.post")[0]["lines"]] == [50, -20]


async def test_a_negative_credit_request_reaches_no_system() -> None:
    play = await acme.acme()
    await acme.finalized(play)
    await acme.requested(play, amount=-1_000_000)
    case = play.case("invalid")
    assert (
        "-1000000.00 USD is negative, and the policy service-credit allows no negative amount" in case.message
    )
    assert not play.bodies("billing.credit_memo.issue")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (usd(40), True),
        (Money(0, "USD"), False),
        (Money(-1, "USD"), False),
        (Money(100, "EUR"), False),
        (Money(1, "JPY"), False),
    ],
)
def test_only_a_part_of_the_credit_in_its_currency_is_taken_back(amount: Money, expected: bool) -> None:
    """Each other request is refused, which tells its caller; none ends in a Case. The limit refuses more than the credit."""
    check = acme.model().workflows["credit-takeback"].steps[0]
    assert isinstance(check, Check)
    assert check.reserve is not None
    assert check.reserve.at_most == "credit.total"
    names = {"credit": {"total": usd(40)}, "input": {"amount": amount, "customer_id": "C-1"}}
    assert compile(check.check)(names) is expected
