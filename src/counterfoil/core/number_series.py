"""Number series: the legal numbers of documents, and which of them are missing or there twice.

A series is what stands around the last digits of a number: `INV-2026-` of `INV-2026-0041`. Its numbers are counted from the
lowest to the highest one, and from the last one of the former period on.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import msgspec

MAX_NAMED_NUMBERS = 50
"""Gaps, and doubles, that a series names one by one; it counts all."""
_Affixes: TypeAlias = tuple[str, str]
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


def number_series(
    numbers: Iterable[str], before: Mapping[str, str] = MappingProxyType({})
) -> list[NumberSeries]:
    """Return the series of the numbers of different documents, in order of their names.

    `before` has the last number of each series in the former period: what follows on it is no beginning but a gap.
    """
    series: dict[_Affixes | None, Counter[tuple[int, str]]] = {}
    for number in numbers:
        affixes, place = _split(number)
        series.setdefault(affixes, Counter())[place, number] += 1
    lines = [_series(affixes, counts, before) for affixes, counts in series.items()]
    return sorted(lines, key=lambda line: (line.series, line.first))


def _split(number: str) -> tuple[_Affixes | None, int]:
    """Return what stands around the last digits of a number, and these digits; None for a number without digits."""
    parts = _DIGITS.fullmatch(number)
    return (None, 0) if parts is None else ((parts[1], parts[3]), int(parts[2]))


def _series(
    affixes: _Affixes | None, counts: Counter[tuple[int, str]], before: Mapping[str, str]
) -> NumberSeries:
    places: dict[int, list[str]] = {}
    for (place, number), count in sorted(counts.items()):
        places.setdefault(place, []).extend([number] * count)
    ordered = sorted(places)
    name = "" if affixes is None else f"{affixes[0]}#{affixes[1]}"
    known_before, former = _split(before.get(name, ""))
    if affixes is not None and known_before == affixes:
        # A record of the former period that is listed again by a newer version is no beginning of this one.
        ordered = [place for place in ordered if place > former]
        steps = [former, *ordered]
    else:
        steps = ordered
    gaps: list[str] = []
    missing = 0
    for one, next_ in itertools.pairwise(steps):
        if next_ - one > 1 and affixes is not None:
            missing += next_ - one - 1
            if len(gaps) < MAX_NAMED_NUMBERS:
                pattern = places[next_][0]
                first, last = (_numbered(affixes, pattern, place) for place in (one + 1, next_ - 1))
                gaps.append(first if first == last else f"{first} - {last}")
    if affixes is not None:
        doubles = [numbers[0] for _, numbers in sorted(places.items()) if len(numbers) > 1]
    else:
        doubles = sorted(number for (_, number), count in counts.items() if count > 1)
    if not ordered:
        return NumberSeries(
            series=name,
            first="",
            last=before[name],
            documents=0,
            missing=0,
            double=len(doubles),
            doubles=tuple(doubles[:MAX_NAMED_NUMBERS]),
        )
    return NumberSeries(
        series=name,
        first=places[ordered[0]][0],
        last=places[ordered[-1]][-1],
        documents=sum(len(places[place]) for place in ordered),
        missing=missing,
        gaps=tuple(gaps),
        double=len(doubles),
        doubles=tuple(doubles[:MAX_NAMED_NUMBERS]),
    )


def _numbered(affixes: _Affixes, pattern: str, place: int) -> str:
    """Return the number of a series at a place, with as many digits as its neighbour has."""
    width = len(pattern) - len(affixes[0]) - len(affixes[1])
    return f"{affixes[0]}{place:0{width}d}{affixes[1]}"
