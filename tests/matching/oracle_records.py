"""Records of a history as the oracle reads them: rules, newest versions, pairings in force, matches.

Part of tests/matching/oracle.py; imports nothing of the product.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
Amounts = dict[str, Decimal]
Record = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """Legs by kind, tolerances, shape and the number of decimals that residuals are printed with."""

    sums: tuple[str, ...]
    equals: tuple[str, ...]
    minimums: tuple[str, ...]
    tolerance: Amounts
    short_only: frozenset[str]
    """Sum legs whose tolerance absorbs only what is missing."""
    total: str | None
    shape: str
    decimals: int
    window: int | None
    """Days between two documents."""
    rest_on_account: bool

    @property
    def many_rights(self) -> bool:
        return self.shape in ("1:n", "n:m")

    @property
    def many_lefts(self) -> bool:
        return self.shape in ("n:1", "n:m")

    def is_absorbed(self, leg: str, asserted: Decimal, gap: Decimal) -> bool:
        """Return whether a gap, positive for a part that is missing of a positive amount, is within the tolerance."""
        if leg in self.short_only and gap and not (gap > 0 < asserted >= gap or gap < 0 > asserted <= gap):
            return False
        return abs(gap) <= self.tolerance[leg]

    def format(self, amount: Decimal) -> str:
        return format(amount if amount else ZERO, f".{self.decimals}f")


def read_rules(history: dict[str, Any]) -> Rules:
    legs: dict[str, dict[str, Any]] = history["legs"]
    by_kind = {kind: tuple(n for n, leg in legs.items() if leg["kind"] == kind) for kind in _KINDS}
    sums = by_kind["sum"]
    amounts = [r["legs"][name] for r in history["documents"] for name in sums if name in r["legs"]]
    exponents = [-int(as_number(amount).as_tuple().exponent) for amount in amounts]
    totals = [name for name in sums if legs[name].get("total")]
    return Rules(
        sums,
        tuple(sorted(by_kind["equal"])),
        tuple(sorted(by_kind["at_least"])),
        {name: as_number(legs[name].get("tolerance", 0)) for name in sums},
        frozenset(name for name in sums if legs[name].get("absorbs") == "short"),
        next(iter(totals or sums), None),
        history.get("shape", "1:1"),
        max([2, *exponents]),
        history.get("window_days"),
        history.get("rest") == "on_account",
    )


_KINDS = ("sum", "equal", "at_least")


def as_number(value: object) -> Decimal:
    return Decimal(str(value))


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Document:
    """Newest version of one document of one side, on the match that it belongs to now."""

    side: str
    name: str
    record: Record
    match: str
    stands: bool
    stood: bool
    """Some known version stood: the document is withdrawn, not void, when it stands no more."""

    @property
    def legs(self) -> dict[str, Any]:
        return self.record.get("legs") or {}

    @property
    def owner(self) -> tuple[object, object]:
        return self.record.get("entity"), self.record.get("currency")

    @property
    def reverses(self) -> str | None:
        original = self.record.get("reverses")
        return None if original == self.name else original

    @property
    def names(self) -> frozenset[str]:
        names = self.record.get("names") or ()
        return frozenset([names] if isinstance(names, str) else names)

    @property
    def due(self) -> datetime | None:
        return _time(self.record["due"]) if self.record.get("due") else None

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Due time, then effective date, then name. Arrival has no part in it: every order ends in one state."""
        effective = self.record.get("effective")
        return (self.due or _LAST, _time(effective) if effective else _LAST, self.name)

    @property
    def day(self) -> date | None:
        effective = self.record.get("effective")
        return _time(effective).date() if effective else None

    def amount(self, leg: str | None) -> Decimal:
        return as_number(self.legs[leg]) if leg in self.legs else ZERO


_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Documents:
    """Both sides at one moment, with the pairings in force and the matches on which anything was asserted."""

    now: datetime
    left: tuple[Document, ...]
    right: tuple[Document, ...]
    pairings: tuple[tuple[str, str], ...]
    asserted: frozenset[str]


Versions = dict[str, dict[str, list[Record]]]
"""Known records by side and document."""


def read_documents(history: dict[str, Any]) -> Documents:
    records: list[Record] = history["documents"]
    times = [_time(record["at"]) for record in records]
    now = _time(history["now"]) if history.get("now") else max(times, default=_LAST)
    versions: Versions = {"left": defaultdict(list), "right": defaultdict(list)}
    for record, at in zip(records, times, strict=True):
        if at <= now:
            versions[record["side"]][record["document"]].append(record)
    pairings = _pairings_in_force(history, versions)
    partner = {right: left for left, right in pairings}
    newest = {side: {name: _newest(group) for name, group in versions[side].items()} for side in versions}

    def home(side: str, name: str, trail: tuple[str, ...] = ()) -> str:
        if side == "right" and name in partner:
            return home("left", partner[name])
        original = newest[side][name].get("reverses")
        if original in newest[side] and original not in (*trail, name):
            return home(side, original, (*trail, name))
        return str(newest[side][name]["key"])

    def read(side: str) -> tuple[Document, ...]:
        standing = _standing(newest[side], versions[side])
        return tuple(
            Document(side, name, record, home(side, name), name in standing, _stood(versions[side][name]))
            for name, record in sorted(newest[side].items())
        )

    left = read("left")
    former = {
        document.match if record.get("reverses") in newest["left"] else str(record["key"])
        for document in left
        for record in versions["left"][document.name]
        if _stands(record)
    }
    asserted = former | {document.match for document in left if document.stood}
    return Documents(now, left, read("right"), pairings, frozenset(asserted))


def _stands(record: Record) -> bool:
    return record.get("stands") is not False


def _stood(records: Sequence[Record]) -> bool:
    return any(_stands(record) for record in records)


def _newest(records: Sequence[Record]) -> Record:
    """Return the highest version; of equal ones that which does not stand, then the larger canonical content."""

    def rank(record: Record) -> tuple[Decimal, bool, str]:
        content = {name: value for name, value in record.items() if name != "at"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return as_number(record["version"]), not _stands(record), text

    return max(records, key=rank)


def _standing(newest: dict[str, Record], versions: dict[str, list[Record]]) -> set[str]:
    """Return the documents that stand. One that is flagged as cancelled *and* reversed by a document stands as well."""
    standing = {name for name, record in newest.items() if _stands(record)}
    while True:
        reversed_names = {str(newest[name].get("reverses")) for name in standing} & newest.keys()
        added = {name for name in reversed_names if name not in standing and _stood(versions[name])}
        if not added:
            break
        standing |= added
    return standing


def _pairings_in_force(history: dict[str, Any], versions: Versions) -> tuple[tuple[str, str], ...]:
    """Return a person's pairings whose documents still have the legs that they had when both were first known.

    Of two pairings of one right document, the first in the file holds.
    """
    kinds = {name: leg["kind"] for name, leg in history["legs"].items()}

    def content(record: Record) -> dict[str, object]:
        legs = record.get("legs") or {}
        return {n: str(legs[n]) if kinds[n] == "equal" else as_number(legs[n]) for n in kinds if n in legs}

    def holds(left: Sequence[Record], right: Sequence[Record]) -> bool:
        start = max(min(_time(r["at"]) for r in left), min(_time(r["at"]) for r in right))
        moments = {start} | {_time(r["at"]) for r in (*left, *right) if _time(r["at"]) > start}
        contents = [
            [content(_newest([r for r in records if _time(r["at"]) <= moment])) for records in (left, right)]
            for moment in sorted(moments)
        ]
        return all(later == contents[0] for later in contents)

    pairings: dict[str, str] = {}
    for left, right in history.get("pairings") or []:
        both = left in versions["left"] and right in versions["right"]
        if both and right not in pairings and holds(versions["left"][left], versions["right"][right]):
            pairings[right] = left
    return tuple((left, right) for right, left in pairings.items())
