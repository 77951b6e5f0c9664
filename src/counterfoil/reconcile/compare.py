"""Comparison of two books: groups of one key, what matches in them, and each difference with its cause."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from difflib import SequenceMatcher
from typing import NamedTuple

from counterfoil.reconcile.causes import AMOUNT_WHY, Cause, cause_of
from counterfoil.reconcile.entries import Book, BookEntry

MAX_GROUP_ROWS = 10_000
"""Rows of one key that are paired one by one; a larger group is compared by its sums."""
SIMILAR_RATIO = 0.75
CHANCE_AMOUNTS = 50
"""Differences of other amounts, for each one that a usual rate explains, from which on that is chance."""
MAX_SIMILAR_ROWS = 2_000
"""Missing rows for which a similar row of the other side is looked for."""


class Difference(NamedTuple):
    cause: Cause
    key: str
    left: tuple[BookEntry, ...]
    right: tuple[BookEntry, ...]
    why: str
    rate: str = ""
    """The usual rate that explains it, where no column states it."""

    @property
    def amounts(self) -> dict[str, Decimal]:
        """Left less right, by currency."""
        amounts: dict[str, Decimal] = {}
        for entries, sign in ((self.left, 1), (self.right, -1)):
            for entry in entries:
                amounts[entry.currency] = amounts.get(entry.currency, Decimal(0)) + sign * entry.amount
        return amounts


@dataclass(slots=True)
class BookComparison:
    """The result: matched groups by their shape, and differences in the order of the left file."""

    left: Book
    right: Book
    shapes: Counter[str] = field(default_factory=Counter)
    """Matched groups by `1:1`, `1:n`, `n:1` and `n:m`."""
    matched: dict[str, Decimal] = field(default_factory=dict)
    """Matched amount by currency."""
    differences: list[Difference] = field(default_factory=list)
    usual_days: int = 0
    """Days between both sides that most pairs stay within."""

    @property
    def count(self) -> int:
        return self.shapes.total()


@dataclass(frozen=True, slots=True)
class Agreement:
    """Groups that agree and were compared in the database: their number by shape, and their amounts."""

    shapes: dict[str, int]
    matched: dict[str, Decimal]
    lags: dict[int, int]
    """Pairs of one row each by the days between them, also of those that differ."""


def compare(left: Book, right: Book, *, keyed: bool, agreement: Agreement | None = None) -> BookComparison:
    """Return what matches and what differs. Without keys, rows pair by amount and currency, the nearest days first.

    With an `agreement`, the books have the other groups only.
    """
    comparison = BookComparison(left, right)
    groups = list(_groups(left, right) if keyed else _by_amount(left, right))
    if agreement is None:
        comparison.usual_days = usual_days(_lags(groups))
    else:
        comparison.usual_days = usual_days(agreement.lags)
        comparison.shapes.update(agreement.shapes)
        comparison.matched.update(agreement.matched)
    for lefts, rights in groups:
        _judge(comparison, lefts, rights)
    _without_chance(comparison)
    order = {"left": 0, "right": 1}
    comparison.differences.sort(
        key=lambda d: (order["left"], d.left[0].row) if d.left else (order["right"], d.right[0].row)
    )
    _suggest(comparison)
    return comparison


# ------------------------------------------------------------------ groups

Group = tuple[list[BookEntry], list[BookEntry]]


def _groups(left: Book, right: Book) -> Iterator[Group]:
    """Yield the entries of both sides that share a key, also by way of a third one; entries without a key alone."""
    lefts, rights = _by_key(left), _by_key(right)
    single = all(len(keys) <= 1 for book in (left, right) for keys in book.keys)
    if single:
        for key in dict.fromkeys([*lefts, *rights]):
            yield (
                [left.entries[n] for n in lefts.get(key, ())],
                [right.entries[n] for n in rights.get(key, ())],
            )
    else:
        yield from _components(left, right)
    for book, side in ((left, 0), (right, 1)):
        for entry, keys in zip(book.entries, book.keys, strict=True):
            if not keys:
                yield ([entry], []) if side == 0 else ([], [entry])


def _by_key(book: Book) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for n, keys in enumerate(book.keys):
        for key in keys:
            places[key].append(n)
    return places


def _components(left: Book, right: Book) -> Iterator[Group]:
    """Yield groups where one row names several keys, as a wire over several invoices does."""
    shared_keys = set(_by_key(left)) & set(_by_key(right))
    parent: dict[tuple[int, int], tuple[int, int]] = {}

    def root(node: tuple[int, int]) -> tuple[int, int]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    owner: dict[str, tuple[int, int]] = {}
    for side, book in enumerate((left, right)):
        for n, keys in enumerate(book.keys):
            root((side, n))
            for key in keys:
                if key in shared_keys:
                    first = owner.setdefault(key, (side, n))
                    parent[root((side, n))] = root(first)
    members: dict[tuple[int, int], Group] = {}
    for side, book in enumerate((left, right)):
        for n, keys in enumerate(book.keys):
            if keys:
                members.setdefault(root((side, n)), ([], []))[side].append(book.entries[n])
    yield from members.values()


def _by_amount(left: Book, right: Book) -> Iterator[Group]:
    """Yield pairs of the same amount and currency: rows of each amount in the order of their days."""
    sides: list[dict[tuple[Decimal, str], list[BookEntry]]] = []
    for book in (left, right):
        by_amount: dict[tuple[Decimal, str], list[BookEntry]] = defaultdict(list)
        for entry in book.entries:
            by_amount[entry.amount, entry.currency].append(entry)
        sides.append(by_amount)
    for money in dict.fromkeys([*sides[0], *sides[1]]):
        lefts, rights = (
            sorted(side.get(money, ()), key=lambda e: (e.day or date.min, e.row)) for side in sides
        )
        for n in range(max(len(lefts), len(rights))):
            yield lefts[n : n + 1], rights[n : n + 1]


# ------------------------------------------------------------------ one group


def _judge(comparison: BookComparison, lefts: list[BookEntry], rights: list[BookEntry]) -> None:
    key = next((e.key for e in (*lefts, *rights) if e.key), "")
    add = comparison.differences.append
    if not lefts or not rights:
        for entry in lefts:
            add(Difference("missing_right", entry.key, (entry,), (), "only the left side has it"))
        for entry in rights:
            add(Difference("missing_left", entry.key, (), (entry,), "only the right side has it"))
        return
    if _sums(lefts) == _sums(rights):
        _matched(comparison, key, lefts, rights)
        return
    if max(len(lefts), len(rights)) > MAX_GROUP_ROWS:
        cause, why, rate = cause_of(lefts, rights)
        why = f"{why}; too many rows of one key to pair them"
        add(Difference(cause, key, tuple(lefts), tuple(rights), why, rate))
        return
    pairs, rest_left, rest_right = _paired(lefts, rights)
    for a, b in pairs:
        _matched(comparison, key, [a], [b])
    if rest_left and rest_right:
        if _sums(rest_left) == _sums(rest_right):
            _matched(comparison, key, rest_left, rest_right)
            return
        cause, why, rate = cause_of(rest_left, rest_right)
        add(Difference(cause, key, tuple(rest_left), tuple(rest_right), why, rate))
        return
    twins = {(e.amount, e.currency) for pair in pairs for e in pair}
    for entry in rest_left:
        if (entry.amount, entry.currency) in twins:
            add(Difference("duplicate_left", key, (entry,), (), "the left side has it once more"))
        else:
            add(Difference("missing_right", key, (entry,), (), "only the left side has this part"))
    for entry in rest_right:
        if (entry.amount, entry.currency) in twins:
            add(Difference("duplicate_right", key, (), (entry,), "the right side has it once more"))
        else:
            add(Difference("missing_left", key, (), (entry,), "only the right side has this part"))


def _sums(entries: Iterable[BookEntry]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for entry in entries:
        sums[entry.currency] = sums.get(entry.currency, Decimal(0)) + entry.amount
    return {currency: amount for currency, amount in sums.items() if amount}


def _paired(
    lefts: Sequence[BookEntry], rights: Sequence[BookEntry]
) -> tuple[list[tuple[BookEntry, BookEntry]], list[BookEntry], list[BookEntry]]:
    """Pair rows of one key with the same money, the same entity and the nearest day first; return them and the rest."""
    free: dict[tuple[Decimal, str], list[BookEntry]] = defaultdict(list)
    for entry in rights:
        free[entry.amount, entry.currency].append(entry)
    pairs, rest = [], []
    for entry in lefts:
        choices = free.get((entry.amount, entry.currency))
        if not choices:
            rest.append(entry)
            continue
        best = min(choices, key=lambda other: (other.entity != entry.entity, _days(entry, other), other.row))
        choices.remove(best)
        pairs.append((entry, best))
    return pairs, rest, sorted((e for choices in free.values() for e in choices), key=lambda e: e.row)


def _matched(comparison: BookComparison, key: str, lefts: list[BookEntry], rights: list[BookEntry]) -> None:
    """Record a group whose amounts agree, or the difference of entity or period in it."""
    entities = {e.entity for e in lefts}, {e.entity for e in rights}
    if all(entities) and "" not in entities[0] | entities[1] and entities[0] != entities[1]:
        ours, theirs = (", ".join(sorted(side)) for side in entities)
        why = f"{ours} on the left, {theirs} on the right"
        comparison.differences.append(Difference("entity", key, tuple(lefts), tuple(rights), why))
        return
    if len(lefts) == len(rights) == 1:
        a, b = lefts[0].day, rights[0].day
        if a and b and (a.year, a.month) != (b.year, b.month) and abs((a - b).days) > comparison.usual_days:
            why = f"{a} on the left, {b} on the right"
            comparison.differences.append(Difference("period", key, (lefts[0],), (rights[0],), why))
            return
    shape = (
        f"{'1' if len(lefts) == 1 else 'n'}:{'1' if len(rights) == 1 else 'n' if len(lefts) == 1 else 'm'}"
    )
    comparison.shapes[shape] += 1
    for entry in lefts:
        comparison.matched[entry.currency] = comparison.matched.get(entry.currency, Decimal(0)) + entry.amount


def _lags(groups: Iterable[Group]) -> Counter[int]:
    """Count pairs of one row each by the days between them."""
    return Counter(
        abs((lefts[0].day - rights[0].day).days)
        for lefts, rights in groups
        if len(lefts) == len(rights) == 1 and lefts[0].day and rights[0].day
    )


def usual_days(lags: Mapping[int, int]) -> int:
    """Return the days within which pairs of one row each usually stay: none, if three quarters have equal days."""
    place, usual = (sum(lags.values()) - 1) * 3 // 4, 0
    for usual in sorted(lags):
        place -= lags[usual]
        if place < 0:
            break
    return 2 * usual + 1 if usual else 0


def _days(a: BookEntry, b: BookEntry) -> int:
    return abs((a.day - b.day).days) if a.day and b.day else 0


def _without_chance(comparison: BookComparison) -> None:
    """Call a difference one of the amount where a rate explains it alone among many: that is chance."""
    rates = Counter(d.rate for d in comparison.differences if d.rate)
    others = sum(d.cause == "amount" for d in comparison.differences)
    for n, d in enumerate(comparison.differences):
        if d.rate and others > CHANCE_AMOUNTS * rates[d.rate]:
            comparison.differences[n] = d._replace(cause="amount", why=AMOUNT_WHY, rate="")


# ------------------------------------------------------------------ suggestions


def _suggest(comparison: BookComparison) -> None:
    """Name, for a missing row, a missing row of the other side with the same money and a similar key. It stays missing."""
    missing = [
        n for n, d in enumerate(comparison.differences) if d.cause in ("missing_left", "missing_right")
    ]
    if len(missing) > MAX_SIMILAR_ROWS:
        return
    by_money: dict[tuple[Decimal, str], list[int]] = defaultdict(list)
    for n in missing:
        entry = (*comparison.differences[n].left, *comparison.differences[n].right)[0]
        by_money[entry.amount, entry.currency].append(n)
    for places in by_money.values():
        lefts = [n for n in places if comparison.differences[n].left]
        rights = [n for n in places if comparison.differences[n].right]
        for n in lefts:
            ours = comparison.differences[n].left[0]
            near = [
                (SequenceMatcher(None, ours.key, comparison.differences[m].right[0].key).ratio(), m)
                for m in rights
            ]
            score, m = max(near, default=(0.0, -1))
            if score >= SIMILAR_RATIO:
                theirs = comparison.differences[m].right[0]
                _remark(comparison, n, f"perhaps {theirs.key!r} of the right side, which has the same amount")
                _remark(comparison, m, f"perhaps {ours.key!r} of the left side, which has the same amount")


def _remark(comparison: BookComparison, n: int, text: str) -> None:
    difference = comparison.differences[n]
    comparison.differences[n] = difference._replace(why=f"{difference.why}; {text}")
