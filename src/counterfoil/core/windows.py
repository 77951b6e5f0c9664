"""Windows of dates: which documents of both sides are near enough to be paired, where neither names the other.

Pure. A window counts whole days between document dates. A document without a date is near every other one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import lru_cache

from counterfoil.core.document import LedgerDocument, MatchRules, NetDocument

_NO_DAY = date.max.toordinal() + 1
"""Stands after every day."""


def day_of(document: LedgerDocument) -> int | None:
    """Return the number of the document's day; None if it has no date."""
    return _day(document.effective[:10])


@lru_cache(maxsize=4096)
def _day(text: str) -> int | None:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        return None


def is_near(rules: MatchRules, left: LedgerDocument, right: LedgerDocument) -> bool:
    """Report whether the dates of two documents are within the window. Without a date there is no distance."""
    if rules.window is None:
        return True
    mine, other = day_of(left), day_of(right)
    return mine is None or other is None or abs(mine - other) <= rules.window


def belongs(rules: MatchRules, left: LedgerDocument, right: LedgerDocument) -> bool:
    """Report whether two documents are near each other, or one names the other."""
    return is_near(rules, left, right) or right.id in left.names or left.id in right.names


class DueQueue:
    """Right documents that offer amounts of one sign, in their order, which is mostly that of their days."""

    def __init__(self, rights: Sequence[NetDocument], window: int | None) -> None:
        self._window = window
        self._rights = rights
        self._start = 0
        days = () if window is None else (day_of(right.document) for right in rights)
        self._days = [_NO_DAY if day is None else day for day in days]
        self._by_day = self._days == sorted(self._days)

    def near(self, left: LedgerDocument) -> Iterator[NetDocument]:
        """Yield the documents within the window of a left document."""
        for first, end in self._spans(left):
            for place in range(max(first, self._start), end):
                yield self._rights[place]

    def last_near(self, left: LedgerDocument) -> NetDocument | None:
        """Return the last of them, also of those dropped; None if there is none."""
        ends = [end for first, end in self._spans(left) if end > first]
        return self._rights[ends[-1] - 1] if ends else None

    def _spans(self, left: LedgerDocument) -> list[tuple[int, int]]:
        everything = (0, len(self._rights))
        day = None if self._window is None else day_of(left)
        if self._window is None or day is None:
            return [everything]
        if not self._by_day:
            days = enumerate(self._days)
            return [(n, n + 1) for n, other in days if other == _NO_DAY or abs(day - other) <= self._window]
        undated = bisect_left(self._days, _NO_DAY)
        first = bisect_left(self._days, day - self._window, 0, undated)
        end = bisect_right(self._days, day + self._window, first, undated)
        return [(first, end), (undated, len(self._rights))]

    def drop_front(self, is_used_up: Callable[[NetDocument], bool]) -> None:
        """Leave out documents at the front that offer nothing any more."""
        while self._start < len(self._rights) and is_used_up(self._rights[self._start]):
            self._start += 1
