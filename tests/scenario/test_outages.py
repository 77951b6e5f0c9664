"""What the systems do wrong: they are down, slow to answer, refuse for a while, or do not show what they owe."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from counterfoil.core.effect import EffectState
from counterfoil.core.foil import FoilState
from tests.companies.acme import SOON, Company
from tests.crash.rounds import BRIEF
from tests.served import CREDIT, INVOICE, Served, served, until

OWED_AT_ONCE = {
    "reconciliations.yaml": [
        ("gross: event.data.total}\n  due: +2d", "gross: event.data.total}\n  due: +4s"),
    ]
}


async def _effect(s: Served, operation: str, attempts: int) -> object:
    for effect in (await s.dump()).effects:
        if effect.operation == operation and effect.attempt >= attempts:
            return effect
    return None


async def test_an_invoice_waits_for_an_erp_that_is_down_and_is_posted_once(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, BRIEF)) as s:
        customer = await asyncio.to_thread(systems.customer)
        await s.run_at("customer-sync", "done")
        systems.erp.stop()
        await asyncio.to_thread(systems.invoice, customer)
        await until("three attempts", lambda: _effect(s, "erp.invoice.post", 3))
        systems.erp.up()
        await s.run_at(INVOICE, "done")
        await s.sound()


async def test_a_reply_waits_for_a_help_desk_that_is_down_and_is_made_once(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, BRIEF)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        ticket = await systems.ask_credit(customer, invoice, "200.00", "inc-1")
        approval = await s.open_approval()
        systems.desk.stop()
        assert await s.vote(approval, "lead") == "granted"
        await until("two attempts", lambda: _effect(s, "support.ticket.reply", 2))
        (run,) = await s.runs(CREDIT)
        assert run.state == "applied"
        systems.desk.up()
        await s.run_at(CREDIT, "done")
        assert len((await systems.ticket(ticket))["messages"]) == 1
        await s.sound()


async def test_billing_that_asks_for_patience_is_asked_again_after_the_time_it_named(
    systems: Company,
) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        systems.twin.fault(
            "rate_limit", match={"method": "POST", "path": "/v1/credit_notes"}, retry_after=3, times=2
        )
        await systems.ask_credit(customer, invoice, "50.00", "inc-1")
        await s.run_at(CREDIT, "done")
        (memo,) = [e for e in (await s.dump()).effects if e.operation == "billing.credit_memo.issue"]
        assert memo.attempt == 3
        assert memo.ended_at is not None
        assert (memo.ended_at - memo.created_at).total_seconds() >= 6
        await s.sound()


async def test_a_memo_that_billing_made_although_it_failed_to_say_so_is_found_and_not_made_again(
    systems: Company,
) -> None:
    async with served(systems, systems.governance(SOON, BRIEF)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        systems.twin.fault(
            "status", match={"method": "POST", "path": "/v1/credit_notes"}, status=500, commit=True
        )
        await systems.ask_credit(customer, invoice, "50.00", "inc-1")
        await s.run_at(CREDIT, "done")
        await s.sound()


async def test_a_memo_whose_request_was_lost_is_asked_for_again_under_the_same_key(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, BRIEF)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        systems.twin.fault("drop_before_commit", match={"method": "POST", "path": "/v1/credit_notes"})
        await systems.ask_credit(customer, invoice, "50.00", "inc-1")
        await s.run_at(CREDIT, "done")
        memos = [e for e in (await s.dump()).effects if e.operation == "billing.credit_memo.issue"]
        assert [(e.gen, e.attempt, e.state) for e in memos] == [(0, 2, EffectState.CONFIRMED)]
        await s.sound()


async def test_what_the_erp_owes_past_its_time_is_a_break_and_is_matched_when_it_shows(
    systems: Company,
) -> None:
    async with served(systems, systems.governance(SOON, BRIEF, OWED_AT_ONCE)) as s:
        customer = await asyncio.to_thread(systems.customer)
        await s.run_at("customer-sync", "done")
        systems.erp.stop()
        await asyncio.to_thread(systems.invoice, customer)
        case = await s.case("foil_broken")
        assert case.owner == "finance-operations"
        (foil,) = (await s.dump()).foils
        assert (foil.id, foil.state) == (case.foil, FoilState.BROKEN)
        systems.erp.up()

        async def matched() -> bool:
            return [f.state for f in (await s.dump()).foils] == [FoilState.MATCHED]

        try:
            await until("the match", matched)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await s.report()}") from error
        await s.run_at(INVOICE, "done")
        await s.sound()


async def test_a_credit_on_a_paid_invoice_goes_to_the_balance_and_is_not_applied(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        await asyncio.to_thread(systems.stripe.invoices.pay, invoice, {"paid_out_of_band": True})

        async def paid() -> bool:
            return [h.state["status"] for h in (await s.dump()).heads if h.object == "invoice"] == ["paid"]

        await until("the payment", paid)
        await systems.ask_credit(customer, invoice, "50.00", "inc-1")
        (run,) = await s.run_at(CREDIT, "done")
        dump = await s.dump()
        assert "erp.credit.apply" not in {e.operation for e in dump.effects}
        async with systems.of_erp() as erp:
            (memo,) = await erp.invoices(run.bkey)
        assert memo["amount_to_pay"] == Decimal("-50.00")
        balance = (await asyncio.to_thread(systems.stripe.customers.retrieve, customer)).balance
        assert balance == -5000
        await s.sound()
