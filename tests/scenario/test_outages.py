"""Faults of the systems: they are down, limit the rate, lose requests or responses, or do not show a document."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from tests.companies.acme import SOON, Company
from tests.crash.rounds import BRIEF
from tests.gateways import LateGateway
from tests.served import CREDIT, INVOICE, Served, served, until

OWED_AT_ONCE = {
    "reconciliations.yaml": [
        (
            "effective: event.data.document_date\n    due: +2d",
            "effective: event.data.document_date\n    due: +4s",
        ),
    ]
}


async def _effect(s: Served, operation: str, attempts: int) -> object:
    for effect in (await s.dump()).effects:
        if effect.operation == operation and effect.attempt >= attempts:
            return effect
    return None


async def test_an_invoice_waits_while_the_erp_is_down_and_is_posted_once(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, BRIEF)) as s:
        customer = await asyncio.to_thread(systems.customer)
        await s.run_at("customer-sync", "done")
        systems.erp.stop()
        await asyncio.to_thread(systems.invoice, customer)
        await until("three attempts", lambda: _effect(s, "erp.invoice.post", 3))
        systems.erp.up()
        await s.run_at(INVOICE, "done")
        await s.sound()


async def test_a_reply_waits_while_the_help_desk_is_down_and_is_sent_once(systems: Company) -> None:
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


async def test_a_rate_limited_call_to_billing_is_sent_again_after_its_retry_after(
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


async def test_a_memo_that_billing_created_with_an_error_response_is_found_and_not_created_again(
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


async def test_a_lost_request_for_a_memo_is_sent_again_under_the_same_key(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, BRIEF)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        systems.twin.fault("drop_before_commit", match={"method": "POST", "path": "/v1/credit_notes"})
        await systems.ask_credit(customer, invoice, "50.00", "inc-1")
        await s.run_at(CREDIT, "done")
        memos = [e for e in (await s.dump()).effects if e.operation == "billing.credit_memo.issue"]
        assert [(e.gen, e.attempt, e.state) for e in memos] == [(0, 2, EffectState.CONFIRMED)]
        await s.sound()


async def test_an_overdue_posting_in_the_erp_is_a_break_and_is_matched_when_it_appears(
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


async def test_a_request_that_the_erp_receives_after_its_horizon_ends_in_a_case(systems: Company) -> None:
    """The late request leaves a second draft under our reference. Whoever posts it makes the invoice `over`."""
    folder = systems.governance(SOON, BRIEF)
    async with LateGateway(systems.erp.port) as gateway:
        systems.erp_url = f"http://127.0.0.1:{gateway.port}"
        async with served(systems, folder) as s, systems.of_erp() as erp:
            customer = await asyncio.to_thread(systems.customer)
            await s.run_at("customer-sync", "done")
            path = f"/{systems.erp_seed['database']}/rest/model/account.invoice"
            gateway.hold = f"POST {path} ".encode()
            await asyncio.to_thread(systems.invoice, customer)
            (run,) = await s.run_at(INVOICE, "done")
            assert len(gateway.held) == 1
            posts = [e for e in (await s.dump()).effects if e.operation == "erp.invoice.post"]
            assert [(e.gen, e.state) for e in posts] == [(0, EffectState.ABSENT), (1, EffectState.CONFIRMED)]

            assert (await gateway.deliver()).split()[1] == b"200"
            posted, draft = await erp.invoices(run.bkey)
            assert (posted["state"], draft["state"]) == ("posted", "draft")
            await erp.act("account.invoice", draft["id"], "post")
            case = await s.case("foil_over")
            (foil,) = (await s.dump()).foils
            assert (foil.id, foil.state) == (case.foil, FoilState.OVER)
