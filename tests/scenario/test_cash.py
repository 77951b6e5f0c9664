"""Cash on real systems: payments, refunds, disputes, payouts and write-offs, from the processor to the ledger and the bank."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.demo.bank import Movement
from tests.companies.acme import GERMAN_KEY, RARELY, SOON, Company, Edits
from tests.scenario.test_sweeps import swept
from tests.served import Served, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

PAYMENT, REFUND, DISPUTE, PAYOUT, WRITE_OFF = (
    f"{name}-to-erp" for name in ("payment", "refund", "dispute", "payout", "write-off")
)
BANK: Edits = {
    "systems/billing-de.yaml": [("every: 15s", "every: 1s")],
    "systems/bank-de.yaml": [("every: 15s", "every: 1s")],
    "bank.yaml": [("grace: +1d, owner", "grace: 1s, owner")],
}
"""Edits that poll the German systems every second, and open the Case of a line that nobody explains at once."""
OFTEN: Edits = {"systems/bank.yaml": [("every: 1h", "every: 1s")]}
"""Edits that poll the bank although webhooks alone bring all other news."""
ACCOUNTS = {"1050": "clearing", "1070": "disputes", "1000": "bank", "5100": "fees", "5200": "bad debt"}


class Cashier:
    """What customers and their banks do at the processor. Every call is that of the vendor's own library."""

    def __init__(self, systems: Company) -> None:
        self.systems = systems
        self.api = systems.stripe

    async def paid(self, minor: int, card: str = "pm_card_visa") -> tuple[str, str, str]:
        """Issue an invoice to a new customer who pays it by card. Return customer, invoice and charge."""
        customer, invoice = await self.systems.billed(minor)
        return customer, invoice, await self.pays(customer, invoice, card)

    async def pays(self, customer: str, invoice: str, card: str = "pm_card_visa") -> str:
        def pay() -> str:
            method = self.api.payment_methods.attach(card, {"customer": customer})
            return str(self.api.invoices.pay(invoice, {"payment_method": method.id}).charge)

        return await asyncio.to_thread(pay)

    async def german_payout(self, minor: int) -> str:
        """Have a customer of the German company pay by card, and the processor pay it out. Return the payout."""

        def pay_out() -> str:
            api = self.systems.german_stripe
            address = {"country": "DE", "city": "Berlin", "line1": "Allee 1", "postal_code": "10115"}
            customer = api.customers.create({"name": "Nordwind GmbH", "address": address}).id
            card = api.payment_methods.attach("pm_card_bypassPending", {"customer": customer}).id
            form = {"customer": customer, "payment_method": card, "confirm": True}
            api.payment_intents.create({"amount": 2 * minor, "currency": "eur", **form})
            payout = str(api.payouts.create({"amount": minor, "currency": "eur"}).id)
            outcome = json.dumps({"id": payout, "status": "paid"})
            headers = {"authorization": f"Bearer {GERMAN_KEY}"}
            assert self.systems.twin.call("POST", "/_twin/outcome", outcome, headers)[0] == 200
            return payout

        return await asyncio.to_thread(pay_out)

    async def wires(self, *minors: int) -> list[str]:
        """Record that a new customer has paid invoices by bank transfer. Return their numbers."""

        def record() -> list[str]:
            customer = self.systems.customer("Initech Software")
            invoices = [self.systems.invoice(customer, minor) for minor in minors]
            return [
                str(self.api.invoices.pay(invoice, {"paid_out_of_band": True}).number) for invoice in invoices
            ]

        return await asyncio.to_thread(record)

    async def decides(self, id: str, status: str) -> None:
        """Let the bank decide about a refund, dispute or payout."""
        await asyncio.to_thread(self.systems.twin.control, "POST", "outcome", {"id": id, "status": status})

    async def disputes(self, charge: str, **more: Any) -> str:
        body = {"charge": charge, **more}
        made = await asyncio.to_thread(self.systems.twin.control, "POST", "disputes", body)
        return str(made["id"])


async def balances(systems: Company) -> dict[str, Decimal]:
    """Return what the ledger has on the accounts of cash, debit less credit."""
    async with systems.of_erp() as erp:
        every = await erp.trial_balance()
    return {name: every.get(code, Decimal(0)) for code, name in ACCOUNTS.items()}


async def read_books(s: Served) -> None:
    """Read every book of cash to its end, so that a checkpoint compares with what the systems have now."""
    for rule in ("invoice-in-erp", "payment-in-erp"):
        await swept(s, rule)


async def prepared(s: Served, rule: str, at: date | None = None) -> BookCheckpoint:
    today = at or (await s.app.now()).date()
    (checkpoint,) = await s.app.checkpoints.prepare(
        s.app.model.reconciliations[rule], today, "acme-us", EntityScope(), "fay"
    )
    return checkpoint


async def states(s: Served, rule: str) -> Sequence[FoilState]:
    return [foil.state for foil in (await s.dump()).foils if foil.rule == rule]


async def test_money_goes_in_out_and_to_the_bank(systems: Company) -> None:
    cashier = Cashier(systems)
    async with served(systems, systems.governance(SOON, BANK)) as s:
        _, owed = await systems.billed(5_000)
        # Paid in full; the ledger's invoice is paid by the same receipt, and the processor's fee is booked.
        _, _, charge = await cashier.paid(100_000, "pm_card_bypassPending")
        await s.run_at(PAYMENT, "done")
        assert (await balances(systems))["clearing"] == Decimal("970.70")
        # Refunded in part, without a credit memo: the ledger shows it, and a person is asked.
        refund = await asyncio.to_thread(cashier.api.refunds.create, {"charge": charge, "amount": 10_000})
        await s.case("failed")
        assert (await balances(systems))["clearing"] == Decimal("870.70")
        # The refund fails after it had succeeded.
        await cashier.decides(refund.id, "failed")
        await s.run_at(REFUND, "reconciled", count=2)
        # Two disputes: one is won, one is lost as bad debt.
        _, _, won = await cashier.paid(20_000)
        _, _, lost = await cashier.paid(30_000)
        await s.run_at(PAYMENT, "done", count=3)
        first, second = await cashier.disputes(won), await cashier.disputes(lost, amount=12_000)
        await s.run_at(DISPUTE, "held", count=2)
        held = await balances(systems)
        assert held["disputes"] == Decimal("320.00")
        await cashier.decides(first, "won")
        await cashier.decides(second, "lost")
        await s.run_at(DISPUTE, "reconciled", count=4)
        after = await balances(systems)
        assert (after["disputes"], after["bad debt"]) == (Decimal(0), Decimal("120.00"))
        # To the bank.
        payout = await asyncio.to_thread(cashier.api.payouts.create, {"amount": 50_000, "currency": "usd"})
        await cashier.decides(payout.id, "paid")
        await until("the payout in the ledger", lambda: _at_bank(systems, Decimal("500.00")))
        # Given up, and paid after all.
        customer, invoice = await systems.billed(7_000)
        await s.run_at("invoice-to-erp", "done", count=5)
        await asyncio.to_thread(cashier.api.invoices.mark_uncollectible, invoice)
        approval = await s.open_approval()
        assert await s.vote(approval, "carl") in ("granted", "counted")
        await s.run_at(WRITE_OFF, "reconciled")
        assert (await balances(systems))["bad debt"] == Decimal("190.00")
        await cashier.pays(customer, invoice)
        await s.run_at(PAYMENT, "done", count=4)
        assert (await balances(systems))["bad debt"] == Decimal("120.00")
        await _bank_shows_it(s, cashier, payout.id)
        await s.quiet()
        await read_books(s)
        await s.quiet()
        # The bank has 585.00 of the wire, and the cheque that no entry explains.
        systems.bank_books(currency="EUR")
        checkpoint = await prepared(s, "bank-fee-in-erp", systems.today)
        assert not checkpoint.body.unread, checkpoint.body.unread
        (bank,) = checkpoint.body.controls
        assert (bank.account, bank.currency, bank.difference) == ("bank", "USD", 1_500 + 1_250), (
            await s.report()
        )
        invoices, cash = await prepared(s, "invoice-in-erp"), await prepared(s, "payment-in-erp")
        controls = [
            (c.account, c.currency, c.difference) for c in (*invoices.body.controls, *cash.body.controls)
        ]
        assert controls == [
            ("receivables", "USD", 0), ("clearing", "USD", 0), ("processor", "USD", 0),
        ], await s.report()  # fmt: skip
        async with systems.of_erp() as erp:
            assert list((await erp.open_items()).values()) == [Decimal("50.00")], owed
        assert set(await states(s, "payment-in-erp")) == {FoilState.MATCHED}


async def test_order_and_repetition_of_news_change_nothing(systems: Company) -> None:
    """Refund, dispute and payout come before their payment, the payment before its invoice, and each several times."""
    cashier, twin = Cashier(systems), systems.twin
    for type_ in ("invoice.finalized", "charge.succeeded"):
        twin.fault("lose_webhook", match={"type": type_}, times=1)
    for type_ in ("charge.succeeded", "refund.created", "charge.dispute.created", "payout.paid"):
        twin.fault("duplicate_webhook", match={"type": type_}, times=5, copies=4)
    async with served(systems, systems.governance(RARELY, OFTEN)) as s:
        await until("the first poll", lambda: s.app.store.cursor("billing", "events"))
        _, _, charge = await cashier.paid(100_000, "pm_card_bypassPending")
        note = {"charge": charge, "amount": 10_000}
        await asyncio.to_thread(cashier.api.refunds.create, note)
        payout = await asyncio.to_thread(cashier.api.payouts.create, {"amount": 30_000, "currency": "usd"})
        systems.bank_books(Movement("payout", Decimal("300.00"), f"STRIPE TRANSFER {payout.id}", "STRIPE"))
        await cashier.decides(payout.id, "paid")
        await cashier.disputes(charge, amount=20_000)
        await s.run_at(REFUND, "reconciled")
        await s.run_at(DISPUTE, "held")
        await s.run_at(PAYOUT, "reconciled")
        assert await s.runs(PAYMENT) == []
        # A second payment is told four times, and the month closes before its dispute.
        _, _, other = await cashier.paid(40_000)
        await s.run_at(PAYMENT, "done")
        await read_books(s)
        await s.run_at(PAYMENT, "done", count=2)
        async with systems.of_erp() as erp:
            await erp.close_period(f"{systems.today:%Y-%m}")
        await until("the closed period", lambda: _closed(s))
        await cashier.disputes(other)
        await s.run_at(DISPUTE, "held", count=2)
        await s.quiet()
        await read_books(s)
        await s.quiet()
        cash = await prepared(s, "payment-in-erp")
        assert [(c.account, c.difference) for c in cash.body.controls] == [("clearing", 0), ("processor", 0)]
        entries = [e.data for e in (await s.dump()).events if e.type == "erp.entry_posted.v1"]
        references = sorted(entry["reference"][:4] for entry in {e["number"]: e for e in entries}.values())
        assert references == ["disp", "disp", "paym", "paym", "payo", "refu"]
        late = [e for e in entries if e["reference"][:4] == "disp" and e["posting_date"] > systems.today]
        assert [e["disputed"].minor for e in late] == [40_000]
        await s.sound()


async def _bank_shows_it(s: Served, cashier: Cashier, payout: str) -> None:
    """Let both banks book payouts, a wire over three invoices that is short by a fee, a fee, and a line that nobody explains."""
    systems = s.company
    german = await cashier.german_payout(5_000)
    numbers = await cashier.wires(10_000, 20_000, 30_000)
    await s.run_at(PAYMENT, "posted", count=3)
    assert set(await states(s, "payout-at-bank")) == {FoilState.OPEN}
    statement = systems.bank_books(
        Movement("payout", Decimal("500.00"), f"STRIPE TRANSFER {payout}", "STRIPE"),
        Movement("wire", Decimal("585.00"), f"Invoices {' '.join(numbers)}", "INITECH SOFTWARE"),
        Movement("fee", Decimal("-9.90"), "Monthly fee"),
        Movement("transfer", Decimal("-12.50"), "Cheque 4711"),
    )
    systems.bank_books(Movement("payout", Decimal("50.00"), f"Stripe {german}", "Stripe"), entity="acme-de", currency="EUR")  # fmt: skip
    await s.run_at(PAYOUT, "done", count=2)
    await s.run_at(PAYMENT, "done", count=8)
    case = await s.case("unmatched")
    assert (case.owner, case.exposure) == ("finance-operations", (Money(1_250, "USD"),))
    assert await states(s, "payout-at-bank") == [FoilState.MATCHED] * 2
    assert await states(s, "transfer-at-bank") == [FoilState.MATCHED] * 3
    booked = [event.id for event in (await s.dump()).events if event.type == "bank.line_booked.v1"]
    shutil.copy(statement, statement.with_name("operating-again.csv"))
    await swept(s, "payout-at-bank")
    assert [event.id for event in (await s.dump()).events if event.type == "bank.line_booked.v1"] == booked


async def _closed(s: Served) -> bool:
    return any(event.type == "period.closed.v1" for event in (await s.dump()).events)


async def _at_bank(systems: Company, amount: Decimal) -> bool:
    return (await balances(systems))["bank"] == amount
