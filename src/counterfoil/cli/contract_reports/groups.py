"""Groups of a report: one for each operation, path or component, with the number of its changes by severity.

Each change is in one group. A finding of several operations is in the group of the first one and names the others.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from counterfoil.cli.contract_reports.changes import (
    SEVERITIES,
    FoldedChange,
    JudgedChange,
    Severity,
    distinct,
    fold,
    shorten,
)
from counterfoil.contracts.json_parts import unescape

_OPERATION = re.compile(r"(?:[A-Z]+ .* of )?([A-Z]+ (?:webhook )?\S+)( .*)?", re.S)
_PARTS = {
    "channels": "channel", "operations": "operation", "webhooks": "webhook", "$defs": "definition",
    "definitions": "definition", "properties": "property",
}  # fmt: skip
_COMPONENTS = {
    "schemas": "schema", "responses": "response", "requestBodies": "body", "headers": "header", "messages": "message",
    "parameters": "parameter", "securitySchemes": "security scheme",
}  # fmt: skip


class ChangePlace(NamedTuple):
    """Operation, path or component in which a change is, and the pointer inside it."""

    kind: str
    name: str
    inside: str

    @property
    def title(self) -> str:
        if self.kind in ("operation", "path"):
            return self.name
        return f"{self.kind} {self.name}" if self.name else "the description"


class Group(NamedTuple):
    """Findings of one operation, path or component, the most severe first."""

    place: ChangePlace
    findings: list[GroupFinding]
    counts: Counter[Severity]

    @property
    def title(self) -> str:
        return self.place.title

    @property
    def used_by(self) -> list[str]:
        """Operations that reach the component; empty for an operation, and for the description as a whole."""
        if self.place.kind in ("operation", "description"):
            return []
        return distinct(user for finding in self.findings for user in finding.folded.used_by)


class GroupFinding(NamedTuple):
    """One line of a group: changes of a rule with one effect, and where they are."""

    folded: FoldedChange
    message: str
    inside: list[str]
    """Pointers inside the group, of the changes that are in it."""
    elsewhere: list[str]
    """Titles of the other operations and components with the same finding."""


def groups(changes: list[JudgedChange]) -> list[Group]:
    """Return the groups of all changes: those with breaking changes first, then in the order of their places."""
    by_title: dict[tuple[str, str], tuple[ChangePlace, list[FoldedChange]]] = {}
    for folded in fold(changes):
        place = place_of(folded.changes[0])
        by_title.setdefault((place.kind, place.name), (place, []))[1].append(folded)
    rows = []
    for place, entries in by_title.values():
        findings = _findings(place, entries)
        counts = Counter(item.severity for entry in entries for item in entry.changes)
        findings.sort(key=lambda finding: SEVERITIES.index(finding.folded.severity))
        rows.append(Group(place, findings, counts))
    return sorted(rows, key=lambda group: SEVERITIES.index(group.findings[0].folded.severity))


def place_of(item: JudgedChange) -> ChangePlace:
    """Return the operation, path or component of a change."""
    where, rule = item.change.where, item.change.rule
    if rule in ("schema-added", "schema-removed", "path-added"):
        return ChangePlace("description", "", where)
    if where.startswith("/") and rule.startswith("path-"):
        return ChangePlace("path", where, "")
    steps = where.split("/")
    if len(steps) > 3 and steps[1] == "components":
        return ChangePlace(_COMPONENTS.get(steps[2], steps[2]), unescape(steps[3]), _pointer(steps[4:]))
    if len(steps) > 2 and steps[1] in _PARTS:
        return ChangePlace(_PARTS[steps[1]], unescape(steps[2]), _pointer(steps[3:]))
    match = _OPERATION.fullmatch(where)
    if match and not where.startswith("/"):
        return ChangePlace("operation", match[1], (match[2] or "").strip())
    return ChangePlace("description", "", where)


def _pointer(steps: list[str]) -> str:
    return "".join(f"/{step}" for step in steps)


def _findings(place: ChangePlace, entries: list[FoldedChange]) -> list[GroupFinding]:
    """Return the findings of a group; those that differ in the name of a field only become one."""
    alike: dict[tuple[object, ...], list[tuple[str, GroupFinding]]] = {}
    for entry in entries:
        places = [place_of(item) for item in entry.changes]
        inside = distinct(each.inside for each in places if each[:2] == place[:2])
        elsewhere = distinct(each.title for each in places if each[:2] != place[:2])
        field, separator, effect = entry.message.partition(": ")
        if not separator or " " in field:
            field, effect = "", entry.message
        finding = GroupFinding(entry, entry.message, inside, elsewhere)
        key = (entry.severity, entry.changes[0].way, entry.first.rule, effect, tuple(elsewhere), field == "")
        alike.setdefault(key, []).append((field.removeprefix(f"{place.name}."), finding))
    return [_join(key, rows) for key, rows in alike.items()]


def _join(key: tuple[object, ...], rows: list[tuple[str, GroupFinding]]) -> GroupFinding:
    first = rows[0][1]
    if len(rows) == 1:
        return first
    names = shorten(distinct(field for field, _ in rows if field))
    message = f"{names}: {key[3]}" if names else str(key[3])
    folded = FoldedChange(message, [item for _, finding in rows for item in finding.folded.changes])
    inside = distinct(pointer for _, finding in rows for pointer in finding.inside)
    return GroupFinding(folded, message, inside, first.elsewhere)
