"""Causes of a difference between two amounts: sign, currency, rounding, fee and tax, or none of them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Literal, NamedTuple, TypeAlias

from counterfoil.reconcile.entries import BookEntry, decimals_of

Cause: TypeAlias = Literal[
    "missing_left", "missing_right", "amount", "sign", "duplicate_left", "duplicate_right", "currency", "entity",
    "period", "rounding", "tax", "fee",
]  # fmt: skip
TAX_PERCENTAGES = tuple(
    Decimal(p)
    for p in ["5", "5.5", "6", "6.25", "6.5", "6.625", "6.875", "7", "7.25", "7.5", "7.7", "8", "8.1", "8.25", "8.5", "8.75", "8.875", "9", "9.5", "10", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "27"]
)  # fmt: skip
"""Usual rates of sales tax and value added tax. A difference that is exactly one of them is a tax."""
FEES = tuple(
    (Decimal(percentage), Decimal(fixed))
    for percentage, fixed in (
        ("2.9", "0.30"), ("1.4", "0.20"), ("1.4", "0.25"), ("1.5", "0.25"), ("1.5", "0.20"), ("2.6", "0.10"),
        ("2.7", "0.05"), ("2.7", "0.30"), ("2.5", "0.25"), ("2.4", "0.24"), ("3.4", "0.30"), ("3.5", "0.15"),
        ("3.49", "0.49"), ("2.99", "0.49"), ("3.9", "0.30"), ("4.4", "0.30"), ("1", "0"), ("1.5", "0"), ("2", "0"),
        ("2.5", "0"), ("2.9", "0"), ("3", "0"), ("3.5", "0"), ("0.8", "0"), ("0.5", "0"),
    )
)  # fmt: skip
"""Usual fees of payment processors: percentage of the gross amount, and a fixed part."""
_TAX_FACTORS = tuple((percentage, float(1 + percentage / 100)) for percentage in TAX_PERCENTAGES)
_FEE_SHARES = tuple((percentage, fixed, float(percentage / 100), float(fixed)) for percentage, fixed in FEES)
_FLOAT_SHARE = 1e-12
"""Share of an amount by which a calculation in floats may be wrong. Floats only leave out rates that are far off."""
_WIDE = Context(prec=80)
"""Exact for the amounts of any export."""
ROUNDED_UNITS = 2
"""Minor units by which the rounding of one row may differ."""


class DifferenceCause(NamedTuple):
    cause: Cause
    why: str
    rate: str = ""
    """The usual rate that explains the difference, where no column states it."""


AMOUNT_WHY = "no usual fee, tax or rounding explains it"


def cause_of(left: Iterable[BookEntry], right: Iterable[BookEntry]) -> DifferenceCause:
    """Return the cause by which the sums of two groups of one key differ."""
    lefts, rights = list(left), list(right)
    if {e.currency for e in lefts} != {e.currency for e in rights}:
        ours, theirs = (", ".join(sorted({e.currency for e in side})) for side in (lefts, rights))
        return DifferenceCause("currency", f"{ours} on the left, {theirs} on the right")
    a, b = (sum((e.amount for e in side), Decimal(0)) for side in (lefts, rights))
    if a == -b:
        return DifferenceCause("sign", "the same amount with the other sign")
    unit = Decimal(1).scaleb(-decimals_of(lefts[0].currency))
    if abs(a - b) <= ROUNDED_UNITS * unit * max(len(lefts), len(rights)):
        return DifferenceCause("rounding", "a difference of rounding")
    if (a < 0) != (b < 0):
        return DifferenceCause("amount", "other amount and sign")
    return _explained(lefts, rights, abs(a), abs(b), unit) or DifferenceCause("amount", AMOUNT_WHY)


def _explained(
    lefts: list[BookEntry], rights: list[BookEntry], a: Decimal, b: Decimal, unit: Decimal
) -> DifferenceCause | None:
    """Return a fee or a tax that is exactly the difference."""
    difference = abs(a - b)
    for side, entries in (("left", lefts), ("right", rights)):
        for cause in ("fee", "tax"):
            values = [getattr(entry, cause) for entry in entries]
            if (
                any(v for v in values)
                and abs(sum((v for v in values if v is not None), Decimal(0))) == difference
            ):
                return DifferenceCause(cause, f"the {cause} of the {side} side")
    larger, smaller = max(a, b), min(a, b)
    about, about_smaller, about_difference = float(larger), float(smaller), float(difference)
    slack = 2 * float(unit) + about * _FLOAT_SHARE
    for percentage, factor in _TAX_FACTORS:
        if abs(about - about_smaller * factor) > slack:
            continue
        if _is_rounded(larger, smaller * (1 + percentage / 100), unit):
            why = f"only the amount of the {'left' if a > b else 'right'} side includes {percentage} % tax"
            return DifferenceCause("tax", why, f"tax {percentage}")
    for percentage, fixed, share, about_fixed in _FEE_SHARES:
        if abs(about_difference - about * share - about_fixed) > slack:
            continue
        if _is_rounded(difference, larger * percentage / 100 + fixed, unit):
            words = f"{percentage} %" + (f" and {fixed}" if fixed else "")
            why = f"a fee of {words} was deducted on the {'right' if a > b else 'left'} side"
            return DifferenceCause("fee", why, f"fee {words}")
    return None


def _is_rounded(amount: Decimal, value: Decimal, unit: Decimal) -> bool:
    """Report whether the amount is the value, rounded by a usual rule."""
    rounded = (value.quantize(unit, rule, _WIDE) for rule in (ROUND_HALF_UP, ROUND_HALF_EVEN))
    return amount in rounded
