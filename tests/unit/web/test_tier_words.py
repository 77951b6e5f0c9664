"""Why the roles of an approval decide: by the policy with the overlays of its legal entity."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from counterfoil.application import Application
from counterfoil.core.approval import Approval
from counterfoil.core.money import Money
from counterfoil.rules.workflow.state import RunState
from counterfoil.web.api import tier_words as words
from counterfoil.web.api.names import tier_text
from tests.companies.recorded import acme

AT = datetime(2026, 11, 30, tzinfo=UTC)


def asked(policy: str, amount: Money, entity: str, *roles: str) -> Approval:
    return Approval(
        id="appr_1", run="run_1", path="credited", policy=policy, subject="s", covers=b"{}", amount=amount,
        roles=roles, quorum=1, requester="fay", expires=AT, created_at=AT, entity=entity,
    )  # fmt: skip


@pytest.mark.parametrize(("entity", "currency"), [("acme-de", "EUR"), ("acme-us", "USD"), ("", "USD")])
def test_the_reason_is_in_the_currency_in_which_the_amount_was_judged(entity: str, currency: str) -> None:
    approval = asked("invoice-review", Money(3_000_000, currency), entity, "finance-operations")
    model = acme().at(entity or acme().default_entity, AT.date())
    assert tier_text(model, approval) == f"over 25,000 {currency}"


@pytest.mark.parametrize(("entity", "currency"), [("acme-de", "EUR"), ("acme-us", "USD")])
async def test_earlier_amounts_are_in_the_currency_of_the_limit_of_the_legal_entity(
    entity: str, currency: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = SimpleNamespace(scope="customer-quarter-credit", key="q4", step="credited", amount=5_000)
    state = cast(RunState, SimpleNamespace(reserved={"credited": guard}))
    monkeypatch.setattr(words, "load", lambda _: state)

    class Store:
        async def load(self, run: str) -> Any:
            return SimpleNamespace(run=SimpleNamespace(ctx=b""))

        async def guard_used(self, scope: str, key: str) -> int:
            return 58_000

        async def heads_of(self, *_: Any) -> list[Any]:
            return []

    app = cast(Application, SimpleNamespace(model=acme(), store=Store()))
    approval = asked("service-credit", Money(5_000, currency), entity, "support-lead")
    text = await words.tier_words(app, approval)
    assert (
        text
        == f"over 100 {currency} up to 1,000 {currency}, counted with 530.00 {currency} of earlier ones: q4"
    )
