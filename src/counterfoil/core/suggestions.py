"""Suggestions for an unmatched item: which counterfoils it may answer, with a score and the reasons for it.

A suggestion never matches anything. A person pairs, and policies decide who must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from counterfoil.core.foil import Foil, Observation
from counterfoil.core.homes import own_key
from counterfoil.core.money import Money
from counterfoil.core.plural import counted
from counterfoil.core.remembered import PairedKey
from counterfoil.core.terms import rules_for

MIN_POINTS = 35
"""Points from which on a counterfoil is suggested, of 100."""
MAX_SUGGESTIONS = 5
NEAR_SHARE = 100
"""One part in so many is the difference up to which an amount counts as near."""
MIN_NUMBER_DIGITS = 3
"""Digits that a document number needs for being recognized in another one."""
NAMED_POINTS, NUMBER_POINTS = 40, 20
SAME_POINTS, NEAR_POINTS, PART_POINTS = 45, 20, 10
LEGS_POINTS = 10
PAIRED_POINTS, CONFLICT_POINTS = 30, 10
"""For two keys that persons paired before; fewer if they paired the key of the item with other keys as well."""
_DAYS_POINTS = ((0, 10), (3, 8), (10, 4))
"""Days between the two documents, up to which they get these points."""
_DIGITS = re.compile(r"[0-9]+")
_DATE = re.compile(r"20[0-9]{2}([01][0-9]([0-3][0-9])?)?")
_MACHINE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{16}|_[0-9A-Za-z]{14,}", re.I)
"""UUIDs, digests, and ids such as `in_1PzK2eLkdIwHu7`."""


class Suggestion(msgspec.Struct, frozen=True):
    foil: str
    """Id of the counterfoil."""
    score: int
    """0 to 100; the points of the reasons."""
    reasons: tuple[str, ...]


def suggestions(
    item: Observation, foils: Iterable[Foil], paired: Iterable[PairedKey] = ()
) -> list[Suggestion]:
    """Return the counterfoils of its reconciliation that an item may answer, the likeliest first.

    One of another currency, legal entity or sign is never suggested. `paired`: keys that persons paired in this
    reconciliation before.
    """
    by_left = {pair.left: pair for pair in paired if pair.right == own_key(item)}
    judged = (_judged(item, foil, by_left) for foil in foils if foil.rule == item.rule)
    likely = [s for s in judged if s is not None and s.score >= MIN_POINTS]
    return sorted(likely, key=lambda s: (-s.score, s.foil))[:MAX_SUGGESTIONS]


def _judged(item: Observation, foil: Foil, paired: Mapping[str, PairedKey]) -> Suggestion | None:
    leg = rules_for(foil.terms, (foil.legs,)).total or ""
    asserted, total = foil.legs.get(leg), item.legs.get(leg)
    if not isinstance(asserted, Money) or not isinstance(total, Money) or asserted.currency != total.currency:
        return None
    missing = foil.residual.get(leg, asserted.minor)
    if (foil.entity and item.entity and foil.entity != item.entity) or missing * total.minor <= 0:
        return None
    points: list[tuple[int, str]] = []
    _add_amount(points, missing, total, foil)
    if {foil.document, foil.number} & set(item.names) or {item.document, item.number} & set(foil.names):
        points.append((NAMED_POINTS, "one document names the other"))
    elif shared := _shared_number(item, foil):
        points.append((NUMBER_POINTS, f"both have the number {shared}"))
    others = [
        name for name, value in foil.legs.items() if name != leg and isinstance(value, Money) and value.minor
    ]
    if others and all(item.legs.get(name) == foil.legs[name] for name in others):
        points.append((LEGS_POINTS, f"the same {' and '.join(sorted(others))}"))
    if (pair := paired.get(own_key(foil))) is not None:
        points.append(_paired_before(pair))
    _add_days(points, _days_apart(item.effective, foil.effective), foil.terms.window)
    return Suggestion(foil.id, min(100, sum(n for n, _ in points)), tuple(text for _, text in points))


def _add_amount(points: list[tuple[int, str]], missing: int, total: Money, foil: Foil) -> None:
    difference = abs(missing - total.minor)
    if difference == 0:
        points.append((SAME_POINTS, "the same amount"))
    elif difference * NEAR_SHARE <= abs(missing):
        points.append((NEAR_POINTS, f"amounts differ by {Money(difference, total.currency).grouped()}"))
    elif abs(total.minor) < abs(missing) and foil.terms.shape != "1:1":
        points.append((PART_POINTS, "a part of the amount"))


def _paired_before(pair: PairedKey) -> tuple[int, str]:
    text = f"paired {counted(pair.count, 'time')} before by {', '.join(pair.persons)}"
    if pair.is_conflict:
        return CONFLICT_POINTS, f"{text}, but also with another key"
    return PAIRED_POINTS, text


def _add_days(points: list[tuple[int, str]], days: int | None, window: int | None) -> None:
    """Add the points of the dates. A rule does not join dates beyond the window; a person may."""
    if days is None:
        return
    apart = f"{counted(days, 'day')} apart"
    if window is not None and days > window:
        points.append((0, f"{apart}, beyond the window of {counted(window, 'day')}"))
    elif by_day := next((gained for most, gained in _DAYS_POINTS if days <= most), 0):
        points.append((by_day, "the same day" if days == 0 else apart))


def _shared_number(item: Observation, foil: Foil) -> str:
    """Return the longest run of digits that a name of both documents has; empty if none is long enough."""
    of_item = {run for text in (item.number, item.key, *item.names) for run in _runs(text)}
    of_foil = {run for text in (foil.number, foil.key, *foil.names) for run in _runs(text)}
    return max(of_item & of_foil, key=lambda run: (len(run), run), default="")


def _runs(text: str) -> set[str]:
    """Return the numbers in a text without leading zeros. Ids of machines, dates and years are no numbers of documents."""
    if _MACHINE_ID.search(text):
        return set()
    runs = {run.lstrip("0") for run in _DIGITS.findall(text)}
    return {run for run in runs if len(run) >= MIN_NUMBER_DIGITS and not _DATE.fullmatch(run)}


def _days_apart(one: str, other: str) -> int | None:
    try:
        return abs((date.fromisoformat(one[:10]) - date.fromisoformat(other[:10])).days)
    except ValueError:
        return None
