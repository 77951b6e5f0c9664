"""Parts of a Stripe payout, from balance transactions as the vendor shows them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from counterfoil.connectors.stripe.payouts import add_rest, parts_of
from counterfoil.core.errors import Refused, TryAgain


def transaction(category: str, amount: int, *fees: tuple[str, int], fee: int | None = None) -> dict[str, Any]:
    details = [{"type": type, "amount": part} for type, part in fees]
    charged = sum(part for _, part in fees) if fee is None else fee
    return {
        "type": category, "reporting_category": category, "amount": amount, "fee": charged, "net": amount - charged,
        "fee_details": details,
    }  # fmt: skip


def parts(row: dict[str, Any]) -> dict[str, int]:
    sums = Counter[str]()
    for kind, amount in parts_of(row):
        sums[kind] += amount
    assert sum(sums.values()) == row["net"]
    return {kind: amount for kind, amount in sums.items() if amount}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (transaction("charge", 1000, ("stripe_fee", 59)), {"charges": 1000, "fees": -59}),
        (
            transaction("charge", 1000, ("stripe_fee", 50), ("tax", 9), ("withheld_tax", 20)),
            {"charges": 1000, "fees": -50, "fee_tax": -9, "adjustments": -20},
        ),
        (transaction("charge", 1000, fee=59), {"charges": 1000, "fees": -59}),
        (transaction("charge_failure", -1000), {"charges": -1000}),
        (transaction("refund_failure", 300), {"refunds": 300}),
        (transaction("dispute", -1000, ("stripe_fee", 1500)), {"disputes": -1000, "fees": -1500}),
        (transaction("dispute_reversal", 1000), {"dispute_reversals": 1000}),
        (
            transaction("dispute_reversal", 1000, ("stripe_fee", -1500)),
            {"dispute_reversals": 1000, "fees": 1500},
        ),
        (transaction("fee", -200), {"fees": -200}),
        (transaction("tax", -38), {"fee_tax": -38}),
        ({**transaction("fee", -38), "type": "tax_fee"}, {"fee_tax": -38}),
        ({**transaction("new", -38), "type": "reserve_hold"}, {"reserves": -38}),
        (transaction("risk_reserved_funds", -5000), {"reserves": -5000}),
        (transaction("currency_conversion", -70), {"conversion": -70}),
        (transaction("payout_reversal", 900), {"adjustments": 900}),
        (transaction("a category of next year", 1), {"adjustments": 1}),
    ],
)
def test_a_transaction_has_parts_that_add_up_to_its_net(
    row: dict[str, Any], expected: dict[str, int]
) -> None:
    assert parts(row) == expected


def payout(amount: int, currency: str, status: str) -> dict[str, Any]:
    return {"id": "po_1", "amount": amount, "currency": currency, "reconciliation_status": status}


def test_a_payout_whose_transactions_are_not_assigned_yet_is_read_again() -> None:
    with pytest.raises(TryAgain):
        add_rest(payout(900, "eur", "in_progress"), Counter({("charges", "eur"): 800}))


def test_parts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(Refused, match="differ from its amount by 1 eur"):
        add_rest(payout(900, "eur", "completed"), Counter({("charges", "eur"): 899}))


@pytest.mark.parametrize(("currency", "rest"), [("huf", 99), ("isk", -99), ("kwd", 9)])
def test_the_rest_below_a_step_is_reserved(currency: str, rest: int) -> None:
    sums = Counter({("charges", currency): 1000 - rest})
    add_rest(payout(1000, currency, "completed"), sums)
    assert sums["reserves", currency] == rest
    with pytest.raises(Refused):
        add_rest(payout(1000, currency, "completed"), Counter({("charges", currency): 900}))
