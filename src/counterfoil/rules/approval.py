"""Approval matrices: who must agree to an amount, and what exactly they agree to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Any

from counterfoil.core import wire
from counterfoil.core.money import Money, exponent
from counterfoil.model.definition import ApprovalPolicy, ApprovalTier, LimitPolicy
from counterfoil.rules.templates import Lookup, UnusableValue, key


def in_currency(amount: Money, currency: str, rates: str | None, lookup: Lookup) -> int | None:
    """Minor units of `currency` that an amount is worth, rounded up: a threshold is never slipped
    under by rounding. None when no rate is known.

    Rates come from the table `rates`, keyed by currency pair `EUR/USD`, as units of the second per first;
    a table's file gives them as text.
    """
    if amount.currency == currency:
        return amount.minor
    if rates is None:
        return None
    rate = lookup("table", (rates, f"{amount.currency}/{currency}"))
    if rate is None:
        return None
    try:
        factor = Decimal(rate)
    except (ArithmeticError, TypeError, ValueError):
        raise UnusableValue(
            f"the rate {amount.currency}/{currency} in {rates} is no number but {rate!r}"
        ) from None
    if not factor.is_finite() or factor <= 0:
        raise UnusableValue(f"the rate {amount.currency}/{currency} in {rates} is {rate!r}")
    major = amount.major() * factor
    places = exponent(currency)
    return int(major.scaleb(places).to_integral_value(ROUND_CEILING))


def tier_for(policy: ApprovalPolicy, minor: int) -> ApprovalTier | None:
    """The tier for an amount in the policy's currency; None above an ended matrix."""
    return next((t for t in policy.tiers if t.up_to is None or minor <= t.up_to), None)


def subject_of(policy: ApprovalPolicy, covers: Mapping[str, Any], target: str) -> str:
    """What an approval is bound to: the covered values, the matrix's content, and what it is for."""
    return wire.digest({"covers": dict(covers), "matrix": policy.digest, "target": target})


def guard_key(policy: LimitPolicy, names: Mapping[str, Any], on: date, lookup: Lookup | None) -> str:
    """The guard row on which a limit counts: its `per` values joined."""
    moments = {
        "month": f"{on:%Y-%m}",
        "quarter": f"{on.year}-Q{(on.month - 1) // 3 + 1}",
        "day": on.isoformat(),
    }
    data = names["event"]["data"] if "event" in names else {}
    scope = {**data, **moments, **names}
    return "/".join(key(e, scope, lookup) for e in policy.per)
