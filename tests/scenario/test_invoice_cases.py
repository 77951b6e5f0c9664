"""Invoices and credits of unusual kinds on real systems, as companies have reported them: none is lost, doubled or wrong by a cent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.companies.acme import SOON, Company
from tests.scenario.test_credits import document_of, foils_match, pay
from tests.served import CREDIT, INVOICE, Served, served

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

LINES = 25
"""More than billing lists on one page."""


def bill(
    systems: Company, amounts: Sequence[int], effective: date | None = None, tax: str = ""
) -> tuple[str, str]:
    """Finalize an invoice in dollars with a line for each amount. Return customer and invoice."""
    api, customer = systems.stripe, systems.customer()
    more: dict[str, Any] = {}
    if effective is not None:
        more["effective_at"] = int(
            datetime(effective.year, effective.month, effective.day, 18, tzinfo=UTC).timestamp()
        )
    draft = api.invoices.create({
        "customer": customer, "currency": "usd", "collection_method": "send_invoice", "days_until_due": 30,
        "auto_advance": False, "pending_invoice_items_behavior": "exclude", **more,
    })  # fmt: skip
    rates: dict[str, Any] = {}
    if tax:
        rate = {"display_name": "Sales tax", "inclusive": False, "percentage": tax, "jurisdiction": "US-TX"}
        rates = {"tax_rates": [api.tax_rates.create(rate).id]}
    item = {"customer": customer, "invoice": draft.id, "currency": "usd", **rates}
    for nth, amount in enumerate(amounts):
        api.invoice_items.create({**item, "amount": amount, "description": f"Seats {nth + 1}"})
    return customer, str(api.invoices.finalize_invoice(draft.id).id)


async def test_invoices_of_unusual_kinds_are_right_to_the_cent(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        # A trial over 0.00 owes nothing, and the ledger gets no document.
        await asyncio.to_thread(bill, systems, [0])
        (ended,) = await s.run_at(INVOICE, "nothing-owed")
        # 25 lines, of which each has half a cent of tax: the total is that of billing.
        _, long = await asyncio.to_thread(bill, systems, [1_010 + nth for nth in range(LINES)], tax="8.25")
        # A line that gives something back lowers its tax as well.
        _, mixed = await asyncio.to_thread(bill, systems, [10_000, -2_505], tax="8.25")
        # Dated in the month before, which is open: revenue and receivable belong there.
        before = systems.today.replace(day=1) - timedelta(days=1)
        customer, earlier = await asyncio.to_thread(bill, systems, [6_000], before)
        runs = {run.bkey for run in await s.run_at(INVOICE, "done", count=4)} - {ended.bkey}
        billed = {
            id: await asyncio.to_thread(systems.stripe.invoices.retrieve, id) for id in (long, mixed, earlier)
        }
        documents = {row["total_amount"]: row for row in [await document_of(systems, key) for key in runs]}
        totals = {id: Decimal(invoice.total) / 100 for id, invoice in billed.items()}
        assert documents.keys() == set(totals.values())
        for id, invoice in billed.items():
            taxes = documents[totals[id]]["taxes"]
            assert sum(tax for _, tax in taxes) == Decimal(invoice.total - invoice.subtotal) / 100
        async with systems.of_erp() as erp:
            of_long = ["invoice", "=", documents[totals[long]]["id"]]
            assert len(await erp.search("account.invoice.line", [of_long], ["id"])) == LINES
            late = ["id", "=", documents[totals[earlier]]["id"]]
            (dates,) = await erp.search("account.invoice", [late], ["invoice_date", "accounting_date"])
        # Later invoices have numbers already, so it is numbered with them and booked on its own day.
        assert (dates["invoice_date"], dates["accounting_date"]) == (systems.today, before)
        # 60.00 paid: 40.00 of it may be given back, and then 20.00, but not 40.00 again.
        await asyncio.to_thread(pay, systems, customer, earlier)
        await s.run_at("payment-to-erp", "done")
        await systems.ask_credit(customer, earlier, "40.00", "inc-1", reason="goodwill")
        await s.run_at(CREDIT, "reconciled")
        await systems.ask_credit(customer, earlier, "40.00", "inc-2", reason="goodwill")
        (refused,) = await s.run_at(CREDIT, "refused")
        await systems.ask_credit(customer, earlier, "20.00", "inc-3", reason="goodwill")
        granted = await s.run_at(CREDIT, "reconciled", count=2)
        assert refused.bkey not in {run.bkey for run in granted}
        notes = await asyncio.to_thread(systems.stripe.credit_notes.list, {"invoice": earlier})
        assert sorted(note.total for note in notes.data) == [2_000, 4_000]
        for rule in ("invoice-in-erp", "credit-in-erp"):
            assert await foils_match(s, rule)
        await s.sound()


async def test_no_credit_goes_beyond_what_was_paid_back_or_ended(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        # Paid and refunded without a credit: nothing is left that a credit over the same invoice could give back.
        customer, refunded = await asyncio.to_thread(bill, systems, [10_000])
        await s.run_at(INVOICE, "done")
        await asyncio.to_thread(pay, systems, customer, refunded)
        await s.run_at("payment-to-erp", "done")
        (charge,) = (await asyncio.to_thread(systems.stripe.charges.list, {"customer": customer})).data
        await asyncio.to_thread(systems.stripe.refunds.create, {"charge": charge.id})
        await s.run_at("refund-to-erp", "reconciled")
        await refuses(s, customer, refunded, "40.00", 1)
        # Void: billing asserts nothing any more, and the ledger cancels it.
        customer, void = await asyncio.to_thread(bill, systems, [5_000])
        await s.run_at(INVOICE, "done", count=2)
        await asyncio.to_thread(systems.stripe.invoices.void_invoice, void)
        assert await s.vote(await s.open_approval(), "fiona") in ("granted", "counted")
        await s.run_at("void-to-erp", "cancelled")
        await refuses(s, customer, void, "20.00", 2)
        # Another currency than that of the invoice.
        customer, owed = await asyncio.to_thread(bill, systems, [3_000])
        await s.run_at(INVOICE, "done", count=3)
        await refuses(s, customer, owed, "10.00", 3, currency="EUR")
        # A downgrade: billing issues an invoice over less than nothing, and the ledger has a credit memo.
        customer, _ = await asyncio.to_thread(bill, systems, [-2_500])
        (negative,) = await s.run_at("negative-invoice", "done")
        memo = await document_of(systems, negative.bkey)
        assert memo["total_amount"] == Decimal("-25.00")
        notes = await asyncio.to_thread(systems.stripe.credit_notes.list, {})
        assert notes.data == []
        await s.sound()


async def refuses(
    s: Served, customer: str, invoice: str, amount: str, count: int, currency: str = "USD"
) -> None:
    """Ask for a credit, and wait for its refusal, the `count`-th one."""
    await s.company.ask_credit(
        customer, invoice, amount, f"inc-{count}", currency=currency, reason="goodwill"
    )
    await s.run_at(CREDIT, "refused", count=count)
