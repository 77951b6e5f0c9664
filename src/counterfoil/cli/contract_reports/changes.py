"""Changes with a team's verdicts, and equal changes folded into one finding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

from counterfoil.contracts.report import Change

Severity = Literal["breaking", "undecided", "accepted", "other"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The most severe first."""
MAX_NAMES = 8
"""Limit of names, places and operations in one line."""
MAX_EXAMPLE_CHARACTERS = 160
_WHOLE_PARTS = frozenset(("schema-added", "schema-removed", "path-added"))
"""Rules whose findings differ in the name of the part only."""
_VALUE = re.compile(r"(.*\b)(value|alternative|schema|path) (.+) was (added|removed)", re.S)


class JudgedChange(NamedTuple):
    """A change with the direction in which it was found, and the verdict of the team's overrides."""

    way: str
    change: Change
    accepted: str = ""
    """Reason why the team accepts the change; empty if it does not."""
    settled: bool = False
    """True if the team states the severity of the rule, so an undecided change is no open question."""

    @property
    def severity(self) -> Severity:
        if self.change.breaking:
            return "breaking"
        if self.accepted:
            return "accepted"
        return "other" if self.change.decided or self.settled else "undecided"


class FoldedChange(NamedTuple):
    """Changes of one rule with one effect, which differ in a value or in their places."""

    message: str
    changes: list[JudgedChange]

    @property
    def first(self) -> Change:
        return self.changes[0].change

    @property
    def severity(self) -> Severity:
        return self.changes[0].severity

    @property
    def places(self) -> list[str]:
        return distinct(item.change.where for item in self.changes)

    @property
    def used_by(self) -> list[str]:
        return distinct(user for item in self.changes for user in item.change.used_by)


def fold(changes: list[JudgedChange]) -> list[FoldedChange]:
    """Return the changes with equal findings in one, in the order of their first places."""
    by_place: dict[tuple[str, ...], list[JudgedChange]] = {}
    for item in changes:
        where = "" if item.change.rule in _WHOLE_PARTS else item.change.where
        by_place.setdefault((item.severity, item.way, item.change.rule, where), []).append(item)
    folded: dict[tuple[str, ...], FoldedChange] = {}
    for (severity, way, rule, _), items in by_place.items():
        for message, of in _messages(items):
            folded.setdefault((severity, way, rule, message), FoldedChange(message, [])).changes.extend(of)
    return list(folded.values())


def _messages(items: list[JudgedChange]) -> Iterator[tuple[str, list[JudgedChange]]]:
    """Yield one message for all values of a list that changed alike, and the other messages as they are."""
    alike: dict[tuple[str, str, str], list[tuple[str, JudgedChange]]] = {}
    for item in items:
        match = _VALUE.fullmatch(item.change.message)
        if match:
            alike.setdefault((match[1], match[2], match[4]), []).append((match[3], item))
        else:
            yield item.change.message, [item]
    for (start, noun, verb), values in alike.items():
        if len(values) == 1:
            yield values[0][1].change.message, [values[0][1]]
        else:
            names = shorten([name for name, _ in values])
            yield f"{start}{noun}s {names} were {verb}", [item for _, item in values]


def distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def shorten(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    first, more = names[:MAX_NAMES], len(names) - MAX_NAMES
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def example_text(example: Any) -> str:
    line = json.dumps(example, ensure_ascii=False, default=str)
    return line if len(line) <= MAX_EXAMPLE_CHARACTERS else f"{line[: MAX_EXAMPLE_CHARACTERS - 3]}..."
