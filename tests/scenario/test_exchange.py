"""Money in a foreign currency on real systems: differences of two rates are realised, and the books hold in each currency."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from counterfoil.demo.erp.charts import DOLLARS_PER_EURO
from tests.companies.acme import SOON, Company, Edits
from tests.scenario.test_cash import PAYMENT, Cashier, prepared, read_books
from tests.served import CREDIT, INVOICE, served

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

RATES = "exchange-at-its-rate"
OVERDUE: Edits = {
    "mappings/to-erp.yaml": [
        (
            "  description: =input.number\n",
            "  description: =input.number\n  accept_warnings: [invoice_payment_term]\n",
        )
    ]
}
"""Edits that post invoices which may be due already. The ERP warns of them."""


def dollars(euros: str, month: int) -> Decimal:
    return (Decimal(euros) * Decimal(DOLLARS_PER_EURO[month - 1])).quantize(Decimal("0.01"))


async def test_differences_are_realised_and_each_currency_agrees(systems: Company) -> None:
    cashier, today = Cashier(systems), systems.today
    issued = today.replace(day=1) - timedelta(days=1)

    def bill(minor: int) -> tuple[str, str]:
        """Issue an invoice in euro that is dated in the month before."""
        api = systems.stripe
        customer = systems.customer()
        noon = int(datetime(issued.year, issued.month, issued.day, 12, tzinfo=UTC).timestamp())
        draft = api.invoices.create({
            "customer": customer, "currency": "eur", "collection_method": "send_invoice", "days_until_due": 30,
            "auto_advance": False, "pending_invoice_items_behavior": "exclude", "effective_at": noon,
        })  # fmt: skip
        item = {"customer": customer, "invoice": draft.id, "currency": "eur", "description": "Seats"}
        api.invoice_items.create({**item, "amount": minor})
        return customer, str(api.invoices.finalize_invoice(draft.id).id)

    async with served(systems, systems.governance(SOON, OVERDUE)) as s:
        payer, paid = await asyncio.to_thread(bill, 100_000)
        customer, credited = await asyncio.to_thread(bill, 50_000)
        await s.run_at(INVOICE, "done", count=2)
        await cashier.pays(payer, paid)
        await systems.ask_credit(customer, credited, "80.00", "inc-1", currency="EUR")
        await s.run_at(PAYMENT, "done")
        await s.run_at(CREDIT, "done")
        then, now = issued.month, today.month
        difference = dollars("1000.00", then) - dollars("1000.00", now)
        difference += dollars("80.00", then) - dollars("80.00", now)
        async with systems.of_erp() as erp:
            assert (await erp.trial_balance()).get("7900", Decimal(0)) == difference
        await read_books(s)
        await s.quiet()
        controls = {
            (control.account, control.currency): (control.balance, control.difference)
            for rule in ("invoice-in-erp", "payment-in-erp")
            for control in (await prepared(s, rule)).body.controls
        }
        assert controls["receivables", "EUR"] == (42_000, 0)
        assert {name for name, (_, off) in controls.items() if off} == set()
        assert {currency for _, currency in controls} == {"EUR"}
        # They wait for a minute and end, which on a busy machine is before this line.
        runs = await s.runs(RATES)
        assert [run.bkey.split("/")[0] for run in runs] == ["erp", "erp"]
        await s.sound()
