"""Counting both sides of a reconciliation for a checkpoint: from our rows, and from what the systems' books list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from counterfoil.core.book_checkpoint import CheckpointLine, CountDifference, PartLine
from counterfoil.core.document import LedgerDocument, Side, divided_leg
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import standing
from counterfoil.core.money import Money
from counterfoil.core.roll_forward import RollForward, effective_by
from counterfoil.core.settle import MatchRows, left_document, right_document, rules_of
from counterfoil.core.terms import rules_for

MAX_DIFFERENCES = 100
"""Differing documents that a line names; it counts all."""


class Counted(NamedTuple):
    """Amount that a document adds to the total of its side, by one version of it."""

    entity: str
    currency: str
    units: int
    version: int
    leg: str
    """The leg that has the amount, usually the total."""


class BothSides(NamedTuple):
    """Counted documents of both sides, by document."""

    left: Mapping[str, Counted]
    right: Mapping[str, Counted]


def count_ours(matches: Iterable[MatchRows], until: date, leg: str | None = None) -> BothSides:
    """Return the standing documents of our rows up to a cut-off, with their totals or another leg.

    A provisional document is in no book, so it is left out.
    """
    left: dict[str, Counted] = {}
    right: dict[str, Counted] = {}
    for rows in matches:
        dated = effective_by(rows, until)
        counted = leg or rules_of(dated).total or ""
        foils = {f.document: f for f in dated.foils if not f.provisional}
        observed = {o.document: o for o in dated.observations}
        for document in standing([left_document(f) for f in foils.values()]):
            _add(left, foils[document.id], counted)
        for document in standing([right_document(o) for o in observed.values()]):
            _add(right, observed[document.id], counted)
    return BothSides(left, right)


def count_listed(
    foils: Iterable[Foil], observations: Iterable[Observation], until: date, ours: BothSides
) -> BothSides:
    """Return the standing documents that books list up to a cut-off. What our rows count too has the same leg as its total."""
    last = until.isoformat()
    left = {f.document: f for f in foils if f.effective[:10] <= last}
    right = {o.document: o for o in observations if o.effective[:10] <= last}
    return BothSides(
        _listed(left, standing([left_document(f) for f in left.values()]), ours.left),
        _listed(right, standing([right_document(o) for o in right.values()]), ours.right),
    )


def _listed(
    rows: Mapping[str, Foil | Observation], documents: Iterable[LedgerDocument], ours: Mapping[str, Counted]
) -> dict[str, Counted]:
    counted: dict[str, Counted] = {}
    reversals: list[Foil | Observation] = []
    for document in documents:
        row = rows[document.id]
        mine = ours.get(document.id)
        _add(counted, row, mine.leg if mine else rules_for(row.terms, (row.legs,)).total or "")
        reversals += [row] if row.reverses else []
    for row in reversals:
        # A book lists what was reversed by its present state, without amounts: it still stands beside its reversal.
        reversal, original = counted.get(row.document), rows.get(row.reverses)
        if reversal and original and row.reverses in ours and row.reverses not in counted:
            counted[row.reverses] = reversal._replace(
                entity=original.entity, units=-reversal.units, version=original.version
            )
    return counted


def _add(counted: dict[str, Counted], row: Foil | Observation, leg: str) -> None:
    value = row.legs.get(leg)
    if isinstance(value, Money):
        counted[row.document] = Counted(row.entity, value.currency, value.minor, row.version, leg)


def total_of(counted: Mapping[str, Counted], entity: str, currency: str) -> int:
    """Return the sum of a side in one legal entity and currency, in minor units."""
    return sum(c.units for c in counted.values() if (c.entity, c.currency) == (entity, currency))


class BookSide(NamedTuple):
    """Answer of the books about one side."""

    listed: Mapping[str, Counted]
    moved: Collection[str]
    """Documents that became known while the books of their system were being read."""
    late: Collection[str]
    """Documents that became known after the books of their system were read."""
    complete: bool
    """Every document of the side is in a book that was read."""


class SideCount(NamedTuple):
    """One side of one line, counted both ways."""

    ours: int
    book: int | None
    differences: list[CountDifference]
    taken_over: int = 0
    """Documents that count in the book as in our rows, because the reading says nothing about them."""
    late: int = 0
    """Documents that are newer than the reading."""


def compare_counts(
    side: Side, ours: Mapping[str, Counted], book: BookSide | None, entity: str, currency: str
) -> SideCount:
    """Count a side of one legal entity and currency both ways. `book` is None if no book lists the side.

    A document that moved while the books were read counts as in our rows, unless the book lists its present version: a
    book that was read before a change says nothing about it. So does one that is in no book, where not all are in one. One
    that came later is counted as late: only another reading proves it.
    """
    mine = {d: c for d, c in ours.items() if (c.entity, c.currency) == (entity, currency)}
    total = sum(c.units for c in mine.values())
    if book is None:
        return SideCount(total, None, [])
    theirs = {d: c for d, c in book.listed.items() if (c.entity, c.currency) == (entity, currency)}
    differences: list[CountDifference] = []
    taken_over, late, by_book = 0, 0, sum(c.units for c in theirs.values())
    for document in sorted(mine.keys() | theirs.keys()):
        own, listed = mine.get(document), theirs.get(document)
        if own and listed and own.units == listed.units:
            continue
        present, entry = ours.get(document), book.listed.get(document)
        same_version = present is not None and entry is not None and present.version == entry.version
        unlisted = entry is None and not book.complete
        own_units, listed_units = own.units if own else 0, listed.units if listed else 0
        if document in book.late and not (same_version or unlisted):
            late += 1
        elif unlisted or (document in book.moved and not same_version):
            taken_over += 1
            by_book += own_units - listed_units
        else:
            differences.append(
                CountDifference(
                    side=side,
                    document=document,
                    ours=own_units if own else None,
                    book=listed_units if listed else None,
                )
            )
    return SideCount(total, by_book, differences, taken_over, late)


def checkpoint_line(
    roll: RollForward, left: SideCount, right: SideCount, signed_opening: int | None
) -> CheckpointLine:
    differences = [*left.differences, *right.differences]
    return CheckpointLine(
        currency=roll.currency,
        opening=roll.opening,
        signed_opening=signed_opening,
        asserted=roll.asserted,
        observed=roll.observed,
        closing=roll.closing,
        columns=roll.columns,
        balanced=roll.balanced,
        left_total=left.ours,
        right_total=right.ours,
        left_book=left.book,
        right_book=right.book,
        taken_over=left.taken_over + right.taken_over,
        late=left.late + right.late,
        differing=len(differences),
        differences=tuple(differences[:MAX_DIFFERENCES]),
    )


def part_lines(matches: Iterable[MatchRows], entity: str, since: date | None, until: date) -> list[PartLine]:
    """Return the sums of each amount of each divided leg in a period, such as base and tax of each tax code."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for rows in matches:
        dated = effective_by(rows, until)
        foils = {f.document: f for f in dated.foils if not f.provisional}
        observed = {o.document: o for o in dated.observations}
        sides: tuple[tuple[str, Iterable[Foil | Observation]], ...] = (
            ("asserted", [foils[d.id] for d in standing([left_document(f) for f in foils.values()])]),
            ("observed", [observed[d.id] for d in standing([right_document(o) for o in observed.values()])]),
        )
        for column, documents in sides:
            for row in documents:
                if row.entity == entity and (since is None or row.effective[:10] >= since.isoformat()):
                    for leg, value in row.legs.items():
                        if divided_leg(leg) != leg and isinstance(value, Money):
                            sums.setdefault((leg, value.currency), Counter())[column] += value.minor
    return [
        PartLine(leg=leg, currency=currency, asserted=count["asserted"], observed=count["observed"])
        for (leg, currency), count in sorted(sums.items())
    ]


def day_after(day: date) -> date:
    return day + timedelta(days=1)
