"""Documents of the two systems of a reconciliation, and the rules by which they must agree.

A document has one row for each version. A version closes its predecessor and overwrites nothing, so that every
question has two dates: effective (of the document) and known (to us).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.money import Money

Side: TypeAlias = Literal["left", "right"]
Shape: TypeAlias = Literal["1:1", "1:n", "n:1", "n:m"]
Absorbs: TypeAlias = Literal["any", "short"]
Number: TypeAlias = int | Decimal
LegValue: TypeAlias = Money | int | Decimal | str

_NEVER = datetime.max.replace(tzinfo=UTC)
_IN_LEDGER = "\u241f"
"""Stands between a system and the document id in it. Ids of systems do not contain it: see `has_ledger`."""


def in_ledger(ledger: str, document: str) -> str:
    """Return the name of a document of a system that stands for another one; each numbers its documents on its own."""
    return f"{ledger}{_IN_LEDGER}{document}" if ledger and document else document


def has_ledger(document: str) -> bool:
    """Report whether a text names a document together with its system."""
    return _IN_LEDGER in document


def number_of(document: str) -> str:
    """Return the id of a document in its own system."""
    return document.rpartition(_IN_LEDGER)[2]


def ledger_of(document: str) -> str:
    """Return the system that stands for another one and holds a document; empty if it is that other one."""
    return document.rpartition(_IN_LEDGER)[0]


class LegKind(StrEnum):
    SUM = "sum"  # money, count or quantity: added up, equal within the tolerance
    EQUAL = "equal"  # tax code, period or hash: the same on both sides
    AT_LEAST = "at_least"  # version: the right side shows this one or a later one


class LegRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: LegKind = LegKind.SUM
    total: bool = False
    """The leg by which documents are paired. One sum leg of a reconciliation is the total."""
    tolerance: Number = 0
    """Largest difference that is absorbed, in the unit of the leg: minor units for money."""
    absorbs: Absorbs = "any"
    """`short`: only where less is shown than asserted."""
    absorbed_by: str = ""
    """The role that bears what the tolerance absorbs; empty: the owner of the foil."""
    per: str = ""
    """Field that names the parts of the leg, such as the code of a tax. Each amount of a part is a leg: see `part_leg`."""


class MatchRules(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The rules by which the documents of one match agree."""

    legs: Mapping[str, LegRule]
    shape: Shape = "1:1"
    window: int | None = None
    """Days between the dates of two documents up to which equal totals or their order pair them; None: any."""
    rest_on_account: bool = False
    """What a right document has beyond the left ones that it names stays with them and pays no other one."""

    @cached_property
    def total(self) -> str | None:
        """The total leg: the one that says so, or else the only sum leg."""
        sums = [name for name, leg in self.legs.items() if leg.kind is LegKind.SUM]
        named = [name for name in sums if self.legs[name].total]
        return named[0] if named else sums[-1] if len(sums) == 1 else None

    @cached_property
    def divided(self) -> frozenset[str]:
        """Legs that consist of parts, such as the taxes of a document per code."""
        return frozenset(name for name, leg in self.legs.items() if leg.per and "[" not in name)


class Within(msgspec.Struct, frozen=True):
    """A match whose total caps a document of another match, as the total of a credit caps its applications."""

    rule: str
    key: str
    negate: bool = False
    """The document's total has the other sign than the total that caps it."""


class LedgerDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one document of a system."""

    side: Side
    id: str
    """Id of the document in its own system."""
    key: str
    version: int
    legs: Mapping[str, LegValue]
    entity: str = ""
    currency: str = ""
    stands: bool = True
    """False only where the ledger holds no entry of it: a draft, deleted, never posted."""
    stood: bool = True
    """This version or a former one stands."""
    reverses: str = ""
    """The document of the same side that it reverses."""
    names: tuple[str, ...] = ()
    """Documents of the other side that it names."""
    within: tuple[Within, ...] = ()
    """Left: the matches whose totals it uses up."""
    due: datetime | None = None
    provisional: bool = False
    """Left: its call has no outcome yet."""
    effective: str = ""
    """LedgerDocument date, ISO 8601; sorts as text."""
    known_from: datetime
    since: datetime
    """When its first version was known."""


class NetDocument(msgspec.Struct, frozen=True):
    """A document of the right side, together with reversals of it that no assertion asks for."""

    document: LedgerDocument
    legs: Mapping[str, Number]
    """Sum legs, less what its reversals take back."""
    total: Number | None

    @property
    def id(self) -> str:
        return self.document.id


def number(value: LegValue) -> Number:
    """Return the amount of a leg, for money in minor units. Raises ValueError for text."""
    if isinstance(value, Money):
        return value.minor
    if isinstance(value, str):
        raise ValueError(f"{value!r} is no amount")
    return value


def part_leg(leg: str, part: str, amount: str) -> str:
    """Return the name of the leg of one amount of a part: `taxes[DE-19].base`."""
    return f"{leg}[{part}].{amount}"


def divided_leg(name: str) -> str:
    """Return the leg to whose parts a leg belongs, or its own name."""
    return name.partition("[")[0]


def size(amount: Number) -> Number:
    """Return the amount without its sign."""
    return -amount if amount < 0 else amount


def unit(value: LegValue, currency: str) -> str:
    """Return the currency of a sum leg: its own, or else the document's."""
    return value.currency if isinstance(value, Money) else currency


def due_order(document: LedgerDocument) -> tuple[datetime, bool, str, str]:
    """Return the place of a document: by due time, then by document date, then by id."""
    return document.due or _NEVER, not document.effective, document.effective, document.id


def sums_of(rules: MatchRules, document: LedgerDocument) -> dict[str, Number]:
    """Return the amounts of the sum legs of a document."""
    legs = rules.legs
    return {
        name: number(value)
        for name, value in document.legs.items()
        if name in legs and legs[name].kind is LegKind.SUM
    }


def total_of(rules: MatchRules, document: LedgerDocument) -> Number | None:
    """Return the total of a document; None where the rules name no total or the document has none."""
    value = document.legs.get(rules.total) if rules.total is not None else None
    return None if value is None else number(value)


def currency_of(rules: MatchRules, document: LedgerDocument) -> str:
    """Return the currency of a document's total; a count has none."""
    value = document.legs.get(rules.total or "")
    return (
        ""
        if isinstance(value, int)
        else document.currency
        if value is None
        else unit(value, document.currency)
    )


def uses_of(rules: MatchRules, document: LedgerDocument) -> Iterator[tuple[Within, str, Number]]:
    """Yield what a document uses up of each total that caps it: match, currency and amount in the sign of that total."""
    total = total_of(rules, document)
    if total is not None:
        currency = currency_of(rules, document)
        yield from ((cap, currency, -total if cap.negate else total) for cap in document.within)


def same_books(rules: MatchRules, left: LedgerDocument, right: LedgerDocument) -> bool:
    """Report whether two documents are of one entity and currency; one without legs has no currency."""
    return left.entity == right.entity and (not left.legs or same_currency(rules, left, right))


def same_currency(rules: MatchRules, left: LedgerDocument, right: LedgerDocument) -> bool:
    """Report whether the totals of two documents are in one currency."""
    total = rules.total
    if total is None or total not in left.legs or total not in right.legs:
        return left.currency == right.currency
    return unit(left.legs[total], left.currency) == unit(right.legs[total], right.currency)


def newest_versions(versions: Iterable[LedgerDocument]) -> list[LedgerDocument]:
    """Return the newest version of each document, with `stood` and `since` of all its versions.

    The result does not depend on the order of arrival. Of two versions with one number the withdrawal wins, since a
    final state does not go back by a tie, then the larger content.
    """
    newest: dict[tuple[str, str], LedgerDocument] = {}
    for version in versions:
        name = (version.side, version.id)
        other = newest.get(name)
        if other is None:
            newest[name] = version
            continue
        chosen = max(version, other, key=content_rank)
        newest[name] = msgspec.structs.replace(
            chosen, stood=version.stood or other.stood, since=min(version.since, other.since)
        )
    return list(newest.values())


def content_rank(version: LedgerDocument) -> tuple[int, bool, str]:
    """Return the order of two versions of one document: by number, then a withdrawal, then the content."""
    legs = sorted((name, str(value)) for name, value in version.legs.items())
    content = legs, version.key, version.entity, version.names, version.within, version.reverses
    return version.version, not version.stands, repr(content)
