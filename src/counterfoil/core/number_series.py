"""Number series: the legal numbers of documents, and which of them are missing or there twice.

A series is what stands before the last digits of a number: `INV-2026-` of `INV-2026-0041`. Its numbers are counted from
the lowest to the highest one, so a gap at either end is not seen here: the neighbouring periods show it.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable

import msgspec

MAX_NAMED_NUMBERS = 50
"""Gaps, and doubles, that a series names one by one; it counts all."""
_DIGITS = re.compile(r"(?s)(.*?)([0-9]{1,18})([^0-9]*)")


class NumberSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One series. Numbers without digits are a series of their own, in which only doubles are seen."""

    series: str
    """Text before and after the digits, with `#` for them."""
    first: str
    last: str
    documents: int
    missing: int
    gaps: tuple[str, ...] = ()
    """Missing numbers, or `FROM - TO` for several in a row."""
    double: int
    doubles: tuple[str, ...] = ()
    """Numbers that more than one document has."""

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.double


def number_series(numbers: Iterable[str]) -> list[NumberSeries]:
    """Return the series of the numbers of different documents, in order of their names."""
    series: dict[str, Counter[tuple[int, str]]] = {}
    for number in numbers:
        parts = _DIGITS.fullmatch(number)
        name, place = (number, 0) if parts is None else (f"{parts[1]}#{parts[3]}", int(parts[2]))
        series.setdefault(name if parts is not None else "", Counter())[place, number] += 1
    return [_series(name, counts) for name, counts in sorted(series.items())]


def _series(name: str, counts: Counter[tuple[int, str]]) -> NumberSeries:
    places: dict[int, list[str]] = {}
    for (place, number), count in sorted(counts.items()):
        places.setdefault(place, []).extend([number] * count)
    ordered = sorted(places)
    gaps: list[str] = []
    missing = 0
    for before, after in itertools.pairwise(ordered):
        if after - before > 1:
            missing += after - before - 1
            if len(gaps) < MAX_NAMED_NUMBERS:
                pattern = places[before][0]
                first, last = _numbered(name, pattern, before + 1), _numbered(name, pattern, after - 1)
                gaps.append(first if first == last else f"{first} - {last}")
    if name:
        doubles = [numbers[0] for _, numbers in sorted(places.items()) if len(numbers) > 1]
    else:
        doubles = sorted(number for (_, number), count in counts.items() if count > 1)
    return NumberSeries(
        series=name,
        first=places[ordered[0]][0],
        last=places[ordered[-1]][-1],
        documents=sum(counts.values()),
        missing=missing,
        gaps=tuple(gaps),
        double=len(doubles),
        doubles=tuple(doubles[:MAX_NAMED_NUMBERS]),
    )


def _numbered(series: str, pattern: str, place: int) -> str:
    """Return the number of a series at a place, with as many digits as its neighbour has."""
    before, _, after = series.rpartition("#")
    width = len(pattern) - len(before) - len(after)
    return f"{before}{place:0{width}d}{after}"
