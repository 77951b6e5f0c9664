"""A team's own verdicts on changes: severities of rules, and changes that it accepts.

Each has a reason and a last day. After that day it has no effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any, Literal, NamedTuple

import msgspec

from counterfoil.contracts.report import Change

Severity = Literal["break", "warn"]


class InvalidOverrides(ValueError):
    """A file of overrides is malformed; the message says where."""


class RuleSeverity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Severity that a team gives to a rule."""

    severity: Severity
    reason: str
    until: date
    """Last day on which it applies."""


class AcceptedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes that a team accepts: by fingerprint, or by rule and place. `*` in `where` stands for any text."""

    reason: str
    until: date
    """Last day on which it applies."""
    fingerprint: str = ""
    rule: str = ""
    where: str = "*"

    def matches(self, change: Change) -> bool:
        if self.fingerprint:
            return change.fingerprint == self.fingerprint
        where = ".*".join(re.escape(part) for part in self.where.split("*"))
        return change.rule == self.rule and re.fullmatch(where, change.where, re.S) is not None

    def __str__(self) -> str:
        if self.fingerprint:
            return f"fingerprint {self.fingerprint}"
        return self.rule if self.where == "*" else f"{self.rule} at {self.where}"


class TeamVerdict(NamedTuple):
    """A change with the team's severity."""

    change: Change
    accepted: str
    """Reason why the change is accepted; empty if it is not."""
    settled: bool
    """True if the team states the severity of the rule."""


class Overrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Severities by rule, and accepted changes."""

    severities: dict[str, RuleSeverity] = msgspec.field(default_factory=dict)
    accept: list[AcceptedChange] = msgspec.field(default_factory=list)

    def judge(self, change: Change, today: date) -> TeamVerdict:
        """Return the change with its severity. Entries whose last day has passed do not count."""
        reason = next(
            (entry.reason for entry in self.accept if today <= entry.until and entry.matches(change)), ""
        )
        stated = self.severities.get(change.rule)
        settled = stated is not None and today <= stated.until
        breaking = stated.severity == "break" if stated is not None and settled else change.breaking
        judged = msgspec.structs.replace(change, breaking=breaking and not reason)
        return TeamVerdict(judged, reason, settled)

    def expired(self, today: date) -> list[str]:
        """Return the entries whose last day has passed, each with that day."""
        return [
            f"{name} ended on {until}: {reason}" for name, reason, until in self._entries() if until < today
        ]

    def unused(self, changes: Iterable[Change], today: date) -> list[str]:
        """Return the entries in force that match no change."""
        rows = list(changes)
        rules = {row.rule for row in rows}
        severities = [
            f"severity of {rule}"
            for rule, entry in self.severities.items()
            if today <= entry.until and rule not in rules
        ]
        return severities + [
            str(entry)
            for entry in self.accept
            if today <= entry.until and not any(entry.matches(row) for row in rows)
        ]

    def _entries(self) -> list[tuple[str, str, date]]:
        severities = [(f"severity of {rule}", row.reason, row.until) for rule, row in self.severities.items()]
        return severities + [(str(entry), entry.reason, entry.until) for entry in self.accept]


def read_overrides(data: Any) -> Overrides:
    """Return the overrides of a file's content. Raises `InvalidOverrides`."""
    try:
        overrides = msgspec.convert(data, Overrides)
    except msgspec.ValidationError as error:
        raise InvalidOverrides(str(error)) from error
    for at, entry in enumerate(overrides.accept):
        if bool(entry.fingerprint) == bool(entry.rule):
            raise InvalidOverrides(f"accept, entry {at + 1}: state a fingerprint or a rule")
        if entry.fingerprint and entry.where != "*":
            message = f"accept, entry {at + 1}: a fingerprint includes its place: remove `where`"
            raise InvalidOverrides(message)
    for name, reason, _ in overrides._entries():
        if not reason.strip():
            raise InvalidOverrides(f"{name}: state a reason")
    return overrides
