"""Accruals of credits on the real ERP: at a soft lock, once for each credit and period, and taken back on the first day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

import pytest

from counterfoil.core.matching import FoilState
from counterfoil.demo.erp.charts import DOLLARS_PER_EURO
from tests.companies.acme import SOON, Company, Edits
from tests.scenario.test_cash import states
from tests.scenario.test_operations import ask
from tests.served import CREDIT, INVOICE, Served, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

ACCRUAL, LOCK = "credit-accrual", "erp.period.soft_lock"
AT_ONCE: Edits = {
    "workflows/credit-accrual.yaml": [
        ("until: +2m", "until: +1s"),
        # Time to stop the server between the accrual and its reversal.
        ("  - id: reversal\n", "  - wait: {until: +4s}\n  - id: reversal\n"),
    ],
    "policies/policies.yaml": [("rule: hold_for_reopen", "rule: accrue_and_true_up")],
}


def next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


async def balances(systems: Company, day: date) -> Mapping[str, Decimal]:
    """Return service credits and accrued credits in the ledger at the end of a day, debit less credit."""
    async with systems.of_erp() as erp:
        every = await erp.trial_balance(day)
    return {code: every.get(code, Decimal(0)) for code in ("4800", "2450")}


async def lock(s: Served, opens: date, day: date) -> str:
    """Lock the period that begins on a day, as the controller, and return the state in which the Run ended."""
    periods = (
        e.data
        for e in (await s.dump()).events
        if e.type == "period.opened.v1" and e.legal_entity == "acme-us"
    )
    (period_id,) = {period["period_id"] for period in periods if period["start"] == opens}
    body = {"legal_entity": "acme-us", "period_id": period_id, "locked_on": day.isoformat()}
    answer = await ask(s.company, "carl", LOCK, body, f"lock-{day}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["state"])


async def test_unposted_credits_are_accrued_once_and_taken_back(systems: Company) -> None:
    opens, day = systems.today.replace(day=1), systems.today
    first = next_month(day)
    last = first - timedelta(days=1)
    folder = systems.governance(SOON, AT_ONCE)
    async with served(systems, folder) as s:
        assert (await ask(systems, "fiona", LOCK, {}, "no")).status_code == 404
        customer, invoice = await systems.billed()
        euros, in_euros = await systems.billed(currency="eur")
        await s.run_at(INVOICE, "done", count=2)
        await systems.ask_credit(customer, invoice, "30.00", "inc-1")
        await s.run_at(ACCRUAL, "posted")
        await systems.ask_credit(customer, invoice, "250.00", "inc-2")
        await systems.ask_credit(euros, in_euros, "333.33", "inc-3", currency="EUR")
        await s.run_at(ACCRUAL, "unposted", count=2)
        assert await lock(s, opens, day) == "locked"
        # Again, before the accruals are taken back: it is locked, and nothing follows.
        assert await lock(s, opens, day + timedelta(days=1)) == "refused"
        await s.run_at(ACCRUAL, "accrued", count=2)
    async with served(systems, folder) as s:
        await s.run_at(ACCRUAL, "reconciled", count=2)
        rate = Decimal(DOLLARS_PER_EURO[last.month - 1])
        accrued = Decimal("150.00") + (Decimal("200.00") * rate).quantize(Decimal("0.01"))
        assert await balances(systems, last) == {"4800": Decimal("30.00") + accrued, "2450": -accrued}
        assert await balances(systems, first) == {"4800": Decimal("30.00"), "2450": 0}
        assert await states(s, "accrual-reversed") == [FoilState.MATCHED] * 4
        # One of them is rejected. The other is posted on the first open day, and is not accrued again.
        approvals = {
            a.amount.currency: a for a in (await s.dump()).approvals if a.state == "open" and a.amount
        }
        assert await s.vote(approvals["EUR"], "lead", approve=False) == "rejected"
        await s.run_at(ACCRUAL, "rejected")
        assert await s.vote(approvals["USD"], "lead") == "granted"
        await s.run_at(CREDIT, "done", count=3)
        await until("the end of accruals", lambda: _ended(s))
        assert (await balances(systems, last))["4800"] == Decimal("30.00") + accrued
        assert await balances(systems, first) == {"4800": Decimal("280.00"), "2450": 0}
        assert await lock(s, first, first + timedelta(days=1)) == "locked"
        await s.quiet()
        references = [e.data["reference"] for e in (await s.dump()).events if e.type == "erp.entry_posted.v1"]
        assert len([each for each in references if "/accrual/" in each]) == 4
        await s.sound()


async def _ended(s: Served) -> bool:
    return {str(run.status) for run in await s.runs(ACCRUAL)} == {"done"}
