"""Collection on real systems: declines at the processor, notices in the help desk, a restricted service, and the end in the ledger."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.companies.acme import SOON, Company, Edits
from tests.scenario.test_cash import Cashier, balances
from tests.served import Served, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

STAGES = ("retry 1,1", "retry 2,3", "retry 3,5", "retry 4,7", "past due,8", "grace,14", "restricted,21",
          "suspended,30", "written off,60")  # fmt: skip
AT_ONCE: Edits = {
    "workflows/collection.yaml": [("until: +5m", "until: +1s")],
    "tables/dunning_days.csv": [(stage, f"{stage.partition(',')[0]},0") for stage in STAGES],
}
"""Edits after which every stage of a collection is due at once."""


class Debtor(Cashier):
    """A customer whose card is declined."""

    async def declined(self, minor: int, card: str) -> tuple[str, str]:
        """Issue an invoice that billing tries to collect once, and does not get. Return customer and invoice."""

        def bill() -> tuple[str, str]:
            customer = self._with_card(card)
            item = {"customer": customer, "amount": minor, "currency": "usd", "description": "Seats"}
            self.api.invoice_items.create(item)
            form = {"customer": customer, "currency": "usd", "pending_invoice_items_behavior": "include"}
            invoice = str(self.api.invoices.create({**form, "auto_advance": False}).id)
            self.api.invoices.finalize_invoice(invoice)
            with pytest.raises(Exception, match=r"declined|insufficient"):
                self.api.invoices.pay(invoice)
            return customer, invoice

        return await asyncio.to_thread(bill)

    async def subscribed(self, card: str) -> tuple[str, str, str]:
        """Start a subscription whose first payment fails. Return customer, subscription and invoice."""

        def subscribe() -> tuple[str, str, str]:
            self.api.products.create({"id": "cloud", "name": "Cloud"})
            recurring = {"interval": "month"}
            price = {"product": "cloud", "currency": "usd", "unit_amount": 9_000, "lookup_key": "team"}
            plan = self.api.prices.create({**price, "recurring": recurring}).id
            customer = self._with_card(card)
            made = self.api.subscriptions.create({"customer": customer, "items": [{"price": plan}]})
            return customer, str(made.id), str(made.latest_invoice)

        return await asyncio.to_thread(subscribe)

    def _with_card(self, card: str) -> str:
        customer = self.systems.customer("Initech Software")
        method = self.api.payment_methods.attach(card, {"customer": customer}).id
        self.api.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
        return customer

    async def charges(self, customer: str) -> list[Any]:
        listed = await asyncio.to_thread(self.api.charges.list, {"customer": customer})
        return list(listed.data)

    async def service(self, subscription: str) -> tuple[str | None, bool]:
        """Return the mark of a subscription's service, and whether its invoices wait as drafts."""
        read = await asyncio.to_thread(self.api.subscriptions.retrieve, subscription)
        return read.metadata.to_dict().get("service"), read.pause_collection is not None


async def test_unpaid_invoices_are_collected_restricted_and_given_up(systems: Company) -> None:
    debtor = Debtor(systems)
    async with served(systems, systems.governance(SOON, AT_ONCE)) as s:
        # A soft decline: our own attempt with the same card gets the money, once.
        systems.twin.fault("decline_charge", decline_code="insufficient_funds", times=1)
        customer, _ = await debtor.declined(100_000, "pm_card_visa")
        await s.run_at("payment-to-erp", "done")
        await s.run_at("collection", "paid")
        await s.quiet()
        charges = await debtor.charges(customer)
        assert [charge.status for charge in charges] == ["succeeded", "failed"], await s.report()
        assert "counterfoil_key" in charges[0].metadata
        assert (await balances(systems))["clearing"] == Decimal("970.70")
        # A hard decline: the card is never charged again. The service ends with notices, and comes back with the money.
        debtor_of, subscription, invoice = await debtor.subscribed("pm_card_chargeCustomerFail")
        await s.run_at("dunning-stage", "suspended")
        assert await debtor.service(subscription) == ("suspended", True)
        assert await _notices(systems, invoice) >= {
            f"We could not collect invoice {await _number(debtor, invoice)}",
            "Your service is restricted",
            "Your service is suspended",
        }
        await s.open_approval()
        await debtor.pays(debtor_of, invoice)
        await s.run_at("dunning-stage", "resumed")
        assert await debtor.service(subscription) == (None, False)
        await s.run_at("payment-to-erp", "done", count=2)
        # Nobody pays: two persons decide, one about the collection and one about the ledger.
        systems.twin.fault("decline_charge", decline_code="lost_card", times=1)
        lost, invoice = await debtor.declined(7_000, "pm_card_visa")
        approval = await s.open_approval()
        assert approval.policy == "give-up"
        assert await s.vote(approval, "fiona") in ("granted", "counted")
        await s.run_at("collection-end", "given_up")
        approval = await until("the approval of the write-off", lambda: _write_off(s))
        assert await s.vote(approval, "carl") in ("granted", "counted")
        await s.run_at("write-off-to-erp", "reconciled")
        assert [charge.status for charge in await debtor.charges(lost)] == ["failed"]
        assert (await balances(systems))["bad debt"] == Decimal("70.00")
        await s.quiet()
        assert [c.reason for c in (await s.dump()).cases if c.state == "open"] == [], await s.report()


async def _write_off(s: Served) -> Any:
    return next(
        (a for a in (await s.dump()).approvals if a.state == "open" and a.policy == "write-off"), None
    )


async def _number(debtor: Debtor, invoice: str) -> str:
    return str((await asyncio.to_thread(debtor.api.invoices.retrieve, invoice)).number)


async def _notices(systems: Company, invoice: str) -> set[str]:
    """Return the titles of the tickets about an invoice."""
    async with systems.at_desk() as desk:
        return {str((await desk.get(id))["title"]) for id in await desk.find("agent", invoice_ref=invoice)}
