"""Numbers of a report by severity and rule, and the entries of the overrides that need a person."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from counterfoil.cli.contract_reports.changes import JudgedChange, Severity

MIN_CHANGES = 20
"""From this number of changes on, the summary lists the rules."""


class Comparison(NamedTuple):
    """All that a report shows: the changes, how they were compared, and the state of the overrides."""

    changes: list[JudgedChange]
    kind: str
    profile: str
    direction: str
    base: str
    revision: str
    expired: list[str]
    """Entries of the overrides whose last day has passed, so their changes count again."""
    unused: list[str]
    """Entries of the overrides that match no change."""
    breaking_only: bool = False
    undecided_breaks: bool = False

    @property
    def breaking(self) -> bool:
        return any(item.severity == "breaking" for item in self.changes)

    @property
    def undecided(self) -> bool:
        return any(item.severity == "undecided" for item in self.changes)

    @property
    def rows(self) -> list[JudgedChange]:
        """The changes that the report lists."""
        return [item for item in self.changes if item.severity == "breaking" or not self.breaking_only]

    @property
    def notes(self) -> list[str]:
        return [*(f"expired: {text}" for text in self.expired), *(f"unused: {text}" for text in self.unused)]


def totals(comparison: Comparison) -> str:
    """Return the number of changes by severity in one line."""
    counts = Counter(item.severity for item in comparison.changes)
    more = f", {counts['accepted']} accepted" if counts["accepted"] else ""
    how = f"{comparison.kind}, profile {comparison.profile}, {comparison.direction}"
    first = f"{counts['breaking']} breaking, {counts['undecided']} undecided"
    return f"{first}{more}, {counts['other']} other changes ({how})"


def rules(comparison: Comparison) -> list[tuple[str, int, int]]:
    """Return each rule of a long report with its number of changes and of breaking ones, the most breaking first."""
    if len(comparison.changes) < MIN_CHANGES:
        return []
    every = Counter(item.change.rule for item in comparison.changes)
    breaking = Counter(item.change.rule for item in comparison.changes if item.change.breaking)
    rows = [(rule, count, breaking[rule]) for rule, count in every.most_common()]
    return sorted(rows, key=lambda row: -row[2])


def count_text(counts: Counter[Severity]) -> str:
    """Return the numbers of a group: `2 breaking, 1 other`."""
    order: tuple[Severity, ...] = ("breaking", "undecided", "accepted", "other")
    return ", ".join(f"{counts[severity]} {severity}" for severity in order if counts[severity])
