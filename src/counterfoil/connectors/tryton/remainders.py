"""Lines and taxes of an invoice that its credit memos have left.

A credit memo has taken its own base and tax of each tax, a compensation none. What cancels the rest takes what is left of
each tax, to the cent, so that all of them together take back exactly the taxes of the invoice. The lines share the rest of the
net in proportion; those with a tax of zero share what is left of the base of that tax.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from .entry_amounts import rounded


@dataclass(frozen=True, slots=True)
class TaxedLine:
    """Net amount of a line, in the sign of an invoice, with the taxes that the ERP computes from it."""

    net: Decimal
    taxes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TaxRow:
    """Base and amount of a tax with amounts of the billing system, in the sign of an invoice."""

    tax: Hashable
    base: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CreditPart:
    """Credit memo that is applied to the invoice: `share` of it, between 0 and 1."""

    share: Decimal
    lines: tuple[TaxedLine, ...]
    taxes: tuple[TaxRow, ...]


def remaining_taxes(rows: Sequence[TaxRow], credits: Sequence[CreditPart], rounding: Decimal) -> list[TaxRow]:
    """Return what credit memos have left of each tax row. Of several rows of one tax the first one bears the credits."""
    left = []
    borne: set[Hashable] = set()
    for row in rows:
        if row.tax not in borne:
            borne.add(row.tax)
            for credit in credits:
                for used in (used for used in credit.taxes if used.tax == row.tax):
                    row = replace(
                        row,
                        base=row.base - rounded(credit.share * used.base, rounding),
                        amount=row.amount - rounded(credit.share * used.amount, rounding),
                    )
        left.append(row)
    return left


def remaining_nets(
    lines: Sequence[TaxedLine], credits: Sequence[CreditPart], net: Decimal, rounding: Decimal
) -> list[Decimal]:
    """Return the nets of the lines, in order, so that they add up to `net`."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, line in enumerate(lines):
        groups.setdefault(line.taxes, []).append(place)
    nets = [Decimal(0)] * len(lines)
    # Lines without a tax of their own come last: they take what rounding leaves.
    ordered = sorted(groups.items(), key=lambda group: not group[0])
    for taxes, places in ordered:
        weights = [lines[place].net for place in places]
        part = net
        if (taxes, places) != ordered[-1]:
            used = (c.share * line.net for c in credits for line in c.lines if line.taxes == taxes)
            part = sum(weights, Decimal(0)) - rounded(sum(used, Decimal(0)), rounding)
        net -= part
        for place, share in zip(places, _divided(part, weights, rounding), strict=True):
            nets[place] = share
    return nets


def _divided(amount: Decimal, weights: Iterable[Decimal], rounding: Decimal) -> list[Decimal]:
    """Divide an amount in proportion. The last part takes the rest, and all of it where the weights add up to zero."""
    shares = list(weights)
    whole = sum(shares, Decimal(0))
    parts = [rounded(amount * share / whole, rounding) if whole else Decimal(0) for share in shares[:-1]]
    return [*parts, amount - sum(parts, Decimal(0))]
