"""Balances of customers on real systems: the ledger uses the credits that billing has used, and gives them back with it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from tests.companies.acme import SOON, Company
from tests.scenario.test_cash import PAYMENT, Cashier, prepared, read_books, states
from tests.served import CREDIT, INVOICE, Served, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

DRAW, ADJUSTMENT, VOID = "balance-draw-to-erp", "balance-adjustment", "void-to-erp"


async def are_used(s: Served, *uses: str) -> None:
    """Wait until the ledger shows how far the credits are used."""

    async def look() -> bool:
        heads = [head.state for head in (await s.dump()).heads if head.object == "credit"]
        return sorted(str(state.get("application")) for state in heads) == [*uses]

    await until(f"credits are used {uses}", look, state=s.report)
    await s.quiet()


async def owed(systems: Company, customer: str) -> tuple[Decimal, Decimal]:
    """Return the receivables of the ledger, and what billing has open less the balance of the customer."""

    def in_billing() -> Decimal:
        rows = systems.stripe.invoices.list({"customer": customer}).data
        balance = systems.stripe.customers.retrieve(customer).balance
        return Decimal(sum(row.amount_remaining for row in rows if row.status == "open") + balance) / 100

    async with systems.of_erp() as erp:
        return (await erp.trial_balance())["1200"], await asyncio.to_thread(in_billing)


async def test_the_ledger_follows_a_balance_that_is_drawn_given_back_and_paid_out(systems: Company) -> None:
    cashier = Cashier(systems)
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice, charge = await cashier.paid(20_000, "pm_card_bypassPending")
        await s.run_at(INVOICE, "done")
        await s.run_at(PAYMENT, "done")
        for number, amount in enumerate(("30.00", "40.00"), start=1):
            await systems.ask_credit(customer, invoice, amount, f"inc-{number}", reason="goodwill")
            await s.run_at(CREDIT, "done", number)
        # The next invoice draws a part: the older credit is used up, the younger one in part.
        await asyncio.to_thread(systems.invoice, customer, 5_000)
        await s.run_at(DRAW, "done")
        await are_used(s, "full", "partial")
        assert await owed(systems, customer) == (Decimal("-20.00"), Decimal("-20.00"))
        # The rest is drawn by an invoice that becomes void: it is open again, and so is the invoice in the ledger.
        void = await asyncio.to_thread(systems.invoice, customer, 10_000)
        await s.run_at(DRAW, "done", 2)
        await are_used(s, "full", "full")
        assert await owed(systems, customer) == (Decimal("80.00"), Decimal("80.00"))
        await asyncio.to_thread(systems.stripe.invoices.void_invoice, void)
        await s.run_at(DRAW, "done", 3)
        await are_used(s, "full", "partial")
        # The ledger cancels an invoice that is posted when a person agrees. Until then it is open there.
        assert await owed(systems, customer) == (Decimal("80.00"), Decimal("-20.00"))
        assert await s.vote(await s.open_approval(), "fiona") in ("granted", "counted")
        await s.run_at(VOID, "done")
        assert await owed(systems, customer) == (Decimal("-20.00"), Decimal("-20.00"))
        # The rest of the balance is paid out: refunded at the processor, and the balance is lowered by a person.
        await asyncio.to_thread(cashier.api.refunds.create, {"charge": charge, "amount": 2_000})
        change = {"amount": 2_000, "currency": "usd", "description": "Refunded to the card"}
        await asyncio.to_thread(systems.stripe.customers.balance_transactions.create, customer, change)
        assert await s.vote(await s.open_approval(), "fiona") in ("granted", "counted")
        await s.run_at(ADJUSTMENT, "done")
        await are_used(s, "full", "full")
        assert await owed(systems, customer) == (Decimal(0), Decimal(0))
        assert {state.value for state in await states(s, "balance-in-erp")} == {"matched"}
        assert "no credit memo says why" in (await s.case("failed")).message
        await read_books(s)
        await s.quiet()
        # Nothing is owed, on either way of counting.
        assert len((await prepared(s, "invoice-in-erp")).body.controls) == 0
        await s.sound()
