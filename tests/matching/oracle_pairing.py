"""Pairing of the oracle: the ranks of the specification, one after the other, on the documents of one match.

Part of tests/matching/oracle.py; imports nothing of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import product

from tests.matching.oracle_records import ZERO, Amounts, Document, Rules

Pair = tuple[Document, Document]


@dataclass
class Pairing:
    """Partners on one match while the ranks run, with the amounts that each left document received."""

    rules: Rules
    lefts: list[Document]
    rights: list[Document]
    shares: dict[tuple[str, str], Amounts] = field(default_factory=dict)
    """In the order in which the pairs were made."""
    cancelled: list[Document] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lefts.sort(key=lambda document: document.order)
        self.rights.sort(key=lambda document: document.order)

    def partners(self, document: Document) -> list[Document]:
        if document.side == "left":
            return [right for right in self.rights if (document.name, right.name) in self.shares]
        return [left for left in self.lefts if (left.name, document.name) in self.shares]

    def alone(self, side: list[Document]) -> list[Document]:
        return [document for document in side if not self.partners(document)]

    def lacking(self, left: Document, leg: str) -> Decimal:
        received = (share[leg] for (name, _), share in self.shares.items() if name == left.name)
        return left.amount(leg) - sum(received, ZERO)

    def remaining(self, right: Document, leg: str | None) -> Decimal:
        if leg is None:
            return ZERO
        given_away = (share[leg] for (_, name), share in self.shares.items() if name == right.name)
        return right.amount(leg) - sum(given_away, ZERO)

    def join(self, left: Document, right: Document) -> None:
        """Give the left document all of the right one, or what it lacks of each leg where others may share it."""
        whole = not self.rules.many_lefts
        self.shares[left.name, right.name] = {
            leg: right.amount(leg) if whole else _smaller(self.lacking(left, leg), self.remaining(right, leg))
            for leg in self.rules.sums
        }

    def is_free(self, left: Document, right: Document) -> bool:
        left_is_free = self.rules.many_rights or not self.partners(left)
        right_is_free = self.rules.many_lefts or not self.partners(right)
        return left_is_free and right_is_free and right not in self.partners(left)

    # The ranks, in the order of the specification

    def run(self, pairings: Sequence[tuple[str, str]]) -> None:
        """Run all ranks; from the start after each reversal on the right, so that a freed partner is offered anew."""
        while True:
            self.shares = {}
            everything = list(product(self.lefts, self.rights))
            self.join_closest([edge for edge in everything if (edge[0].name, edge[1].name) in pairings])
            self.join_closest([edge for edge in everything if namings(*edge)])
            self.join_equal_totals()
            if not self.take_back_one():
                break
        while self.cancel_one():
            pass
        self.join_rest(self.lefts, self.rights, own_books=True)
        self.join_rest(self.lefts, self.alone(self.rights), own_books=False)
        self.hand_out_excess()

    def join_closest(self, edges: list[Pair]) -> None:
        """Join again and again the two documents that agree best; among equals the earliest."""
        while edges:
            best = max(edges, key=self._closeness)  # max takes the first of equals, and edges are in order
            if self.is_free(*best):
                self.join(*best)
            edges = [edge for edge in edges if edge is not best]

    def join_equal_totals(self) -> None:
        total = self.rules.total
        for amount in sorted({document.amount(total) for document in (*self.lefts, *self.rights)}):
            while True:
                edges = [
                    (left, right)
                    for left, right in product(self.alone(self.lefts), self.alone(self.rights))
                    if left.amount(total) == right.amount(total) == amount
                    and _same_currency(left, right)
                    and is_within_window(self.rules, left, right)
                ]
                if not edges:
                    break
                self.join(*max(edges, key=self._closeness))

    def take_back_one(self) -> bool:
        """Take one reversal of the right without partner together with its original: their sum is what is shown."""
        for reversal, original in self._reversals(self.rights):
            if reversal.owner == original.owner and not self.partners(reversal):
                self.rights.remove(reversal)
                self.rights[self.rights.index(original)] = rest = self._sum(original, reversal)
                if all(rest.amount(leg) == 0 for leg in self.rules.sums):
                    self.rights.remove(rest)
                return True
        return False

    def cancel_one(self) -> bool:
        """Let one reversal of the left and its original, neither having a partner, cancel each other."""
        for reversal, original in self._reversals(self.alone(self.lefts)):
            opposite = all(reversal.amount(leg) == -original.amount(leg) for leg in self.rules.sums)
            if opposite and reversal.owner == original.owner:
                self.cancelled += [reversal, original]
                self.lefts = [left for left in self.lefts if left not in self.cancelled]
                return True
        return False

    def join_rest(self, lefts: list[Document], rights: list[Document], *, own_books: bool) -> None:
        """Join by due time, same sign. Documents of other books answer only what its own do not."""
        edges = [
            (left, right)
            for left, right in product(lefts, rights)
            if _sign(left.amount(self.rules.total)) == _sign(right.amount(self.rules.total)) != 0
            and (left.owner == right.owner or not own_books)
            and is_within_window(self.rules, left, right)
            and not (self.rules.rest_on_account and self._pays_what_it_names(right))
        ]
        if self.rules.shape == "n:1":
            self._fill_groups(edges)
            return
        for left, right in edges:
            if self._wants(left) and self._has_some_left(right):
                self.join(left, right)
        if self.rules.many_rights:
            self._fill_gaps(sorted(edges, key=lambda edge: edge[1].order))

    def _fill_gaps(self, edges: list[Pair]) -> None:
        """Give whole documents to left ones that lack as much or more, although they are within tolerance."""
        total = self.rules.total
        for left, right in edges:
            if total and not self.partners(right):
                lacking = self.lacking(left, total)
                if _sign(lacking) == _sign(left.amount(total)) and abs(lacking) >= abs(right.amount(total)):
                    self.join(left, right)

    def _fill_groups(self, edges: list[Pair]) -> None:
        """Shape n:1: fill right documents by due time. What exceeds the last one joins its group all the same."""
        edges = [edge for edge in edges if self._has_room(edge[1])]
        for left in self.alone(self.lefts):
            suitable = [right for other, right in edges if other is left]
            with_room = [right for right in suitable if self._has_room(right)]
            for right in (with_room or suitable[-1:])[:1]:
                self.join(left, right)

    def hand_out_excess(self) -> None:
        """What nothing lacks of a shared document falls to its last partner, in its own books if there is one."""
        if not self.rules.many_lefts:
            return
        by_name = {left.name: left for left in self.lefts}
        for right in self.rights:
            names = [left for left, name in self.shares if name == right.name]
            own = [name for name in names if by_name[name].owner == right.owner]
            for name in (own or names)[-1:]:
                for leg in self.rules.sums:
                    self.shares[name, right.name][leg] += self.remaining(right, leg)

    # What may be joined

    def _has_room(self, right: Document) -> bool:
        total = self.rules.total
        if total is None:
            return False
        absorbed = ZERO if total in self.rules.short_only else self.rules.tolerance[total]
        return abs(self.remaining(right, total)) > absorbed

    def _wants(self, left: Document) -> bool:
        total = self.rules.total
        if total is None or not self.rules.many_rights:
            return not self.partners(left)
        return self.lacking(left, total) * _sign(left.amount(total)) > self.rules.tolerance[total]

    def _has_some_left(self, right: Document) -> bool:
        if self.rules.shape == "n:m":
            return self.remaining(right, self.rules.total) != 0
        return not self.partners(right)

    def _pays_what_it_names(self, right: Document) -> bool:
        return any(left.name in right.names for left in self.partners(right))

    def _closeness(self, edge: Pair) -> tuple[int, ...]:
        left, right = edge
        gaps_are_small = all(
            self.rules.is_absorbed(leg, left.amount(leg), left.amount(leg) - right.amount(leg))
            for leg in self.rules.sums
            if leg in left.legs
        )
        equal = not different_leg(self.rules, left, right)
        return namings(left, right), left.owner == right.owner, equal, gaps_are_small

    def _reversals(self, side: list[Document]) -> list[Pair]:
        """Return reversals with their originals; the last reversal of a chain comes first."""
        by_name = {document.name: document for document in side}
        reversals = [document for document in side if document.reverses in by_name]
        reversals.sort(key=lambda document: (-_depth(document, by_name), document.order))
        return [(reversal, by_name[str(reversal.reverses)]) for reversal in reversals]

    def _sum(self, original: Document, reversal: Document) -> Document:
        names = [leg for leg in self.rules.sums if leg in original.legs or leg in reversal.legs]
        sums = {leg: str(original.amount(leg) + reversal.amount(leg)) for leg in names}
        return replace(original, record={**original.record, "legs": {**original.legs, **sums}})


def _sign(amount: Decimal) -> int:
    return (amount > 0) - (amount < 0)


def _smaller(first: Decimal, second: Decimal) -> Decimal:
    """Return the amount of smaller magnitude, zero where the signs differ."""
    return min(first, second, key=abs) if _sign(first) == _sign(second) else ZERO


def is_within_window(rules: Rules, left: Document, right: Document) -> bool:
    """Report whether two documents may be joined though neither names the other and no person paired them."""
    if rules.window is None or left.day is None or right.day is None:
        return True
    return -rules.window <= (left.day - right.day).days <= rules.window


def _same_currency(left: Document, right: Document) -> bool:
    return bool(left.record.get("currency") == right.record.get("currency"))


def namings(left: Document, right: Document) -> int:
    return (right.name in left.names) + (left.name in right.names)


def _depth(document: Document, by_name: dict[str, Document]) -> int:
    """Return the number of reversals from the document back to its first original."""
    trail = [document.name]
    while (original := by_name[trail[-1]].reverses) in by_name and original not in trail:
        trail.append(str(original))
    return len(trail)


def different_leg(rules: Rules, left: Document, right: Document) -> str | None:
    """Return the first `equal` leg, by name, of the left document that the right one lacks or shows otherwise."""
    for leg in rules.equals:
        if leg in left.legs and str(left.legs[leg]) != str(right.legs.get(leg, "")):
            return leg
    return None
