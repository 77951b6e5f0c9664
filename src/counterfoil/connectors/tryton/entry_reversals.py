"""Entries that take an earlier one back: which lines of the earlier entry they meet, and how much of it is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from counterfoil.core.errors import ErrorClass, Refused

from .moves import functional, nominal
from .rest import Record


@dataclass(frozen=True, slots=True)
class EntryLine:
    """Line of an entry, before or after it is in the ERP, with ids of the ERP. `amount` is in the currency of the entry."""

    account: int
    party: int | None
    amount: Decimal
    document: int | None = None

    @classmethod
    def of(cls, line: Record) -> EntryLine:
        return cls(line["account"]["id"], line["party"], nominal(line), line["invoice_payment"])

    @property
    def key(self) -> tuple[int, int | None, bool]:
        """Account, party and side: what a line of the other side takes back."""
        return self.account, self.party, self.amount > 0

    @property
    def other_side(self) -> tuple[int, int | None, bool]:
        return self.account, self.party, self.amount < 0


def divided(
    lines: Sequence[EntryLine], originals: Sequence[Record], earlier: Iterable[Record]
) -> list[tuple[int, EntryLine]]:
    """Return the lines with their places, each that no single original covers divided as the earlier entry was.

    A payment over 1,000.00 of which 400.00 stayed on account comes back as 600.00 for the document and 400.00 on account.
    """
    reversed_amounts: dict[tuple[tuple[int, int | None, bool], int | None], Decimal] = {}
    for line in map(EntryLine.of, earlier):
        share = line.key, line.document
        reversed_amounts[share] = reversed_amounts.get(share, Decimal(0)) + abs(line.amount)
    parts: list[tuple[int, EntryLine]] = []
    for place, line in enumerate(lines):
        covers = [EntryLine.of(row) for row in originals if EntryLine.of(row).key == line.other_side]
        if len(covers) < 2 or any(abs(line.amount) <= abs(cover.amount) for cover in covers):
            parts.append((place, line))
            continue
        rest, sign = abs(line.amount), 1 if line.amount > 0 else -1
        covers.sort(key=lambda cover: (cover.document != line.document, cover.document is None))
        for cover in covers:
            share = line.key, cover.document
            used = min(reversed_amounts.get(share, Decimal(0)), abs(cover.amount))
            reversed_amounts[share] = reversed_amounts.get(share, Decimal(0)) - used
            part = min(rest, abs(cover.amount) - used)
            rest -= part
            if part:
                parts.append((place, replace(line, amount=sign * part, document=cover.document)))
        if rest:
            parts.append((place, replace(line, amount=sign * rest)))
    return parts


def originals_of(lines: Sequence[EntryLine], originals: Sequence[Record]) -> list[Record | None]:
    """Return for each line the original that it takes back: one of the same amount, else a larger one, else None.

    Lines of the same document go first. Each original meets one line.
    """
    free = {original["id"]: original for original in originals}
    matches: list[Record | None] = [None] * len(lines)
    for exact in (True, False):
        for place, line in enumerate(lines):
            if matches[place] is not None:
                continue
            candidates = [original for original in free.values() if _meets(line, original, exact)]
            if candidates:
                match = max(
                    candidates,
                    key=lambda original: (original["invoice_payment"] == line.document, -original["id"]),
                )
                matches[place] = free.pop(match["id"])
    return matches


def _meets(line: EntryLine, original: Record, exact: bool) -> bool:
    theirs = EntryLine.of(original)
    if line.other_side != theirs.key:
        return False
    return line.amount == -theirs.amount if exact else abs(line.amount) < abs(theirs.amount)


def is_opposite(line: Record, original: Record) -> bool:
    """Return whether both lines cancel out, so that they can be reconciled with each other."""
    return nominal(line) == -nominal(original) and functional(line) == -functional(original)


def check_left(
    lines: Sequence[EntryLine], originals: Iterable[Record], earlier: Iterable[Record], reference: str
) -> None:
    """Raise Refused(CONFLICT) if earlier reversals left too little, and Refused(INVALID) if nothing is taken back.

    A line without a party may exceed its original, because it may also have a fee of the reversal.
    """
    available = _sums(originals)
    used = _sums(earlier)
    matches = False
    for key in {line.key for line in lines}:
        of_key = [line for line in lines if line.key == key]
        whole = available.get(of_key[0].other_side, Decimal(0))
        if not whole:
            continue
        matches = True
        left = whole - used.get(key, Decimal(0))
        amount = sum((abs(line.amount) for line in of_key), Decimal(0))
        if left <= 0 or (of_key[0].party is not None and amount > left):
            message = f"entry {reference!r} has {max(left, Decimal(0))} left to reverse, not {amount}"
            raise Refused(message, ErrorClass.CONFLICT, "already_reversed")
    if not matches:
        message = f"no line takes back a line of entry {reference!r}"
        raise Refused(message, ErrorClass.INVALID, "reverses_nothing")


def _sums(lines: Iterable[Record]) -> dict[tuple[int, int | None, bool], Decimal]:
    sums: dict[tuple[int, int | None, bool], Decimal] = {}
    for line in map(EntryLine.of, lines):
        sums[line.key] = sums.get(line.key, Decimal(0)) + abs(line.amount)
    return sums
