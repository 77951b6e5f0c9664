"""A consumer asks what a workflow would decide: its own rules answer, and nothing is written."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.entity_scope import EntityScope
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter
from counterfoil.flow.gateway.calls import CallRefused, OperationRequest, ReadAnswer, StoredReply
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.intake.load_shedding import Intake
from tests.unit.rules.acme import acme, link, requested, usd
from tests.unit.rules.driver import Play

PREVIEW = "support.credit.preview"
SLA = {
    "availability_rate": Decimal("0.999"),
    "claim_days": 30,
    "monthly_cap_rate": Decimal("0.6"),
    "tiers": [{"below_rate": Decimal("0.999"), "credit_rate": Decimal("0.5")}],
}


async def company(total: int = 1100, **invoice: Any) -> Play:
    """Acme with an invoice of which 1,000 are the fee of a month, a contract and a measured incident."""
    play = await acme()
    state = {
        "customer_id": "cus1",
        "number": "INV-1",
        "status": "open",
        "currency": "USD",
        "document_date": date(2026, 1, 5),
        "net": usd(1000),
        "tax": usd(total - 1000),
        "total": usd(total),
        "open": usd(total),
        "service_fee": usd(1000),
    }
    await play.head("invoice", "inv1", **{**state, **invoice})
    await play.head(
        "ticket", "t1", title="Down", status="open", requested_by="ann", customer_ref="cus_1", amount=None
    )
    await link(play, "contract", "k1", "crm", "cus_1")
    terms = {"number": "K-1", "currency": "USD", "term_start": date(2025, 1, 1), "zone": "America/New_York"}
    await play.head("contract", "k1", customer_id="cus1", sla=SLA, **terms)
    await link(play, "incident", "m1", "monitoring", "inc-cr1")
    failed_at = play.now - timedelta(days=2)
    await play.head("incident", "m1", service="cloud", failed_at=failed_at, downtime=timedelta(hours=10))
    return play


async def ask(play: Play, roles: tuple[str, ...] = ("support-agent",), **changes: Any) -> Any:
    body = {
        "ticket_id": "t1",
        "customer_id": "cus1",
        "invoice_id": "inv1",
        "reason": "sla",
        "incident_id": "inc-cr1",
        "incident_on": "2026-01-03",
        "requested_by": "ann",
        **changes,
    }
    outcomes: list[Any] = []

    def render(outcome: Any) -> StoredReply:
        outcomes.append(outcome)
        return StoredReply(status=200, headers={}, body=b"{}")

    releases = Releases(play.store, play.model)
    gateway = Gateway(play.store, releases, play.systems, ConcurrencyLimiter("w/1", {}), Intake(play.store))
    request = OperationRequest(
        consumer="ann",
        roles=roles,
        operation=PREVIEW,
        key=f"key-{play.now.isoformat()}-{len(play.store.tables.receipts)}",
        input=body,
        body=b"{}",
        headers={},
        correlation="c",
        scope=EntityScope(),
    )
    await gateway.call(request, render)
    (outcome,) = outcomes
    assert isinstance(outcome, ReadAnswer), outcome
    return outcome.output


async def test_the_terms_of_the_contract_are_answered_with_all_that_follows() -> None:
    play = await company()
    before = len(play.runs()), len(play.approvals())
    assert await ask(play) == {
        "eligible": True,
        "amount": usd(550),
        "net": usd(500),
        "tax": usd(50),
        "cap_left": usd(660),
        "tier": "support-lead",
        "decides": ["support-lead"],
        "posting_period": "2026-01",
        "period_state": "open",
    }
    assert (len(play.runs()), len(play.approvals())) == before
    assert play.used("contract-month-credit") == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"incident_id": "inc-9"}, "monitoring has measured no incident inc-9"),
        ({"amount": {"minor": 100, "currency": "EUR"}}, "the invoice is in USD"),
    ],
)
async def test_a_refusal_has_its_reason(changes: dict[str, Any], reason: str) -> None:
    answer = await ask(await company(), **changes)
    assert (answer["eligible"], answer["reason"], answer["decides"]) == (False, reason, [])


async def test_a_draft_is_answered_like_an_issued_invoice() -> None:
    of_draft, of_issued = await ask(await company(status="draft")), await ask(await company())
    assert of_draft == of_issued | {"lowers_draft": True}
    assert (await ask(await company(status="draft"), reason="goodwill"))["tax"] == usd(0)


async def test_a_wish_below_the_terms_is_automatic() -> None:
    small = await ask(await company(), amount={"minor": 9900, "currency": "USD"})
    assert (small["amount"], small["tier"], small["decides"]) == (usd(99), "automatic", [])


async def test_what_was_granted_before_counts() -> None:
    play = await company()
    await play.person("ann", "support-agent")
    await requested(play, amount=90)
    answer = await ask(play)
    assert (answer["eligible"], answer["reason"]) == (False, "the incident has its credit already")


async def test_a_role_that_may_not_call_it_learns_nothing() -> None:
    with pytest.raises(CallRefused):
        await ask(await company(), roles=("portal",))
