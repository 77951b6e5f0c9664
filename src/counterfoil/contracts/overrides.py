"""A team's own verdicts on changes: severities of rules, and changes that it accepts for a stated reason."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from counterfoil.contracts.report import Change

Severity = Literal["break", "warn"]


class InvalidOverrides(ValueError):
    """A file of overrides is malformed; the message says where."""


class AcceptedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes that a team accepts: by fingerprint, or by rule and place. `*` in `where` stands for any text."""

    reason: str
    fingerprint: str = ""
    rule: str = ""
    where: str = "*"
    until: date | None = None
    """Last day on which it applies."""

    def covers(self, change: Change, today: date) -> bool:
        if self.until is not None and today > self.until:
            return False
        if self.fingerprint:
            return change.fingerprint == self.fingerprint
        return change.rule == self.rule and fnmatchcase(change.where, self.where)


class Overrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Severities by rule, and accepted changes."""

    severities: dict[str, Severity] = msgspec.field(default_factory=dict)
    accept: list[AcceptedChange] = msgspec.field(default_factory=list)

    def judge(self, change: Change, today: date) -> tuple[Change, str]:
        """Return the change with its severity, and the reason why it is accepted; empty if it is not."""
        reason = next((entry.reason for entry in self.accept if entry.covers(change, today)), "")
        severity = self.severities.get(change.rule)
        breaking = change.breaking if severity is None else severity == "break"
        return msgspec.structs.replace(change, breaking=breaking and not reason), reason

    def unused(self, changes: Iterable[Change], today: date) -> list[AcceptedChange]:
        """Return the accepted changes that did not occur, or whose last day has passed."""
        rows = list(changes)
        return [entry for entry in self.accept if not any(entry.covers(row, today) for row in rows)]


def read_overrides(data: Any) -> Overrides:
    """Return the overrides of a file's content. Raises `InvalidOverrides`."""
    try:
        overrides = msgspec.convert(data, Overrides)
    except msgspec.ValidationError as error:
        raise InvalidOverrides(str(error)) from error
    for at, entry in enumerate(overrides.accept):
        if not entry.reason.strip():
            raise InvalidOverrides(f"accept, entry {at + 1}: state a reason")
        if bool(entry.fingerprint) == bool(entry.rule):
            raise InvalidOverrides(f"accept, entry {at + 1}: state a fingerprint or a rule")
    return overrides
