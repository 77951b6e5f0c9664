"""Taxes of credits on real systems: what billing computes by the lines of the invoice is what the ledger posts and takes back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.matching import FoilState
from counterfoil.demo.erp.client import ErpClient
from tests.companies.acme import SOON, Company, Edits
from tests.scenario.test_operations import BACK, ask
from tests.served import CREDIT, INVOICE, Served, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

BILLING_CREDIT, TAKEBACK, REFUND = "billing-credit-to-erp", "credit-takeback", "refund-to-erp"
HOLD = "draft-hold"
GERMAN: Edits = {"systems/billing-de.yaml": [("every: 15s", "every: 1s")]}
"""Edits that poll the German billing account every second."""


async def document_of(systems: Company, reference: str, company: str = "acme-us") -> dict[str, Any]:
    async with systems.of_erp(company=company) as erp:
        (document,) = [row for row in await erp.invoices() if row["reference"] == reference]
        return dict(document) | {"taxes": await taxes_of(erp, document)}


async def taxes_of(erp: ErpClient, document: Mapping[str, Any]) -> Sequence[tuple[Decimal, Decimal]]:
    of_document = ["invoice", "=", document["id"]]
    rows = await erp.search("account.invoice.tax", [of_document], ["base", "amount"])
    return sorted((row["base"], row["amount"]) for row in rows)


def billed_in_germany(systems: Company) -> tuple[str, str]:
    """Create a German customer with an open invoice of 100.00 EUR and 19 % tax. Return both ids."""
    api = systems.german_stripe
    address = {"country": "DE", "city": "Berlin", "line1": "Allee 1", "postal_code": "10115"}
    customer = str(api.customers.create({"name": "Nordwind GmbH", "address": address}).id)
    rate = {"display_name": "USt", "inclusive": False, "percentage": 19, "jurisdiction": "DE"}
    draft = api.invoices.create(
        {
            "customer": customer,
            "currency": "eur",
            "collection_method": "send_invoice",
            "days_until_due": 30,
            "auto_advance": False,
        }
    )
    item = {
        "customer": customer,
        "invoice": draft.id,
        "currency": "eur",
        "amount": 10_000,
        "description": "Plätze",
    }
    api.invoice_items.create({**item, "tax_rates": [api.tax_rates.create(rate).id]})
    return customer, str(api.invoices.finalize_invoice(draft.id).id)


def credited_in_billing(systems: Company, invoice: str, minor: int) -> str:
    """Have a person credit a part of the first line in billing, without a request of support. Return the number."""
    line = systems.stripe.invoices.retrieve(invoice).lines.data[0].id
    lines = [{"type": "invoice_line_item", "invoice_line_item": line, "amount": minor}]
    return str(systems.stripe.credit_notes.create({"invoice": invoice, "lines": lines}).number)


async def foils_match(s: Served, rule: str) -> bool:
    return {foil.state for foil in (await s.dump()).foils if foil.rule == rule} == {FoilState.MATCHED}


async def test_credits_take_the_tax_of_their_invoice_and_bring_it_back(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, GERMAN)) as s:
        # Open: the price is lowered with its tax, and the memo is applied.
        customer, invoice = await systems.billed(10_000, tax=True)
        (posted,) = await s.run_at(INVOICE, "done")
        await systems.ask_credit(customer, invoice, "25.00", "inc-1")
        (credit,) = await s.run_at(CREDIT, "done")
        memo = await document_of(systems, credit.bkey)
        assert memo["total_amount"] == Decimal("-25.00")
        assert memo["taxes"] == [(Decimal("-23.10"), Decimal("-1.90"))]
        assert memo["state"] == "paid"
        # A person credits in billing: the ledger follows with the tax, and applies it.
        await asyncio.to_thread(credited_in_billing, systems, invoice, 1_000)
        (outside,) = await s.run_at(BILLING_CREDIT, "done")
        memo = await document_of(systems, outside.bkey)
        assert (memo["total_amount"], memo["taxes"]) == (
            Decimal("-10.83"),
            [(Decimal("-10.00"), Decimal("-0.83"))],
        )
        owed = await document_of(systems, posted.bkey)
        assert owed["amount_to_pay"] == Decimal("108.25") - Decimal("25.00") - Decimal("10.83")
        # The first credit is taken back after its application: a debit memo with the same account and its share of tax.
        canonical = next(e.data["customer_id"] for e in (await s.dump()).events if "customer_id" in e.data)
        back = {
            "credit_id": credit.bkey,
            "customer_id": canonical,
            "amount": {"minor": 2_500, "currency": "USD"},
        }
        done = await ask(systems, "fiona", BACK, back, "back")
        assert (done.status_code, done.json()["state"]) == (200, "reconciled"), (done.text, await s.report())
        debit = await document_of(systems, f"{credit.bkey}/undo")
        assert (debit["total_amount"], debit["taxes"]) == (
            Decimal("25.00"),
            [(Decimal("23.10"), Decimal("1.90"))],
        )
        assert await foils_match(s, "debit-in-erp")
        # Paid: compensation goes to the balance without tax, a refund of the price back to the card with its tax.
        customer, invoice = await systems.billed(20_000, tax=True)
        await s.run_at(INVOICE, "done", 2)
        await asyncio.to_thread(pay, systems, customer, invoice)
        await s.run_at("payment-to-erp", "done")
        await systems.ask_credit(customer, invoice, "30.00", "inc-2", reason="goodwill")
        await s.run_at(CREDIT, "done", 2)
        await systems.ask_credit(customer, invoice, "40.00", "inc-3", reason="refund")
        await s.run_at(CREDIT, "done", 3)
        await s.run_at(REFUND, "reconciled")
        notes = (await asyncio.to_thread(systems.stripe.credit_notes.list, {"invoice": invoice})).data
        documents = {note.total: await document_of(systems, note.metadata["credit_id"]) for note in notes}
        assert {total: (row["taxes"], row["state"]) for total, row in documents.items()} == {
            3_000: ([], "posted"),
            4_000: ([(Decimal("-36.95"), Decimal("-3.05"))], "paid"),
        }
        # The German company lowers its own tax on its own accounts.
        customer, invoice = await asyncio.to_thread(billed_in_germany, systems)
        await s.run_at(INVOICE, "done", 3)
        await systems.ask_credit(customer, invoice, "11.90", "inc-4", currency="EUR")
        runs = await s.run_at(CREDIT, "done", 4)
        (german,) = [run for run in runs if run.entity == "acme-de"]
        memo = await document_of(systems, german.bkey, "acme-de")
        assert memo["taxes"] == [(Decimal("-10.00"), Decimal("-1.90"))]
        assert await foils_match(s, "credit-in-erp")
        await voided_after_posting(s, systems)
        await s.sound()


async def test_a_credit_lowers_a_draft_or_goes_by_memo_once_it_is_issued(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        # Approved in time: the draft waits, becomes smaller by the credit and its tax, and no memo follows.
        customer, invoice = await asyncio.to_thread(drafted, systems)
        await is_drafted(s, 1)
        await systems.ask_credit(customer, invoice, "108.25", "inc-1")
        await s.run_at(HOLD, "waiting")
        assert not (await asyncio.to_thread(systems.stripe.invoices.retrieve, invoice)).auto_advance
        assert await s.vote(await s.open_approval(), "lead") == "granted"
        await s.run_at(CREDIT, "adjusted")
        await s.run_at(HOLD, "released")
        assert (await asyncio.to_thread(systems.stripe.invoices.retrieve, invoice)).auto_advance
        await asyncio.to_thread(systems.stripe.invoices.finalize_invoice, invoice)
        (posted,) = await s.run_at(INVOICE, "done")
        document = await document_of(systems, posted.bkey)
        assert document["total_amount"] == Decimal("216.50")
        assert document["taxes"] == [(Decimal("200.00"), Decimal("16.50"))]
        assert [foil for foil in (await s.dump()).foils if foil.rule == "credit-in-erp"] == []
        assert await foils_match(s, "invoice-in-erp")
        # A person issues it before the approval: the draft is let go after its time, and the credit goes by memo.
        customer, invoice = await asyncio.to_thread(drafted, systems)
        await is_drafted(s, 2)
        await systems.ask_credit(customer, invoice, "108.25", "inc-2")
        await s.run_at(HOLD, "waiting")
        approval = await s.open_approval()
        await asyncio.to_thread(systems.stripe.invoices.finalize_invoice, invoice)
        await s.run_at(INVOICE, "done", 2)
        assert await s.vote(approval, "lead") == "granted"
        runs = await s.run_at(CREDIT, "done", 2)
        (credit,) = [run for run in runs if run.state == "reconciled"]
        memo = await document_of(systems, credit.bkey)
        assert (memo["taxes"], memo["state"]) == ([(Decimal("-100.00"), Decimal("-8.25"))], "paid")
        assert await foils_match(s, "credit-in-erp")
        await s.sound()


def drafted(systems: Company) -> tuple[str, str]:
    """Create a customer with a draft of 300.00 and sales tax, which billing would finalize by itself. Return both ids."""
    api, customer = systems.stripe, systems.customer()
    rate = {"display_name": "Sales tax", "inclusive": False, "percentage": 8.25, "jurisdiction": "US-TX"}
    item = {"customer": customer, "amount": 30_000, "currency": "usd", "description": "Seats"}
    api.invoice_items.create({**item, "tax_rates": [api.tax_rates.create(rate).id]})
    terms = {"collection_method": "send_invoice", "days_until_due": 30, "auto_advance": True}
    draft = {"customer": customer, "currency": "usd", "pending_invoice_items_behavior": "include", **terms}
    return customer, str(api.invoices.create(draft).id)


async def is_drafted(s: Served, count: int) -> None:
    async def look() -> bool:
        drafts = {e.data["invoice_id"] for e in (await s.dump()).events if e.type == "invoice.drafted.v1"}
        return len(drafts) >= count

    await until(f"{count} drafts", look, state=s.report)


async def voided_after_posting(s: Served, systems: Company) -> None:
    """Void posted invoices in billing: they are cancelled in place in America, and by a document of their own in Germany.

    One that is credited in part is cancelled over the rest, and by a document in America too.
    """
    american = (await systems.billed(5_000, tax=True))[1]
    german = (await asyncio.to_thread(billed_in_germany, systems))[1]
    credited = (await systems.billed(5_000, tax=True))[1]
    await s.run_at(INVOICE, "done", 6)
    await asyncio.to_thread(systems.stripe.credit_notes.create, {"invoice": credited, "amount": 2_000})
    await s.run_at(BILLING_CREDIT, "done", 2)
    ids = []
    for place, (api, invoice) in enumerate(
        [(systems.stripe, american), (systems.german_stripe, german), (systems.stripe, credited)], start=1
    ):
        await asyncio.to_thread(api.invoices.void_invoice, invoice)
        approval = await s.open_approval()
        assert approval.policy == "invoice-void"
        assert await s.vote(approval, "fiona") in ("granted", "counted")
        ids.append((await s.run_at("void-to-erp", "cancelled", place))[-1].bkey)

    async def all_end() -> bool:
        states = {foil.key: foil.state for foil in (await s.dump()).foils if foil.rule == "invoice-in-erp"}
        return [states[key] for key in ids] == [FoilState.REVERSED, FoilState.REVERSED, FoilState.MATCHED]

    await until("the end of all counterfoils", all_end)
    rest = await document_of(systems, f"{ids[2]}/void")
    assert (rest["state"], rest["total_amount"]) == ("paid", Decimal("-34.13"))
    assert (await document_of(systems, ids[2]))["amount_to_pay"] == 0
    memo = await document_of(systems, f"{ids[1]}/void", "acme-de")
    assert (memo["state"], memo["taxes"]) == ("paid", [(Decimal("-100.00"), Decimal("-19.00"))])
    async with systems.of_erp(company="acme-de") as erp:
        body = await erp.get("account.invoice", memo["id"], ["number", "description"])
    assert (body["number"], body["description"][:18]) == (memo["number"], "Stornorechnung zu ")


def pay(systems: Company, customer: str, invoice: str) -> None:
    method = systems.stripe.payment_methods.attach("pm_card_bypassPending", {"customer": customer})
    systems.stripe.invoices.pay(invoice, {"payment_method": method.id})
