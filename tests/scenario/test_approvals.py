"""The approver of a credit depends on its currency, earlier credits, changes of the request, and the requester."""

from __future__ import annotations

import json
from decimal import Decimal

from counterfoil.core.money import Money
from tests.companies.acme import SOON, Company
from tests.served import CREDIT, INVOICE, Served, served, until


async def test_a_credit_in_euros_takes_the_tier_of_its_value_in_dollars(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed(currency="eur")
        await s.run_at(INVOICE, "done")
        await systems.ask_credit(customer, invoice, "92.00", "inc-1", currency="EUR")
        await s.run_at(CREDIT, "done")  # 99.36 USD: up to 100 no approval is needed
        other, invoice = await systems.billed(currency="eur")
        await s.run_at(INVOICE, "done", 2)
        await systems.ask_credit(other, invoice, "95.00", "inc-2", currency="EUR")
        approval = await s.open_approval()  # 102.60 USD
        assert approval.roles == ("support-lead",)
        assert await s.vote(approval, "lead") == "granted"
        await s.run_at(CREDIT, "done", 2)
        await s.sound()


async def test_splitting_a_credit_does_not_avoid_the_higher_approver(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed(300_000)
        await s.run_at(INVOICE, "done")
        await systems.ask_credit(customer, invoice, "60.00", "inc-1")
        await s.run_at(CREDIT, "done")
        await systems.ask_credit(customer, invoice, "60.00", "inc-2")
        second = await s.open_approval()
        assert second.roles == ("support-lead",)
        assert await s.vote(second, "lead") == "granted"
        await s.run_at(CREDIT, "done", 2)
        await systems.ask_credit(customer, invoice, "880.01", "inc-3")
        third = await s.open_approval()
        assert third.roles == ("finance-operations",)
        assert await s.vote(third, "lead") == "role"
        assert await s.vote(third, "fiona") == "granted"
        await s.run_at(CREDIT, "done", 3)
        used = [guard.used for guard in (await s.dump()).guards if "customer-quarter-credit" in guard.scope]
        assert used == [100_001]
        await s.sound()


async def test_a_changed_amount_needs_a_new_approval(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed(300_000)
        await s.run_at(INVOICE, "done")
        ticket = await systems.ask_credit(customer, invoice, "200.00", "inc-1")
        first = await s.open_approval()
        assert first.roles == ("support-lead",)
        async with systems.at_desk() as desk:
            await desk.update(ticket, credit_amount="1500.00")

        async def changed() -> bool:
            return Money(150_000, "USD") in [h.state.get("amount") for h in (await s.dump()).heads]

        await until("the changed ticket", changed)
        await s.vote(first, "lead")  # this vote covers the old amount

        async def replaced() -> bool:
            open_ = [a for a in (await s.dump()).approvals if a.state == "open"]
            return bool(open_) and open_[0].id != first.id

        await until("another approval", replaced)
        assert await _memos(s) == []
        second = await s.open_approval()
        assert (second.amount, second.roles) == (Money(150_000, "USD"), ("finance-operations",))
        assert await s.vote(second, "lead") == "role"
        assert await s.vote(second, "fiona") == "granted"
        (run,) = await s.run_at(CREDIT, "done")
        async with systems.of_erp() as erp:
            assert [d["total_amount"] for d in await erp.invoices(run.bkey)] == [Decimal("-1500.00")]
        await s.sound()


async def test_the_requester_may_not_approve(systems: Company) -> None:
    people = systems.home / "people.json"
    persons = json.loads(people.read_text())
    second = {"id": "lead2", "name": "Lead Two", "email": "lead2@acme.example", "roles": ["support-lead"]}
    for person in persons:
        if person["id"] == "lead":
            person["roles"].append("support-agent")
    people.write_text(json.dumps([*persons, second]))
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        await systems.ask_credit(customer, invoice, "200.00", "inc-1", user="lead")
        approval = await s.open_approval()
        assert await s.vote(approval, "lead") == "requester"
        assert await _memos(s) == []
        assert await s.vote(approval, "lead2") == "granted"
        await s.run_at(CREDIT, "done")
        await s.sound()


async def _memos(s: Served) -> list[str]:
    return [e.operation for e in (await s.dump()).effects if e.operation.startswith("billing.")]


async def test_a_rejected_credit_leaves_no_trace_in_billing_and_erp(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        ticket = await systems.ask_credit(customer, invoice, "200.00", "inc-1")
        assert await s.vote(await s.open_approval(), "lead", approve=False) == "rejected"
        await s.run_at(CREDIT, "done")
        assert (await systems.ticket(ticket))["status"] == "credit-rejected"
        assert await _memos(s) == []
        assert all(guard.used == 0 for guard in (await s.dump()).guards if "quarter" in guard.scope)
        await s.sound()
