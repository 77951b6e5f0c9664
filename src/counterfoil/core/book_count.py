"""Counting both sides of a reconciliation for a checkpoint: from our rows, and from what the systems' books list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from counterfoil.core.book_checkpoint import CheckpointLine, CountDifference, PartLine
from counterfoil.core.document import Side, divided_leg
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import standing
from counterfoil.core.money import Money
from counterfoil.core.roll_forward import RollForward, effective_by
from counterfoil.core.settle import MatchRows, left_document, right_document, rules_of
from counterfoil.core.terms import rules_for

MAX_DIFFERENCES = 100
"""Differing documents that a line names; it counts all."""


class Counted(NamedTuple):
    """Amount that a document adds to the total of its side."""

    entity: str
    currency: str
    units: int


class BothSides(NamedTuple):
    """Counted documents of both sides, by document."""

    left: Mapping[str, Counted]
    right: Mapping[str, Counted]


def count_ours(matches: Iterable[MatchRows], until: date) -> BothSides:
    """Return the standing documents of our rows up to a cut-off. A provisional one is in no book, so it is left out."""
    left: dict[str, Counted] = {}
    right: dict[str, Counted] = {}
    for rows in matches:
        dated = effective_by(rows, until)
        leg = rules_of(dated).total or ""
        foils = {f.document: f for f in dated.foils if not f.provisional}
        observed = {o.document: o for o in dated.observations}
        _add(left, foils, [d.id for d in standing([left_document(f) for f in foils.values()])], leg)
        _add(right, observed, [d.id for d in standing([right_document(o) for o in observed.values()])], leg)
    return BothSides(left, right)


def count_listed(foils: Sequence[Foil], observations: Sequence[Observation], until: date) -> BothSides:
    """Return the standing documents that books list up to a cut-off."""
    last = until.isoformat()
    left: dict[str, Counted] = {}
    right: dict[str, Counted] = {}
    by_left = {f.document: f for f in foils if not f.effective or f.effective[:10] <= last}
    by_right = {o.document: o for o in observations if not o.effective or o.effective[:10] <= last}
    for document in standing([left_document(f) for f in by_left.values()]):
        _add(left, by_left, [document.id], _total(by_left[document.id]))
    for document in standing([right_document(o) for o in by_right.values()]):
        _add(right, by_right, [document.id], _total(by_right[document.id]))
    return BothSides(left, right)


def _total(row: Foil | Observation) -> str:
    return rules_for(row.terms, (row.legs,)).total or ""


def _add(
    counted: dict[str, Counted],
    rows: Mapping[str, Foil] | Mapping[str, Observation],
    ids: Iterable[str],
    leg: str,
) -> None:
    for id_ in ids:
        row = rows[id_]
        value = row.legs.get(leg)
        if isinstance(value, Money):
            counted[id_] = Counted(row.entity, value.currency, value.minor)


def total_of(counted: Mapping[str, Counted], entity: str, currency: str) -> int:
    """Return the sum of a side in one legal entity and currency, in minor units."""
    return sum(c.units for c in counted.values() if (c.entity, c.currency) == (entity, currency))


class SideCount(NamedTuple):
    """One side of one line, counted both ways."""

    ours: int
    book: int | None
    differences: list[CountDifference]


def compare_counts(
    side: Side,
    ours: Mapping[str, Counted],
    book: Mapping[str, Counted] | None,
    moved: Collection[str],
    entity: str,
    currency: str,
) -> SideCount:
    """Count a side of one legal entity and currency both ways.

    `book` is None if no book lists the side. A document that `moved` while the books were read counts as in our rows: a
    book that was read before it changed says nothing about it.
    """
    mine = {d: c.units for d, c in ours.items() if (c.entity, c.currency) == (entity, currency)}
    total = sum(mine.values())
    if book is None:
        return SideCount(total, None, [])
    theirs = {
        d: c.units for d, c in book.items() if (c.entity, c.currency) == (entity, currency) and d not in moved
    }
    theirs |= {d: units for d, units in mine.items() if d in moved}
    differences = [
        CountDifference(side=side, document=d, ours=mine.get(d), book=theirs.get(d))
        for d in sorted(mine.keys() | theirs.keys())
        if mine.get(d) != theirs.get(d)
    ]
    return SideCount(total, sum(theirs.values()), differences)


def checkpoint_line(roll: RollForward, left: SideCount, right: SideCount) -> CheckpointLine:
    differences = [*left.differences, *right.differences]
    return CheckpointLine(
        currency=roll.currency,
        opening=roll.opening,
        asserted=roll.asserted,
        observed=roll.observed,
        closing=roll.closing,
        columns=roll.columns,
        balanced=roll.balanced,
        left_total=left.ours,
        right_total=right.ours,
        left_book=left.book,
        right_book=right.book,
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
                if row.entity == entity and (since is None or row.effective >= since.isoformat()):
                    for leg, value in row.legs.items():
                        if divided_leg(leg) != leg and isinstance(value, Money):
                            sums.setdefault((leg, value.currency), Counter())[column] += value.minor
    return [
        PartLine(leg=leg, currency=currency, asserted=count["asserted"], observed=count["observed"])
        for (leg, currency), count in sorted(sums.items())
    ]


def day_after(day: date) -> date:
    return day + timedelta(days=1)
