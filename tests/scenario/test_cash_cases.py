"""Cases of cash from public reports on real systems: disputes in part, debits that come back, and payouts of every kind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import Any

import pytest

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.matching import FoilState
from counterfoil.demo.bank import Movement
from tests.companies.acme import SOON, Company
from tests.scenario.test_cash import (
    DISPUTE,
    PAYMENT,
    PAYOUT,
    REFUND,
    Cashier,
    balances,
    read_books,
    states,
)
from tests.served import Served, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

DAY_SECONDS = 86_400
RETURN, FEE = "payment-return-to-erp", "bank-fee-to-erp"
IN_THE_MONTH = ("clearing", "USD", 0), ("processor", "USD", 0)


async def controls(s: Served, rule: str, at: date) -> list[tuple[str, str, int]]:
    """Return the control accounts of a reconciliation at a date, each with its difference in minor units."""
    (checkpoint,) = await s.app.checkpoints.prepare(
        s.app.model.reconciliations[rule], at, "acme-us", EntityScope(), "fay"
    )
    assert not checkpoint.body.unread, checkpoint.body.unread
    return [(line.account, line.currency, line.difference) for line in checkpoint.body.controls]


async def of_account(systems: Company, *codes: str) -> list[Decimal]:
    async with systems.of_erp() as erp:
        every = await erp.trial_balance()
    return [every.get(code, Decimal(0)) for code in codes]


async def no_case(s: Served, *but: str) -> None:
    """Fail if a Case is open, except those of these reasons."""
    cases = (await s.dump()).cases
    assert [c.message for c in cases if c.state == "open" and c.reason not in but] == []


async def test_disputes_in_part_and_debits_that_come_back(systems: Company) -> None:
    cashier, twin = Cashier(systems), systems.twin
    twin.control("POST", "config", {"dispute_fee": "kept"})
    async with served(systems, systems.governance(SOON)) as s:
        _, _, charge = await cashier.paid(100_000)
        _, _, refunded = await cashier.paid(50_000)
        _, _, doubted = await cashier.paid(10_000)
        # A debit is no payment before it succeeds, and its money is in neither balance.
        customer, invoice = await systems.billed(40_000)
        debit = await cashier.pays(customer, invoice, "pm_usBankAccount_success")
        await s.run_at(PAYMENT, "done", count=3)
        await asyncio.to_thread(cashier.api.refunds.create, {"charge": refunded, "amount": 20_000})
        await s.run_at(REFUND, "reconciled")
        await s.quiet()
        await read_books(s)
        assert await controls(s, "payment-in-erp", systems.today) == [*IN_THE_MONTH]
        await cashier.decides(debit, "succeeded")
        await s.run_at(PAYMENT, "done", count=4)
        # Two disputes in part of one charge, one after a refund, and an inquiry, which moves no money.
        first = await cashier.disputes(charge, amount=60_000)
        second = await cashier.disputes(charge, amount=40_000, reason="product_not_received")
        third = await cashier.disputes(refunded, amount=30_000)
        inquiry = await cashier.disputes(doubted, inquiry=True)
        await s.run_at(DISPUTE, "held", count=3)
        assert (await balances(systems))["disputes"] == Decimal("1300.00")
        (fees,) = await of_account(systems, "5100")
        await cashier.decides(first, "won")
        await cashier.decides(second, "lost")
        await cashier.decides(inquiry, "warning_closed")
        await s.run_at(DISPUTE, "reconciled", count=6)
        # The debit comes back: its invoice is owed again, and the fee of the return is booked.
        await cashier.disputes(debit, reason="insufficient_funds")
        await s.run_at(RETURN, "reconciled")
        held, lost, concession, after = await of_account(systems, "1070", "5200", "4810", "5100")
        assert (held, lost, concession) == (Decimal(300), Decimal(0), Decimal(400))
        assert after == fees + 15, "a won dispute keeps its fee, and a returned debit has one of its own"
        async with systems.of_erp() as erp:
            assert Decimal("400.00") in (await erp.open_items()).values()
            await erp.close_period(f"{systems.today:%Y-%m}")
        # A dispute that was held before the close is won after it.
        await until("the closed period", lambda: _closed(s))
        await cashier.decides(third, "won")
        await s.run_at(DISPUTE, "reconciled", count=8)
        await s.quiet()
        await read_books(s)
        assert await controls(s, "payment-in-erp", systems.today) == [*IN_THE_MONTH]
        await no_case(s, "failed")  # the refund without a credit memo
        await s.sound()


async def test_payouts_of_every_kind(systems: Company) -> None:
    """Several payments against one payout, one that the processor collects, and one that comes back from the bank."""
    cashier, twin = Cashier(systems), systems.twin
    twin.control("POST", "config", {"payouts": "daily", "fee_tax": 10})
    async with served(systems, systems.governance(SOON)) as s:
        customer, later = await systems.billed(70_000)  # before the clock of the processor moves on
        charges = [
            (await cashier.paid(minor, "pm_card_bypassPending"))[2] for minor in (20_000, 30_000, 50_000)
        ]
        await s.run_at(PAYMENT, "done", count=3)
        (paid,) = await _paid_out(s, systems, set())
        assert {part["kind"] for part in paid["parts"]} == {"charges", "fees", "fee_tax"}
        # The ledger has the same kinds, read back from the texts of its lines.
        entry, *_ = [
            e.data
            for e in (await s.dump()).events
            if e.type == "erp.entry_posted.v1" and e.data["reference"] == paid["payout_id"]
        ]
        by_kind = itemgetter("kind")
        assert sorted(entry["parts"], key=by_kind) == sorted(paid["parts"], key=by_kind)
        # The processor collects what a refund has taken beyond the balance.
        await asyncio.to_thread(cashier.api.refunds.create, {"charge": charges[0], "amount": 20_000})
        await s.run_at(REFUND, "reconciled")
        (collected,) = await _paid_out(s, systems, {paid["number"]})
        assert collected["amount"].minor == -20_000
        # A payout that arrived and fails comes back as a line of its own, and the next one has its money.
        await cashier.pays(customer, later, "pm_card_bypassPending")
        await s.run_at(PAYMENT, "done", count=4)
        (failed,) = await _paid_out(s, systems, {paid["number"], collected["number"]})
        await cashier.decides(failed["number"], "failed")
        amount = Decimal(failed["amount"].minor) / 100
        systems.bank_books(
            Movement("return", -amount, f"RETURN {failed['number']}", "STRIPE"),
            Movement("fee", Decimal("-12.50"), "Monthly fee"),
        )
        await s.run_at(PAYOUT, "done", count=4)
        await s.run_at(FEE, "done")
        await s.quiet()
        # The processor and the bank are days ahead of a cut-off, so their own books are compared.
        balance = await asyncio.to_thread(systems.twin.json, "GET", "/v1/balance")
        processor = sum(row["amount"] for part in ("available", "pending") for row in balance[part])
        clearing, bank = await of_account(systems, "1050", "1000")
        assert (clearing, bank) == (Decimal(processor) / 100, systems.banks["acme-us", "USD"].balance)
        assert bank > 0
        assert clearing > 0
        await no_case(s, "failed")
        assert Counter(await states(s, "payout-in-erp")) == {FoilState.MATCHED: 4}, await s.report()
        await s.sound()


async def _paid_out(s: Served, systems: Company, former: set[str]) -> list[dict[str, Any]]:
    """Let a day pass, so that the processor pays out; the bank books it, and its Run ends."""
    await asyncio.to_thread(systems.twin.control, "POST", "clock", {"advance": DAY_SECONDS})
    payouts: Sequence[Any] = [
        one for one in await asyncio.to_thread(systems.twin.all, "payouts") if one["id"] not in former
    ]
    for one in payouts:
        await Cashier(systems).decides(one["id"], "paid")
        systems.bank_books(
            Movement("payout", Decimal(one["amount"]) / 100, f"STRIPE TRANSFER {one['id']}", "STRIPE")
        )
    await s.run_at(PAYOUT, "done", count=len(former) + len(payouts))
    events = [e.data for e in (await s.dump()).events if e.type == "payout.changed.v1"]
    return [next(e for e in events if e["number"] == one["id"] and e["status"] == "paid") for one in payouts]


async def _closed(s: Served) -> bool:
    return any(event.type == "period.closed.v1" for event in (await s.dump()).events)
