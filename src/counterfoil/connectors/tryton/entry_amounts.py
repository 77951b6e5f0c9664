"""Amounts of an entry in the currency of the company.

A line that pays a document, takes a line back or moves money from an account of a customer has the amount at which that is in
the books. Every other line is converted at the rate of the day. The difference is a gain or a loss, with the rounding.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal


@dataclass(frozen=True, slots=True)
class BookedAmount:
    """Open amount in the books, in the currency of the entry and of the company."""

    nominal: Decimal
    functional: Decimal

    def part(self, amount: Decimal, rounding: Decimal) -> Decimal:
        """Return the functional amount of a line that takes `amount` from this one. The last line takes the rest."""
        if amount == -self.nominal:
            return -self.functional
        return rounded(amount * self.functional / self.nominal, rounding)

    def less(self, amount: Decimal, functional: Decimal) -> BookedAmount:
        return BookedAmount(self.nominal + amount, self.functional + functional)


def functional_amounts(
    lines: Sequence[tuple[Decimal, Hashable | None]],
    booked: dict[Hashable, BookedAmount],
    rate: Decimal,
    rounding: Decimal,
) -> list[Decimal]:
    """Return the functional amount of each line. A line is its amount and the key in `booked` of what it takes."""
    left = dict(booked)
    amounts = []
    for amount, key in lines:
        source = left.get(key) if key is not None else None
        if source is None or not source.nominal:
            amounts.append(rounded(amount * rate, rounding))
            continue
        amounts.append(source.part(amount, rounding))
        left[key] = source.less(amount, amounts[-1])
    return amounts


def rounded(amount: Decimal, rounding: Decimal) -> Decimal:
    return (amount / rounding).quantize(Decimal(1), ROUND_HALF_EVEN) * rounding


def sides(amount: Decimal) -> dict[str, Decimal]:
    """Return debit and credit of a line of the ERP."""
    return {"debit": max(amount, Decimal(0)), "credit": max(-amount, Decimal(0))}
