"""Invoices, payments and credits in currencies that billing sends otherwise than in hundredths, on real systems."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from counterfoil.demo.erp.charts import DOLLARS_PER_EURO, FIRST_RATES
from tests.companies.acme import SOON, Company, Edits
from tests.scenario.test_cash import PAYMENT
from tests.scenario.test_credits import foils_match, pay
from tests.served import CREDIT, INVOICE, served

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

BILLED = {
    "jpy": (50_000, "50000"),
    "kwd": (51_230, "51.230"),
    "ugx": (40_000_000, "400000"),
    "isk": (2_500_000, "25000"),
    "mga": (700_000, "700000.00"),
}
"""What billing sends for an invoice, and what that is: no, two and three decimals, each with a rule of its own at the vendor."""


def rates(month: int) -> Edits:
    """Return edits that add these currencies to the tables of rates: those of the ERP's books in a month."""
    dollars = {
        code: Decimal(DOLLARS_PER_EURO[month - 1]) / Decimal(FIRST_RATES[code])
        for code in map(str.upper, BILLED)
    }
    heads = {"fx": ("pair,rate,valid_from\n", ""), "month_rates": ("pair,rate,source,valid_from\n", "erp,")}
    return {
        f"tables/{table}.csv": [
            (
                head,
                head
                + "".join(f"{code}/USD,{rate:.10f},{source}2025-01-01\n" for code, rate in dollars.items()),
            )
        ]
        for table, (head, source) in heads.items()
    }


def bill(systems: Company, currency: str, minor: int) -> tuple[str, str]:
    """Finalize an invoice. Return customer and invoice."""
    api, customer = systems.stripe, systems.customer()
    draft = api.invoices.create({
        "customer": customer, "currency": currency, "collection_method": "send_invoice", "days_until_due": 30,
        "auto_advance": False, "pending_invoice_items_behavior": "exclude",
    })  # fmt: skip
    item = {"customer": customer, "invoice": draft.id, "currency": currency, "description": "Seats"}
    api.invoice_items.create({**item, "amount": minor})
    return customer, str(api.invoices.finalize_invoice(draft.id).id)


async def totals(systems: Company, references: Sequence[str]) -> dict[str, Decimal]:
    """Return the totals of documents of the ERP by currency."""
    async with systems.of_erp() as erp:
        rows = await erp.search(
            "account.invoice", [["reference", "in", list(references)]], ["currency.code", "total_amount"]
        )
    return {row["currency"]["code"].lower(): row["total_amount"] for row in rows}


async def test_no_currency_is_wrong_by_a_power_of_ten(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, rates(systems.today.month))) as s:
        billed = {
            currency: await asyncio.to_thread(bill, systems, currency, minor)
            for currency, (minor, _) in BILLED.items()
        }
        runs = await s.run_at(INVOICE, "done", count=len(BILLED))
        posted = await totals(systems, [run.bkey for run in runs])
        assert posted == {currency: Decimal(amount) for currency, (_, amount) in BILLED.items()}
        # Whole yen, thousandths of a dinar and hundredths of an ariary.
        credits = {"jpy": ("1200", 1_200), "kwd": ("1.230", 1_230), "mga": ("1500.00", 1_500)}
        for currency, (amount, _) in credits.items():
            customer, invoice = billed[currency]
            await systems.ask_credit(
                customer, invoice, amount, f"inc-{currency}", currency=currency.upper(), reason="goodwill"
            )
        granted = await s.run_at(CREDIT, "done", count=len(credits))
        memos = await totals(systems, [run.bkey for run in granted])
        assert memos == {currency: -Decimal(amount) for currency, (amount, _) in credits.items()}
        for currency, (_, issued) in credits.items():
            notes = await asyncio.to_thread(
                systems.stripe.credit_notes.list, {"invoice": billed[currency][1]}
            )
            assert [note.total for note in notes.data] == [issued]
        for customer, invoice in billed.values():
            await asyncio.to_thread(pay, systems, customer, invoice)
        await s.run_at(PAYMENT, "done", count=len(BILLED))
        for rule in ("invoice-in-erp", "credit-in-erp", "payment-in-erp"):
            assert await foils_match(s, rule), rule
        await s.sound()
