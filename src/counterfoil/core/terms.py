"""Terms of a reconciliation on its documents: how both sides must agree, as their rows carry it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from counterfoil.core.document import LegKind, LegRule, MatchRules, Number, Shape, divided_leg
from counterfoil.core.money import Money

Legs: TypeAlias = dict[str, Money | int | str]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Rules of agreement with the other side, as the reconciliation had them when the document was written."""

    legs: dict[str, LegRule] = {}
    """Legs that are not named are sums for money and numbers, and equal for text."""
    tolerance: int = 0
    """Of the sum legs that are not named."""
    shape: Shape = "1:1"
    window: int | None = None
    rest_on_account: bool = False


def rules_for(terms: Terms, legs: Iterable[Legs]) -> MatchRules:
    """Return the rules of a match, completed for legs of its documents that the terms do not name.

    A leg that any document shows as text is `equal`, whatever the terms say: text has no sum.
    """
    named = dict(terms.legs)
    amounts: list[tuple[str, Number]] = []
    for document in legs:
        for name, value in document.items():
            if isinstance(value, str):
                named[name] = LegRule(kind=LegKind.EQUAL)
            else:
                if name not in named:
                    named[name] = terms.legs.get(divided_leg(name)) or LegRule(tolerance=terms.tolerance)
                amounts.append((name, abs(value.minor if isinstance(value, Money) else value)))
    sizes = [
        (size, name) for name, size in amounts if named[name].kind is LegKind.SUM and not named[name].per
    ]
    largest = max(sizes, default=None)
    if largest is not None and not any(leg.total for leg in named.values()):
        # A reconciliation that names no total: the largest leg is the whole of the document.
        named[largest[1]] = msgspec.structs.replace(named[largest[1]], total=True)
    return MatchRules(
        legs=named, shape=terms.shape, window=terms.window, rest_on_account=terms.rest_on_account
    )


def total_money(terms: Terms, legs: Legs, units: int | None = None) -> tuple[Money, ...]:
    """Return the total of a document as money, or `units` of its currency; empty where it is zero or no money."""
    name = rules_for(terms, (legs,)).total
    value = legs.get(name or "")
    if not isinstance(value, Money):
        return ()
    money = value if units is None else Money(units, value.currency)
    return (money,) if money.minor else ()
