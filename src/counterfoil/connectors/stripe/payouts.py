"""Parts of an automatic payout: its balance transactions, added up by kind and currency.

Source: docs.stripe.com/reports/reporting-categories and docs.stripe.com/reports/payout-reconciliation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Json
from counterfoil.connectors.stripe.client import StripeClient
from counterfoil.connectors.stripe.currencies import CURRENCIES
from counterfoil.core.errors import ErrorClass, Refused, TryAgain

_KINDS = {
    "charge": "charges",
    "charge_failure": "charges",
    "refund": "refunds",
    "refund_failure": "refunds",
    "partial_capture_reversal": "refunds",
    "dispute": "disputes",
    "dispute_reversal": "dispute_reversals",
    "fee": "fees",
    "network_cost": "fees",
    "tax": "fee_tax",
    "risk_reserved_funds": "reserves",
    "connect_reserved_funds": "reserves",
    "payout_minimum_balance_hold": "reserves",
    "payout_minimum_balance_release": "reserves",
    "currency_conversion": "conversion",
}
"""Kind of part by `reporting_category`. All others are adjustments, such as the money of an earlier payout that failed."""
_TYPES = {
    "tax_fee": "fee_tax",
    "reserved_funds": "reserves",
    "reserve_transaction": "reserves",
    "reserve_hold": "reserves",
    "reserve_release": "reserves",
}
"""Kind of part by `type`, where the category is wider or differs between versions of the API."""
_FEES = {"tax": "fee_tax", "withheld_tax": "adjustments"}
"""Kind of part by the type of a fee detail. All others are fees."""
_PAYOUT_STEPS = {"huf": 100, "twd": 100}
"""Steps in minor units of payouts only. The rest stays in the balance."""


async def with_parts(client: StripeClient, payout: dict[str, Json], by: Deadline) -> dict[str, Json]:
    """Return a payout with `manual` and `parts`.

    Raises TryAgain while the vendor still assigns transactions to the payout, and Refused if they do not add up to it.
    """
    parts: Counter[tuple[str, str]] = Counter()
    if payout["automatic"]:
        async for row in client.rows("/v1/balance_transactions", {"payout": payout["id"]}, by):
            if row["source"] != payout["id"]:
                for kind, amount in parts_of(row):
                    parts[kind, row["currency"]] += amount
        add_rest(payout, parts)
    listed = [
        {"kind": kind, "amount": amount, "currency": code}
        for (kind, code), amount in sorted(parts.items())
        if amount
    ]
    return {**payout, "manual": not payout["automatic"], "parts": listed}


def parts_of(transaction: Mapping[str, Json]) -> Iterator[tuple[str, int]]:
    """Yield kind and amount of each part of a balance transaction. They add up to its `net`."""
    kind = _TYPES.get(transaction["type"]) or _KINDS.get(transaction["reporting_category"], "adjustments")
    yield kind, transaction["amount"]
    left = transaction["fee"]
    for fee in transaction["fee_details"]:
        left -= fee["amount"]
        yield _FEES.get(fee["type"], "fees"), -fee["amount"]
    yield "fees", -left


def add_rest(payout: Mapping[str, Json], parts: Counter[tuple[str, str]]) -> None:
    """Add what a payout leaves in the balance, or takes from it, because of the step of its currency."""
    code = payout["currency"]
    rest = payout["amount"] - sum(parts.values())
    unit = CURRENCIES.get(code.upper())
    if abs(rest) < _PAYOUT_STEPS.get(code, unit.multiple_of if unit else 1):
        parts["reserves", code] += rest
        return
    message = f"the transactions of payout {payout['id']} differ from its amount by {rest} {code}"
    if payout["reconciliation_status"] == "in_progress":
        raise TryAgain(message)
    raise Refused(message, ErrorClass.INVALID, "parts")
