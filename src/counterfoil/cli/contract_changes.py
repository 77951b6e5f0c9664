"""Changes of contracts as text and as Markdown: equal findings are folded, and operations are named."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from counterfoil.contracts.report import Change

_VALUE = re.compile(r"(.*\b)(value|schema) (.+) was (added|removed)", re.S)
MAX_NAMES = 8
"""Limit of names, places and operations in one line."""
MAX_EXAMPLE_CHARACTERS = 160
MIN_CHANGES = 20
"""From this number of changes on, the totals list the rules."""


class JudgedChange(NamedTuple):
    """A change with the direction in which it was found, and the reason why the team accepts it, if it does."""

    way: str
    change: Change
    accepted: str = ""


class FoldedChange(NamedTuple):
    """Changes of one rule that differ in a value or in their place only."""

    way: str
    change: Change
    message: str
    places: list[str]
    used_by: list[str]


def sections(changes: list[JudgedChange]) -> list[tuple[str, list[JudgedChange]]]:
    """Return the changes by how a reader must treat them."""
    rest = [item for item in changes if not item.change.breaking]
    open_changes = [item for item in rest if not item.accepted]
    return [
        ("Breaking", [item for item in changes if item.change.breaking]),
        ("Undecided (the rules cannot tell)", [item for item in open_changes if not item.change.decided]),
        ("Accepted by the overrides", [item for item in rest if item.accepted]),
        ("Not breaking", [item for item in open_changes if item.change.decided]),
    ]


def totals(changes: list[JudgedChange], what: str) -> Iterator[str]:
    """Yield the number of changes of each section and, in a long list, of each rule."""
    breaking, undecided, accepted, harmless = (group for _, group in sections(changes))
    more = f", {len(accepted)} accepted" if accepted else ""
    yield f"{len(breaking)} breaking, {len(undecided)} undecided{more}, {len(harmless)} other changes ({what})"
    if len(changes) >= MIN_CHANGES:
        for rule, count in Counter(item.change.rule for item in changes).most_common():
            yield f"{count:>6}  {rule}"


def fold(changes: list[JudgedChange]) -> list[FoldedChange]:
    """Return the changes with equal findings in one, in the order of their first places."""
    by_place: dict[tuple[str, str, str], list[JudgedChange]] = {}
    for item in changes:
        where = "" if item.change.rule in ("schema-added", "schema-removed") else item.change.where
        by_place.setdefault((item.way, item.change.rule, where), []).append(item)
    folded: dict[tuple[str, str, str], FoldedChange] = {}
    for (way, rule, _), items in by_place.items():
        for first, message, of in _messages(items):
            entry = folded.setdefault((way, rule, message), FoldedChange(way, first, message, [], []))
            entry.places.append(first.where)
            for change in of:
                entry.used_by.extend(user for user in change.used_by if user not in entry.used_by)
    return list(folded.values())


def _messages(items: list[JudgedChange]) -> Iterator[tuple[Change, str, list[Change]]]:
    """Yield one message for all values of a list that changed alike, and the other messages as they are."""
    alike: dict[tuple[str, str, str], list[tuple[str, Change]]] = {}
    for item in items:
        match = _VALUE.fullmatch(item.change.message)
        if match:
            alike.setdefault((match[1], match[2], match[4]), []).append((match[3], item.change))
        else:
            yield item.change, item.change.message, [item.change]
    for (start, noun, verb), values in alike.items():
        first = values[0][1]
        if len(values) == 1:
            yield first, first.message, [first]
        else:
            names = shorten([name for name, _ in values])
            yield first, f"{start}{noun}s {names} were {verb}", [change for _, change in values]


def shorten(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    first, more = names[:MAX_NAMES], len(names) - MAX_NAMES
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def text(changes: list[JudgedChange], what: str, *, several: bool, only_breaking: bool) -> Iterator[str]:
    """Yield the lines for a terminal: breaking changes first, the totals last."""
    for title, group in sections(changes)[: 1 if only_breaking else None]:
        if group:
            yield f"{title}:"
            for folded in fold(group):
                yield from _entry(folded, several=several)
            yield ""
    yield from totals(changes, what)


def _entry(folded: FoldedChange, *, several: bool) -> Iterator[str]:
    change, direction = folded.change, f" [{folded.way}]" if several else ""
    counts = []
    if change.users > 1:
        counts.append(f"{change.users} places")
    if len(folded.places) > 1:
        counts.append(f"and {len(folded.places) - 1} more like it")
    count = f"  ({'; '.join(counts)})" if counts else ""
    yield f"  {change.rule}{direction}  {change.where or '/'}{count}"
    yield f"      {folded.message}"
    if change.example is not msgspec.UNSET and change.breaking:
        yield f"      example: {example_text(change.example)}"
    if folded.used_by and not _names_its_operation(change):
        yield f"      used by: {shorten(folded.used_by)}"


def _names_its_operation(change: Change) -> bool:
    return len(change.used_by) == 1 and change.where.startswith(change.used_by[0])


def markdown(changes: list[JudgedChange], what: str, *, several: bool, only_breaking: bool) -> Iterator[str]:
    """Yield the lines of a Markdown page: one part for each operation or component."""
    total, *rules = totals(changes, what)
    yield from ("# Changes of the contract", "", f"**{total}**", "")
    for title, group in sections(changes)[: 1 if only_breaking else None]:
        if not group:
            continue
        yield from (f"## {title}", "")
        parts: dict[str, list[FoldedChange]] = {}
        for folded in fold(group):
            parts.setdefault(_heading(folded.change), []).append(folded)
        for heading, entries in parts.items():
            yield from (f"### {heading}", "")
            for folded in entries:
                yield from _item(folded, several=several)
            yield ""
    if rules:
        yield from ("## Rules", "", "| changes | rule |", "|---:|---|")
        for line in rules:
            count, rule = line.split()
            yield f"| {count} | `{rule}` |"


def _heading(change: Change) -> str:
    if _names_its_operation(change):
        return _code(change.used_by[0])
    steps = change.where.split("/")
    if len(steps) > 3 and steps[1] == "components":
        return f"{_code(steps[3])} ({steps[2]})"
    return "The description" if change.where.startswith("/") or not change.where else _code(change.where)


def _item(folded: FoldedChange, *, several: bool) -> Iterator[str]:
    change = folded.change
    direction = f" ({folded.way})" if several else ""
    yield f"- **{change.rule}**{direction}: {folded.message}"
    places = [_code(place or "/") for place in folded.places]
    yield f"  - at {shorten(places)}"
    if change.example is not msgspec.UNSET and change.breaking:
        yield f"  - example: {_code(example_text(change.example))}"
    if folded.used_by and not _names_its_operation(change):
        yield f"  - used by {', '.join(_code(user) for user in folded.used_by)}"


def _code(value: str) -> str:
    return f"`{value.replace('`', chr(39))}`"


def example_text(example: Any) -> str:
    line = json.dumps(example, ensure_ascii=False, default=str)
    return line if len(line) <= MAX_EXAMPLE_CHARACTERS else f"{line[: MAX_EXAMPLE_CHARACTERS - 3]}..."
