"""Pairing: which documents of the right side answer which documents of the left side, on one match.

Pure. In this order: pairings made by persons, documents that name each other, equal totals, a document and its
reversal, the rest by due time with the same sign. Only `shape` allows parts. A window bounds equal totals and the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from counterfoil.core.document import (
    LedgerDocument,
    MatchRules,
    NetDocument,
    due_order,
    same_books,
    sums_of,
    total_of,
)
from counterfoil.core.joins import Joins, Share, reversals_first


class Pairs(msgspec.Struct, frozen=True):
    """All pairs of one match."""

    parts: list[Share]
    free: list[NetDocument]
    """Right documents that stand and answer nothing. A total of zero shows nothing."""
    cancelled: set[str]
    """Left documents that a document of their own side reverses, or that reverse one."""


def pair(
    rules: MatchRules,
    lefts: Iterable[LedgerDocument],
    rights: Collection[LedgerDocument],
    by_person: Collection[tuple[str, str]] = (),
) -> Pairs:
    """Pair standing documents. Reads no clock; neither the order of the documents nor their arrival matters."""
    owed = sorted(lefts, key=due_order)
    if len(owed) <= 1 and not rights:
        return Pairs([], [], set())
    documents = [NetDocument(d, sums_of(rules, d), total_of(rules, d)) for d in sorted(rights, key=due_order)]
    named = list(_naming(owed, rights))
    unjoinable = _unjoinable(rules, owed, rights, (*by_person, *named))
    while True:
        joins = Joins(rules, owed, documents)
        if by_person:
            joins.join_stated(by_person)
        if named:
            joins.join_stated(named)
        joins.join_equal_totals()
        merged = _merge_reversals(rules, joins.free(), documents, unjoinable)
        if merged is None:
            break
        documents = merged
    cancelled = joins.cancel_left()
    joins.fill_own_books()
    # What is shown in other books answers only what nothing answers in its own.
    joins.fill_other_books()
    return Pairs(joins.parts(), [n for n in joins.free() if n.total != 0], cancelled)


def _naming(lefts: Iterable[LedgerDocument], rights: Iterable[LedgerDocument]) -> Iterator[tuple[str, str]]:
    """Yield left and right id of documents of which one names the other. The other need not exist."""
    yield from ((left.id, name) for left in lefts for name in left.names)
    yield from ((name, right.id) for right in rights for name in right.names)


def _merge_reversals(
    rules: MatchRules,
    free: Sequence[NetDocument],
    documents: Sequence[NetDocument],
    unjoinable: Callable[[LedgerDocument], bool],
) -> list[NetDocument] | None:
    """Take a reversal that answers nothing together with the document that it reverses; None if there is none.

    What is reversed by a document still stands, and so does the reversal: their sum is what the system shows. One is
    taken at a time, since a partner that becomes free may be answered by the next. Reversals that nothing can ever join
    need not wait for that.
    """
    free_ids = {s.id for s in free if s.document.reverses}
    if not free_ids:
        return None
    nets = {n.id: n for n in documents}
    is_merged = False
    for reversal, original in reversals_first([n.document for n in documents]):
        if reversal.id not in free_ids or not same_books(rules, reversal, original):
            continue
        if is_merged and not unjoinable(reversal):
            break
        is_merged = True
        back, net = nets.pop(reversal.id).legs, nets[original.id].legs
        legs = {name: net.get(name, 0) + back.get(name, 0) for name in {**net, **back}}
        nets[original.id] = NetDocument(original, legs, legs.get(rules.total or ""))
        if not any(legs.values()):
            del nets[original.id]
        if not unjoinable(reversal):
            break
    return list(nets.values()) if is_merged else None


def _unjoinable(
    rules: MatchRules,
    lefts: Iterable[LedgerDocument],
    rights: Iterable[LedgerDocument],
    stated: Iterable[tuple[str, str]],
) -> Callable[[LedgerDocument], bool]:
    """Return a test of reversals: nothing states a pair of it or has its total, and no other reversal meets it."""
    totals = {total_of(rules, left) for left in lefts}
    paired = {right for _, right in stated}
    reversals = Counter(right.reverses for right in rights if right.reverses)
    ids = {right.id for right in rights if right.reverses}

    def test(reversal: LedgerDocument) -> bool:
        original = reversal.reverses
        is_chained = reversal.id in reversals or original in ids or reversals[original] > 1
        return not is_chained and reversal.id not in paired and total_of(rules, reversal) not in totals

    return test
