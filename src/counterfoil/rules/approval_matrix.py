"""Approval matrices: the roles that must approve an amount, and the subject that they approve."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_UP, Decimal
from typing import Any

from counterfoil.core import wire
from counterfoil.core.money import Money, exponent
from counterfoil.model.definition import ApprovalPolicy, ApprovalTier, LimitPolicy
from counterfoil.rules.templates import Lookup, UnusableValue, key, names_with


def in_currency(amount: Money, currency: str, rates: str | None, lookup: Lookup) -> int | None:
    """Return the amount in minor units of `currency`, rounded away from zero: rounding never passes below a threshold.

    None if there is no rate. Rates come from the table `rates`, by currency pair `EUR/USD`, as text: units of the
    second currency per unit of the first.
    """
    if amount.currency == currency:
        return amount.minor
    if rates is None:
        return None
    pair = f"{amount.currency}/{currency}"
    rate = lookup("table", (rates, pair))
    if rate is None:
        return None
    try:
        factor = Decimal(rate)
    except (ArithmeticError, TypeError, ValueError):
        raise UnusableValue(f"the rate {pair} in {rates} is not a number: {rate!r}") from None
    if not factor.is_finite() or factor <= 0:
        raise UnusableValue(f"the rate {pair} in {rates} is not a positive number: {rate!r}")
    return int((amount.major() * factor).scaleb(exponent(currency)).to_integral_value(ROUND_UP))


def tier_for(policy: ApprovalPolicy, minor: int) -> ApprovalTier | None:
    """Return the tier for an amount in the policy's currency, without its sign; None above the last tier."""
    return next((t for t in policy.tiers if t.up_to is None or abs(minor) <= t.up_to), None)


def refused_sign(policy: ApprovalPolicy | LimitPolicy, amount: Money | None) -> str | None:
    """Return why a policy refuses the sign of an amount; None if it does not."""
    if amount is None or amount.minor >= 0 or policy.negative:
        return None
    return f"{amount} is negative, and the policy {policy.name} allows no negative amount"


def subject_of(policy: ApprovalPolicy, covers: Mapping[str, Any], target: str) -> str:
    """Return the digest that an approval is bound to: covered values, content of the matrix, and target."""
    return wire.digest({"covers": dict(covers), "matrix": policy.digest, "target": target})


def guard_key(policy: LimitPolicy, names: Mapping[str, Any], on: date, lookup: Lookup | None) -> str:
    """Return the key of the guard row of a limit without the legal entity: its `per` values joined."""
    quarter = f"{on.year}-Q{(on.month - 1) // 3 + 1}"
    moments = {"month": f"{on:%Y-%m}", "quarter": quarter, "day": on.isoformat()}
    data = names["event"]["data"] if "event" in names else {}
    scope = names_with(names, {**data, **moments, **names})
    return "/".join(key(e, scope, lookup) for e in policy.per)
