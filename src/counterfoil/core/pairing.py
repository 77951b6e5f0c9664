"""Pairing: which documents of the right side answer which documents of the left side, on one match.

Pure. In this order: pairings made by persons, documents that name each other, equal totals, a document and its
reversal, the rest by due time with the same sign. Only `shape` allows parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from counterfoil.core.document import (
    LedgerDocument,
    LegKind,
    MatchRules,
    Number,
    due_order,
    number,
    same_books,
    same_currency,
    size,
    sums_of,
    total_of,
)


class NetDocument(msgspec.Struct, frozen=True):
    """A document of the right side, together with reversals of it that no assertion asks for."""

    document: LedgerDocument
    legs: Mapping[str, Number]
    """Sum legs, less what its reversals take back."""
    total: Number | None

    @property
    def id(self) -> str:
        return self.document.id


class Share(msgspec.Struct, frozen=True):
    """One right document, or a part of it, that answers one left document."""

    left: str
    shown: NetDocument
    amount: Number
    """Amount of the total leg; 0 where there is no total."""
    legs: Mapping[str, Number]
    """Amount of each sum leg."""


class Pairs(msgspec.Struct, frozen=True):
    """All pairs of one match."""

    parts: list[Share]
    free: list[NetDocument]
    """Right documents that stand and answer nothing. A total of zero shows nothing."""
    cancelled: set[str]
    """Left documents that a document of their own side reverses, or that reverse one."""


_Pair: TypeAlias = tuple[LedgerDocument, NetDocument]
_Agrees: TypeAlias = Callable[[LedgerDocument, NetDocument], bool]


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
    while True:
        work = _Work(rules, owed, documents)
        if by_person:
            work.join_best(lambda left, right: (left.id, right.id) in by_person)
        if any(d.names for d in owed) or any(n.document.names for n in documents):
            work.join_best(lambda left, right: right.id in left.names or left.id in right.document.names)
        work.join_equal_totals()
        merged = _merge_reversal(rules, work.free(), documents)
        if merged is None:
            break
        documents = merged
    cancelled = work.cancel_left()
    work.fill(work.lefts, work.rights, lambda left, right: same_books(rules, left, right.document))
    # What is shown in other books answers only what nothing answers in its own.
    work.fill(work.lefts, work.free(), lambda left, right: True)
    return Pairs(work.parts(), [n for n in work.free() if n.total != 0], cancelled)


def _closeness(rules: MatchRules, left: LedgerDocument, right: NetDocument) -> tuple[int, bool, bool, bool]:
    """Return how well two documents agree; the larger is closer."""
    right_legs = right.document.legs
    equal = small = True
    for name, value in left.legs.items():
        leg = rules.legs.get(name)
        if leg is None:
            continue
        if leg.kind is LegKind.EQUAL:
            equal = equal and right_legs.get(name) == value
        elif leg.kind is LegKind.SUM:
            small = small and size(number(value) - right.legs.get(name, 0)) <= leg.tolerance
    namings = (right.id in left.names) + (left.id in right.document.names)
    return namings, same_books(rules, left, right.document), equal, small


def _depth(id_: str, originals: Mapping[str, str]) -> int:
    """Return the number of documents from a reversal back to its first original."""
    trail: list[str] = []
    while id_ in originals and id_ not in trail:
        trail.append(id_)
        id_ = originals[id_]
    return len(trail)


def _reversals_first(documents: Sequence[LedgerDocument]) -> list[tuple[LedgerDocument, LedgerDocument]]:
    """Return reversals with what they reverse. A reversal of a reversal comes first."""
    by_id = {d.id: d for d in documents}
    pairs = [(d, by_id[d.reverses]) for d in documents if d.reverses in by_id and d.reverses != d.id]
    if len(pairs) > 1:
        originals = {d.id: d.reverses for d in documents}
        pairs.sort(key=lambda pair_: -_depth(pair_[0].id, originals))
    return pairs


def _merge_reversal(
    rules: MatchRules, free: Sequence[NetDocument], documents: Sequence[NetDocument]
) -> list[NetDocument] | None:
    """Take one reversal that answers nothing together with the document that it reverses; None if there is none.

    What is reversed by a document still stands, and so does the reversal: their sum is what the system shows.
    """
    free_ids = {s.id for s in free if s.document.reverses}
    if not free_ids:
        return None
    by_id = {n.id: n for n in documents}
    for document, reversed_ in _reversals_first([n.document for n in documents]):
        if document.id not in free_ids or not same_books(rules, document, reversed_):
            continue
        reversal, original = by_id[document.id], by_id[reversed_.id]
        legs = {
            n: original.legs.get(n, 0) + reversal.legs.get(n, 0) for n in {**original.legs, **reversal.legs}
        }
        sum_ = NetDocument(reversed_, legs, legs.get(rules.total or ""))
        rest = (sum_ if n is original else n for n in documents if n is not reversal)
        return [n for n in rest if n is not sum_ or any(legs.values())]
    return None


class _Work:
    """The pairs made so far, in their order, and the amounts of the total that are still without a partner."""

    def __init__(
        self, rules: MatchRules, lefts: Sequence[LedgerDocument], rights: Sequence[NetDocument]
    ) -> None:
        self._rules = rules
        self._divides = rules.shape in ("n:1", "n:m")
        """A right document may answer several left ones."""
        self._collects = rules.shape in ("1:n", "n:m")
        """A left document may have several right ones."""
        self._tolerance: Number = rules.legs[rules.total].tolerance if rules.total is not None else 0
        self.lefts = lefts
        self.rights = rights
        self._pairs: list[_Pair] = []
        self._joined: set[tuple[str, str]] = set()
        self._paired_lefts: set[str] = set()
        self._paired_rights: set[str] = set()
        self._need: dict[str, Number] = {d.id: total_of(rules, d) or 0 for d in lefts}
        self._missing = dict(self._need)
        self._left_over: dict[str, Number] = {s.id: s.total or 0 for s in rights}

    def open(self) -> list[LedgerDocument]:
        return [d for d in self.lefts if d.id not in self._paired_lefts]

    def free(self) -> list[NetDocument]:
        return [s for s in self.rights if s.id not in self._paired_rights]

    def join_best(self, agrees: _Agrees) -> None:
        """Join documents that agree as far as the shape allows, the closest ones first."""
        pairs = [(left, right) for left in self.lefts for right in self.rights if agrees(left, right)]
        for left, right in self._closest_first(pairs):
            left_is_free = self._collects or left.id not in self._paired_lefts
            right_is_free = self._divides or right.id not in self._paired_rights
            if left_is_free and right_is_free and (left.id, right.id) not in self._joined:
                self._join(left, right)

    def join_equal_totals(self) -> None:
        """Join documents of one total and currency that have no partner, the closest ones first."""
        for left, right in self._closest_first(self._equal_totals()):
            if left.id not in self._paired_lefts and right.id not in self._paired_rights:
                self._join(left, right)

    def _equal_totals(self) -> list[_Pair]:
        rules = self._rules
        by_total: dict[Number | None, list[NetDocument]] = {}
        for right in self.free():
            by_total.setdefault(right.total, []).append(right)
        return [
            (left, right)
            for left in self.open()
            for right in by_total.get(total_of(rules, left), ())
            if same_currency(rules, left, right.document)
        ]

    def cancel_left(self) -> set[str]:
        """Take out left documents that reverse each other and have no partner; return their ids."""
        cancelled: set[str] = set()
        for reversal, original in _reversals_first(self.open()):
            if not cancelled.isdisjoint((reversal.id, original.id)):
                continue
            sums, others = sums_of(self._rules, reversal), sums_of(self._rules, original)
            opposite = all(sums.get(name, 0) == -others.get(name, 0) for name in sums | others)
            if opposite and same_books(self._rules, reversal, original):
                cancelled |= {reversal.id, original.id}
        self.lefts = [d for d in self.lefts if d.id not in cancelled]
        return cancelled

    def fill(self, lefts: Sequence[LedgerDocument], rights: Sequence[NetDocument], agrees: _Agrees) -> None:
        """Join the rest by due time where the signs are the same, in parts as the shape allows."""
        if self._divides and not self._collects:
            self._group(lefts, rights, agrees)
            return
        for left in lefts:
            for right in rights:
                if self._wants(left) and self._offers(left, right) and agrees(left, right):
                    self._join(left, right)
        if self._collects:
            # A foil within its tolerance still takes what fits into the difference.
            for right in rights:
                for left in lefts:
                    if (
                        right.id not in self._paired_rights
                        and self._fits(left, right)
                        and agrees(left, right)
                    ):
                        self._join(left, right)

    def _group(self, lefts: Sequence[LedgerDocument], rights: Sequence[NetDocument], agrees: _Agrees) -> None:
        """Give each right document the foils that it covers; the last one takes all that are left."""
        offered = [s for s in rights if self._is_left_over(s)]
        for left in lefts:
            if left.id in self._paired_lefts:
                continue
            suitable = [
                s for s in offered if _same_sign(self._need[left.id], s.total or 0) and agrees(left, s)
            ]
            if suitable:
                self._join(left, next((s for s in suitable if self._is_left_over(s)), suitable[-1]))

    def _is_left_over(self, right: NetDocument) -> bool:
        return size(self._left_over[right.id]) > self._tolerance

    def _wants(self, left: LedgerDocument) -> bool:
        need, missing = self._need[left.id], self._missing[left.id]
        if not self._collects:
            return left.id not in self._paired_lefts
        return _same_sign(need, missing) and size(missing) > self._tolerance

    def _offers(self, left: LedgerDocument, right: NetDocument) -> bool:
        if not _same_sign(self._need[left.id], right.total or 0):
            return False
        return self._left_over[right.id] != 0 if self._divides else right.id not in self._paired_rights

    def _fits(self, left: LedgerDocument, right: NetDocument) -> bool:
        missing, total = self._missing[left.id], right.total or 0
        return _same_sign(self._need[left.id], missing) and _smaller(missing, total) == total != 0

    def _closest_first(self, pairs: list[_Pair]) -> list[_Pair]:
        if len(pairs) > 1:
            pairs.sort(key=lambda pair_: _closeness(self._rules, *pair_), reverse=True)
        return pairs

    def _join(self, left: LedgerDocument, right: NetDocument) -> None:
        left_over = self._left_over[right.id]
        amount = _smaller(self._missing[left.id], left_over) if self._divides else left_over
        self._missing[left.id] -= amount
        self._left_over[right.id] -= amount
        self._pairs.append((left, right))
        self._joined.add((left.id, right.id))
        self._paired_lefts.add(left.id)
        self._paired_rights.add(right.id)

    def parts(self) -> list[Share]:
        """Return what each pair shows, by leg."""
        if self._divides:
            return self._divided()
        return [Share(left.id, right, right.total or 0, right.legs) for left, right in self._pairs]

    def _divided(self) -> list[Share]:
        """Give each foil what it still needs, in order. The last one of the document's own books takes the rest."""
        needs = {left.id: sums_of(self._rules, left) for left, _ in self._pairs}
        rests = {right.id: dict(right.legs) for _, right in self._pairs}
        shares: list[dict[str, Number]] = []
        last: dict[str, int] = {}
        last_of_books: dict[str, int] = {}
        for place, (left, right) in enumerate(self._pairs):
            need, rest = needs[left.id], rests[right.id]
            share = {name: _smaller(need.get(name, 0), amount) for name, amount in rest.items()}
            for name, amount in share.items():
                rest[name] -= amount
                need[name] = need.get(name, 0) - amount
            shares.append(share)
            last[right.id] = place
            if same_books(self._rules, left, right.document):
                last_of_books[right.id] = place
        for id_, place in (last | last_of_books).items():
            for name, amount in rests[id_].items():
                shares[place][name] += amount
        total = self._rules.total or ""
        return [
            Share(left.id, right, share.get(total, 0), share)
            for (left, right), share in zip(self._pairs, shares, strict=True)
        ]


def _same_sign(a: Number, b: Number) -> bool:
    return (a > 0 and b > 0) or (a < 0 and b < 0)


def _smaller(a: Number, b: Number) -> Number:
    """Return the amount nearer to zero, or zero where the signs differ."""
    if not _same_sign(a, b):
        return 0
    return min(a, b) if a > 0 else max(a, b)
