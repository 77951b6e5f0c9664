"""Foils and observations: one row for each document of the two systems of a reconciliation, with its newest version.

A foil is what the left system asserts and the right one owes us; an observation is what the right one shows. The state
of both is computed by `core.settle` from all documents of their match row, never stepped.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.document import Within, divided_leg, ledger_of, number_of
from counterfoil.core.matching import FoilState
from counterfoil.core.money import INT64_MAX, Money
from counterfoil.core.terms import Legs, Terms, rules_for, total_money

_F = FoilState
UNFINISHED_FOILS = frozenset({_F.PROVISIONAL, _F.OPEN, _F.PARTLY})
NEEDS_CASE = frozenset({_F.BROKEN, _F.OVER})
Residual: TypeAlias = dict[str, int]
"""By sum leg: for money in minor units of the document's currency."""
ItemState: TypeAlias = Literal["paired", "unmatched", "over", "gone"]


def largest_minor(legs: Legs) -> int | None:
    """Return the largest amount of legs, without sign, in minor units; None without money."""
    amounts = [abs(value.minor) for value in legs.values() if isinstance(value, Money)]
    return min(max(amounts), INT64_MAX) if amounts else None


class AbsorbedAmount(msgspec.Struct, frozen=True, kw_only=True):
    """Difference in one leg of a matched foil that its tolerance absorbs, and the role that bears it."""

    leg: str
    units: int
    """Asserted less shown."""
    owner: str


class Foil(msgspec.Struct, frozen=True, kw_only=True):
    """Assertion that `right` will show what `left` shows: the newest version of one document of the left system."""

    id: str
    rule: str
    """The reconciliation that wrote it."""
    key: str
    """With `rule`, the match row."""
    document: str
    """Id of the document, with its system where that stands for another one; with `rule`, unique."""
    version: int = 0
    object: str
    left: str
    right: str
    legs: Legs
    terms: Terms = Terms()
    entity: str = ""
    effective: str = ""
    """Document date, ISO 8601."""
    stands: bool = True
    """False where the left ledger holds no entry of it any more."""
    stood: bool = True
    """This version or a former one stood; False while it is provisional."""
    provisional: bool = False
    """Its call has no outcome yet."""
    reverses: str = ""
    """The document of the same side that it reverses."""
    own_key: str = ""
    """Its key by rule, while its match is that of what it reverses."""
    names: tuple[str, ...] = ()
    """Documents of the other side that it names."""
    within: tuple[Within, ...] = ()
    """Matches whose totals it uses up."""
    due: datetime
    state: FoilState = FoilState.OPEN
    reason: str = ""
    residual: Residual = {}
    """Asserted less shown."""
    excess: dict[str, int] = {}
    """Amount by currency that other documents use beyond the total of the match; one foil of the match shows it."""
    partners: tuple[str, ...] = ()
    """Ids of the observations that answer it."""
    run: str | None = None
    effect: str | None = None
    cause: str = ""
    """Id of the event or effect that asserts this version."""
    owner: str = ""
    created_at: datetime
    known_from: datetime
    """When this version was known."""
    settled_at: datetime | None = None

    @property
    def number(self) -> str:
        """Id of the document in its own system."""
        return number_of(self.document)

    @property
    def caps(self) -> set[tuple[str, str]]:
        """Rule and key of each match whose total it uses up."""
        return {(cap.rule, cap.key) for cap in self.within}

    @property
    def amount_minor(self) -> int | None:
        """The largest amount of any leg, without sign, in minor units; None without money."""
        return largest_minor(self.legs)

    @property
    def excess_money(self) -> tuple[Money, ...]:
        """Money that other documents use beyond the total of the match; a count is no money."""
        return tuple(Money(minor, currency) for currency, minor in sorted(self.excess.items()) if currency)

    @property
    def open_money(self) -> tuple[Money, ...]:
        """The missing part of the total, as money; empty where the total is no money or nothing is missing."""
        name = rules_for(self.terms, (self.legs,)).total
        return total_money(self.terms, self.legs, self.residual.get(name or "", 0))

    def of_leg(self, leg: str, units: int) -> Money | int:
        """Return units of a leg in its currency; of a part that only the other side shows, in that of the document."""
        value: Money | int | str | None = self.legs.get(leg)
        if value is None and divided_leg(leg) != leg:
            value = next((money for money in self.legs.values() if isinstance(money, Money)), 0)
        return Money(units, value.currency) if isinstance(value, Money) else units

    @property
    def absorbed(self) -> tuple[AbsorbedAmount, ...]:
        """Differences that the tolerance absorbs, by leg; none unless it is matched."""
        if self.state is not FoilState.MATCHED:
            return ()
        return tuple(
            AbsorbedAmount(leg=leg, units=by, owner=self._bearer(leg))
            for leg, by in sorted(self.residual.items())
            if by
        )

    def _bearer(self, leg: str) -> str:
        rule = self.terms.legs.get(leg) or self.terms.legs.get(divided_leg(leg))
        return (rule.absorbed_by if rule is not None else "") or self.owner

    @property
    def difference(self) -> tuple[Money, ...]:
        """The largest difference of any leg, as money; of several currencies, in that of the total if it differs."""
        values = [self.of_leg(name, by) for name, by in self.residual.items() if by]
        differing = [value for value in values if isinstance(value, Money)]
        of_total = {money.currency for money in self.open_money}
        amounts = [money for money in differing if not of_total or money.currency in of_total]
        return (max(amounts, key=lambda money: abs(money.minor)),) if amounts else ()


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Newest version of one document that the right system shows."""

    id: str
    rule: str
    key: str
    document: str
    """Id of the document, with its system where that stands for another one; with `rule`, unique."""
    version: int
    system: str = ""
    legs: Legs
    terms: Terms = Terms()
    entity: str = ""
    effective: str = ""
    stands: bool = True
    stood: bool = True
    reverses: str = ""
    names: tuple[str, ...] = ()
    state: ItemState = "unmatched"
    foil: str | None = None
    """The foil that shows it as surplus."""
    own_key: str = ""
    """Its key by rule, while its match is that of what it reverses or one that a person's pairing gives it."""
    event: str
    owner: str = ""
    case_at: datetime | None = None
    """When an unmatched item needs a Case: its grace ends."""
    since: datetime
    """When its first version was known."""
    at: datetime
    """When this version was known."""

    @property
    def number(self) -> str:
        """Id of the document in its own system."""
        return number_of(self.document)

    @property
    def ledger(self) -> str:
        """The system that shows it: the right one, or one that stands for it."""
        return ledger_of(self.document) or self.system

    @property
    def amount_minor(self) -> int | None:
        """The largest amount of any leg, without sign, in minor units; None without money."""
        return largest_minor(self.legs)

    @property
    def money(self) -> tuple[Money, ...]:
        """The total, as money; empty where it is no money."""
        return total_money(self.terms, self.legs)


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """Amount of an observation that covers the total of a foil."""

    foil: str
    observation: str
    leg: str
    amount: Money


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """A pair that a person made: it overrides the key and holds while both documents have these legs."""

    id: str
    rule: str
    foil: str
    observation: str
    legs: str
    """Digest of the legs of both."""
    person: str
    note: str
    at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """Acceptance of one exact residual of one content of a foil."""

    id: str
    foil: str
    rule: str
    residual: Residual
    content: str
    """Digest of the foil's legs. A version with equal legs keeps the waiver."""
    money: Money | None = None
    entity: str = ""
    period: str = ""
    """Month of the document date, for the cap."""
    person: str
    note: str
    at: datetime
    ended_at: datetime | None = None
