"""Claims: a left document that stands, with the right documents that answer it, and by what the two differ.

Pure. `core.matching` reads the state of a foil from its claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from counterfoil.core.document import (
    LedgerDocument,
    LegKind,
    LegValue,
    MatchRules,
    Number,
    divided_leg,
    number,
    same_books,
    size,
    sums_of,
    unit,
)
from counterfoil.core.joins import Share
from counterfoil.core.money import Money

MAX_NAMED_MEMBERS = 500
"""Members of a group that a reason names. Each foil of the group has the reason, so that more would grow as a square."""


class FoilClaim:
    """A standing left document with what answers it."""

    def __init__(self, rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> None:
        self.left = left
        self.parts = parts
        self.asserted = sums_of(rules, left)
        if rules.divided:
            self.asserted |= _parts_of_others(rules, left, parts)
        self.residual = dict(self.asserted)
        for part in parts:
            # What is shown in other books shows nothing of it.
            if same_books(rules, left, part.shown.document):
                for name in self.residual:
                    self.residual[name] -= part.legs.get(name, 0)
        self.members = ""

    def is_past_due(self, now: datetime) -> bool:
        return self.left.due is not None and self.left.due <= now


def _parts_of_others(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> dict[str, Number]:
    """Return zero for the parts of a leg that only the right side shows, such as a tax of a code that is not asserted.

    A document without the leg asserts nothing about its parts.
    """
    mine = {divided_leg(name) for name in left.legs} & rules.divided
    names = {name for part in parts for name in part.legs}
    return {name: 0 for name in names - left.legs.keys() if divided_leg(name) in mine}


class GroupClaim:
    """Foils of one right document, in its books: their amounts are judged as one."""

    def __init__(self, claims: Sequence[FoilClaim]) -> None:
        self.asserted = added_up(claim.asserted for claim in claims)
        self.residual = added_up(claim.residual for claim in claims)
        self.members = _members([claim.left.id for claim in claims])


def groups_of(
    rules: MatchRules, parts: Sequence[Share], claims: Mapping[str, FoilClaim]
) -> dict[str, GroupClaim]:
    """Return the group of each foil that is judged together with others."""
    by_right: dict[str, list[FoilClaim]] = {}
    for part in parts:
        claim = claims[part.left]
        if same_books(rules, claim.left, part.shown.document):
            by_right.setdefault(part.shown.id, []).append(claim)
    groups = [(GroupClaim(members), members) for members in by_right.values()]
    return {claim.left.id: group for group, members in groups for claim in members}


def _members(ids: Sequence[str]) -> str:
    """Return the words about a group for the reasons of its foils; empty for a single one."""
    if len(ids) < 2:
        return ""
    names = ", ".join(sorted(ids)[:MAX_NAMED_MEMBERS])
    more = len(ids) - MAX_NAMED_MEMBERS
    return f" in a group of {len(ids)}: {names}" + (f" and {more} more" if more > 0 else "")


def added_up(amounts: Iterable[Mapping[str, Number]]) -> dict[str, Number]:
    sums: dict[str, Number] = {}
    for legs in amounts:
        for name, amount in legs.items():
            sums[name] = sums.get(name, 0) + amount
    return sums


def other_books(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> str:
    """Return which entity or currency differs; it breaks the foil at once, whatever the amounts."""
    for part in parts:
        right = part.shown.document
        if right.entity != left.entity:
            return f"entity: asserted for {left.entity or 'none'}, shown for {right.entity or 'none'}"
    for part in parts:
        right = part.shown.document
        for name, leg in rules.legs.items():
            if leg.kind is LegKind.SUM and name in left.legs and name in right.legs:
                want, have = unit(left.legs[name], left.currency), unit(right.legs[name], right.currency)
                if want != have:
                    return f"currency: asserted in {want}, shown in {have}"
    return ""


def other_value(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> str:
    """Return which `equal` leg differs; it breaks the foil at once, whatever the amounts."""
    for name, leg in rules.legs.items():
        if leg.kind is LegKind.EQUAL and name in left.legs:
            for part in parts:
                value = part.shown.document.legs.get(name)
                if value != left.legs[name]:
                    return (
                        f"{name}: asserted {left.legs[name]}, shown {'nothing' if value is None else value}"
                    )
    return ""


def not_yet(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> str:
    """Return which `at_least` leg the right side does not yet show high enough; empty if none."""
    for name, leg in rules.legs.items():
        if leg.kind is LegKind.AT_LEAST and name in left.legs:
            want = number(left.legs[name])
            values = [number(p.shown.document.legs[name]) for p in parts if name in p.shown.document.legs]
            if not values or max(values) < want:
                return f"{name}: asserted at least {want}, shown {max(values) if values else 'nothing'}"
    return ""


def differences(left: LedgerDocument, parts: Sequence[Share], off: Mapping[str, Number]) -> str:
    observed = {name: value for part in parts for name, value in part.shown.document.legs.items()}
    return ", ".join(
        f"{name} {'less' if by > 0 else 'more'} by {_amount(left.legs.get(name, observed.get(name)), by)}"
        for name, by in sorted(off.items())
    )


def _amount(value: LegValue | None, by: Number) -> str:
    return str(Money(int(size(by)), value.currency)) if isinstance(value, Money) else str(size(by))
