"""Money at stake in a Run: the amounts of its unfinished foils and open Cases."""

from __future__ import annotations

from collections.abc import Iterable

from counterfoil.core.case import Case, CaseState
from counterfoil.core.foil import UNFINISHED_FOILS, Foil
from counterfoil.core.money import Money


def exposure(foils: Iterable[Foil], cases: Iterable[Case]) -> tuple[Money, ...]:
    """Return the larger of both sums, per currency, in order of currency.

    A foil counts as its largest leg: its legs name the same money several times. A Case about a foil names
    that foil's money again, so the sums are compared and never added.
    """
    owed: dict[str, int] = {}
    for foil in foils:
        if foil.state in UNFINISHED_FOILS:
            for currency, minor in _largest(foil).items():
                owed[currency] = owed.get(currency, 0) + minor
    named: dict[str, int] = {}
    for case in cases:
        if case.state is CaseState.OPEN:
            for money in case.exposure:
                named[money.currency] = named.get(money.currency, 0) + abs(money.minor)
    return tuple(
        Money(max(owed.get(currency, 0), named.get(currency, 0)), currency)
        for currency in sorted({*owed, *named})
    )


def _largest(foil: Foil) -> dict[str, int]:
    largest: dict[str, int] = {}
    for money in foil.legs.values():
        largest[money.currency] = max(largest.get(money.currency, 0), abs(money.minor))
    return largest
