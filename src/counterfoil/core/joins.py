"""Joins of the documents of one match: which pairs are made so far, and what each document still lacks or offers.

Pure. The time grows with the number of documents, not with its square: documents that agree alike are one class, and the
rest waits in queues by sign, entity and currency.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from counterfoil.core.document import (
    LedgerDocument,
    LegKind,
    LegRule,
    MatchRules,
    NetDocument,
    Number,
    number,
    same_books,
    same_currency,
    size,
    sums_of,
    total_of,
    unit,
)
from counterfoil.core.windows import DueQueue, day_of, is_near


class Share(msgspec.Struct, frozen=True):
    """One right document, or a part of it, that answers one left document."""

    left: str
    shown: NetDocument
    amount: Number
    """Amount of the total leg; 0 where there is no total."""
    legs: Mapping[str, Number]
    """Amount of each sum leg."""


_Pair: TypeAlias = tuple[LedgerDocument, NetDocument]
_Closeness: TypeAlias = tuple[int, bool, bool, bool]
_Book: TypeAlias = Callable[[LedgerDocument], Hashable]


class Joins:
    """The pairs made so far, in their order, and the amounts of the total that are still without a partner."""

    def __init__(
        self, rules: MatchRules, lefts: Sequence[LedgerDocument], rights: Sequence[NetDocument]
    ) -> None:
        self._rules = rules
        self._divides = rules.shape in ("n:1", "n:m")
        """A right document may answer several left ones."""
        self._collects = rules.shape in ("1:n", "n:m")
        """A left document may have several right ones."""
        total = LegRule() if rules.total is None else rules.legs[rules.total]
        self._most_short: Number = total.tolerance
        self._most_over: Number = total.tolerance if total.absorbs == "any" else 0
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

    # ------------------------------------------------------------------ pairs that are stated

    def join_stated(self, pairs: Collection[tuple[str, str]]) -> None:
        """Join these pairs of ids as far as the shape allows, the closest ones first."""
        lefts = {d.id: place for place, d in enumerate(self.lefts)}
        rights = {n.id: place for place, n in enumerate(self.rights)}
        places = sorted({(lefts[a], rights[b]) for a, b in pairs if a in lefts and b in rights})
        edges = [(self.lefts[a], self.rights[b]) for a, b in places]
        for left, right in self._closest_first(edges):
            left_is_free = self._collects or left.id not in self._paired_lefts
            right_is_free = self._divides or right.id not in self._paired_rights
            if left_is_free and right_is_free and (left.id, right.id) not in self._joined:
                self._join(left, right)

    def _closest_first(self, pairs: list[_Pair]) -> list[_Pair]:
        if len(pairs) > 1:
            pairs.sort(key=lambda pair_: _closeness(self._rules, *pair_), reverse=True)
        return pairs

    # ------------------------------------------------------------------ equal totals

    def join_equal_totals(self) -> None:
        """Join documents of one total and currency that have no partner, the closest ones first."""
        lefts: dict[Number | None, list[LedgerDocument]] = {}
        for left in self.open():
            lefts.setdefault(total_of(self._rules, left), []).append(left)
        rights: dict[Number | None, list[NetDocument]] = {}
        for right in self.free():
            if right.total in lefts:
                rights.setdefault(right.total, []).append(right)
        for total, mine in rights.items():
            self._join_by_class(lefts[total], mine)

    def _join_by_class(self, lefts: Sequence[LedgerDocument], rights: Sequence[NetDocument]) -> None:
        """Join documents of one total. Documents whose comparison reads the same values are one class.

        Of documents that name each other, one has a partner already.
        """
        queues: dict[Hashable, deque[tuple[int, NetDocument]]] = {}
        for place, right in enumerate(rights):
            queues.setdefault(self._class_of(right.document, right.legs), deque()).append((place, right))
        classes = [self._class_of(left, {}) for left in lefts]
        choices: dict[_Closeness, dict[Hashable, list[deque[tuple[int, NetDocument]]]]] = {}
        for class_, left in dict(zip(classes, lefts, strict=True)).items():
            for queue in queues.values():
                right = queue[0][1]
                if same_currency(self._rules, left, right.document) and is_near(
                    self._rules, left, right.document
                ):
                    by_class = choices.setdefault(_closeness(self._rules, left, right), {})
                    by_class.setdefault(class_, []).append(queue)
        for closeness in sorted(choices, reverse=True):
            for class_, left in zip(classes, lefts, strict=True):
                waiting = [queue for queue in choices[closeness].get(class_, ()) if queue]
                if waiting and left.id not in self._paired_lefts:
                    self._join(left, min(waiting, key=lambda queue: queue[0][0]).popleft()[1])

    def _class_of(self, document: LedgerDocument, net: Mapping[str, Number]) -> Hashable:
        return (
            document.entity,
            document.currency,
            frozenset(document.legs.items()),
            frozenset(net.items()),
            day_of(document) if self._rules.window is not None else None,
        )

    # ------------------------------------------------------------------ reversals of the left

    def cancel_left(self) -> set[str]:
        """Take out left documents that reverse each other and have no partner; return their ids."""
        cancelled: set[str] = set()
        for reversal, original in reversals_first(self.open()):
            if not cancelled.isdisjoint((reversal.id, original.id)):
                continue
            sums, others = sums_of(self._rules, reversal), sums_of(self._rules, original)
            opposite = all(sums.get(name, 0) == -others.get(name, 0) for name in sums | others)
            if opposite and same_books(self._rules, reversal, original):
                cancelled |= {reversal.id, original.id}
        self.lefts = [d for d in self.lefts if d.id not in cancelled]
        return cancelled

    # ------------------------------------------------------------------ the rest

    def fill_own_books(self) -> None:
        """Join the rest by due time, within one entity and currency: same sign, in parts as the shape allows."""
        self._fill(self.rights, self._own_book)

    def _own_book(self, document: LedgerDocument) -> Hashable:
        total = document.legs.get(self._rules.total or "")
        return document.entity, document.currency if total is None else unit(total, document.currency)

    def fill_other_books(self) -> None:
        """Join what nothing answers in its own books likewise."""
        self._fill(self.free(), lambda d: None)

    def _fill(self, rights: Sequence[NetDocument], book: _Book) -> None:
        if self._divides and not self._collects:
            self._group([s for s in rights if self._is_left_over(s)], book)
            return
        queues = self._queues(rights, book)
        for left in self.lefts:
            queue = queues.get((book(left), _sign(self._need[left.id])))
            if queue is not None and self._wants(left):
                for right in queue.near(left):
                    if self._offers(right):
                        self._join(left, right)
                    if not self._wants(left):
                        break
                queue.drop_front(lambda right: not self._offers(right))
        if self._collects:
            self._fit(rights, book)

    def _fit(self, rights: Sequence[NetDocument], book: _Book) -> None:
        """Give a foil within its tolerance what fits into the difference."""
        lacking: dict[Hashable, list[LedgerDocument]] = {}
        for left in self.lefts:
            if _same_sign(self._need[left.id], self._missing[left.id]):
                lacking.setdefault((book(left), _sign(self._need[left.id])), []).append(left)
        most = {key: max(size(self._missing[d.id]) for d in lefts) for key, lefts in lacking.items()}
        for right in rights:
            key = (book(right.document), _sign(right.total or 0))
            if key not in lacking or size(right.total or 0) > most[key]:
                continue
            for left in lacking[key]:
                near = right.id not in self._paired_rights and is_near(self._rules, left, right.document)
                if near and self._fits(left, right):
                    self._join(left, right)

    def _group(self, offered: Sequence[NetDocument], book: _Book) -> None:
        """Give each right document the foils that it covers; the last one takes all that are left."""
        every, with_rest = self._queues(offered, book), self._queues(offered, book)
        for left in self.lefts:
            key = (book(left), _sign(self._need[left.id]))
            if left.id in self._paired_lefts or key not in every:
                continue
            right = next((s for s in with_rest[key].near(left) if self._is_left_over(s)), None)
            right = right or every[key].last_near(left)
            if right is not None:
                self._join(left, right)
            with_rest[key].drop_front(lambda right: not self._is_left_over(right))

    def _queues(self, rights: Sequence[NetDocument], book: _Book) -> dict[Hashable, DueQueue]:
        """Return the right documents by book and sign; a total of zero offers nothing, nor does a rest on account."""
        queues: dict[Hashable, list[NetDocument]] = {}
        for right in rights:
            if right.total and not (self._rules.rest_on_account and self._answers_a_name(right)):
                queues.setdefault((book(right.document), _sign(right.total)), []).append(right)
        return {key: DueQueue(mine, self._rules.window) for key, mine in queues.items()}

    def _answers_a_name(self, right: NetDocument) -> bool:
        return any((name, right.id) in self._joined for name in right.document.names)

    def _is_left_over(self, right: NetDocument) -> bool:
        return size(self._left_over[right.id]) > self._most_over

    def _wants(self, left: LedgerDocument) -> bool:
        need, missing = self._need[left.id], self._missing[left.id]
        if not self._collects:
            return left.id not in self._paired_lefts
        return _same_sign(need, missing) and size(missing) > self._most_short

    def _offers(self, right: NetDocument) -> bool:
        return self._left_over[right.id] != 0 if self._divides else right.id not in self._paired_rights

    def _fits(self, left: LedgerDocument, right: NetDocument) -> bool:
        missing, total = self._missing[left.id], right.total or 0
        return _same_sign(self._need[left.id], missing) and _smaller(missing, total) == total != 0

    def _join(self, left: LedgerDocument, right: NetDocument) -> None:
        left_over = self._left_over[right.id]
        amount = _smaller(self._missing[left.id], left_over) if self._divides else left_over
        self._missing[left.id] -= amount
        self._left_over[right.id] -= amount
        self._pairs.append((left, right))
        self._joined.add((left.id, right.id))
        self._paired_lefts.add(left.id)
        self._paired_rights.add(right.id)

    # ------------------------------------------------------------------ shares

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


def _closeness(rules: MatchRules, left: LedgerDocument, right: NetDocument) -> _Closeness:
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
            asserted = number(value)
            small = small and tolerates(leg, asserted, asserted - right.legs.get(name, 0))
    namings = (right.id in left.names) + (left.id in right.document.names)
    return namings, same_books(rules, left, right.document), equal, small


def tolerates(leg: LegRule, asserted: Number, residual: Number) -> bool:
    """Return whether a leg absorbs a residual: asserted less shown."""
    if size(residual) > leg.tolerance:
        return False
    return leg.absorbs == "any" or min(0, asserted) <= residual <= max(0, asserted)


def reversals_first(documents: Sequence[LedgerDocument]) -> list[tuple[LedgerDocument, LedgerDocument]]:
    """Return reversals with what they reverse. A reversal of a reversal comes first."""
    by_id = {d.id: d for d in documents}
    pairs = [(d, by_id[d.reverses]) for d in documents if d.reverses in by_id and d.reverses != d.id]
    if len(pairs) > 1:
        originals = {d.id: d.reverses for d in documents}
        pairs.sort(key=lambda pair_: -_depth(pair_[0].id, originals))
    return pairs


def _depth(id_: str, originals: Mapping[str, str]) -> int:
    """Return the number of documents from a reversal back to its first original."""
    trail: list[str] = []
    while id_ in originals and id_ not in trail:
        trail.append(id_)
        id_ = originals[id_]
    return len(trail)


def _sign(amount: Number) -> int:
    return (amount > 0) - (amount < 0)


def _same_sign(a: Number, b: Number) -> bool:
    return (a > 0 and b > 0) or (a < 0 and b < 0)


def _smaller(a: Number, b: Number) -> Number:
    """Return the amount nearer to zero, or zero where the signs differ."""
    if not _same_sign(a, b):
        return 0
    return min(a, b) if a > 0 else max(a, b)
