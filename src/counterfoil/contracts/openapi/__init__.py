"""OpenAPI 3.0 and 3.1 (2.0 is read as 3.0): what changed between two descriptions, and whom it breaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from counterfoil.contracts.openapi.comparison import Comparison
from counterfoil.contracts.openapi.reads import Use, WrongReads, uses
from counterfoil.contracts.openapi.rules import RULES, Rule
from counterfoil.contracts.openapi.swagger import upgraded
from counterfoil.contracts.report import PROFILES, Change, Profile, Report

_COMPONENT = re.compile(r"^/components/(\w+)/([^/]+)")


def compare_openapi(
    old: dict[str, Any],
    new: dict[str, Any],
    profile: Profile = "standard",
    *,
    reads: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> Report:
    """What changed from one description to the next, and whether it breaks clients of the first.

    `reads` declares what a consumer uses, for the profile `consumer`: then nothing else is looked at. `today` is the
    day by which dates of removal are judged; the current day in UTC when it is not given. Raises ValueError for what
    is no description, for an unknown profile, and `WrongReads` for a wrong declaration.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is none of {', '.join(PROFILES)}")
    declared: dict[str, Use] | None = None
    if reads is not None:
        if profile != "consumer":
            raise ValueError("what a consumer reads counts under the profile `consumer` alone")
        declared = uses(reads)
    for description in (old, new):
        if not isinstance(description, dict):
            raise ValueError("a description is an object")
    comparison = Comparison(
        upgraded(old), upgraded(new), profile, today or datetime.now(UTC).date(), declared
    )
    if old is not new:
        comparison.run()
    return Report(_with_users(comparison, comparison.findings.changes()))


def _with_users(comparison: Comparison, changes: list[Change]) -> list[Change]:
    """The changes, with how many places use the component that each is of."""
    if not any(_COMPONENT.match(change.where) for change in changes):
        return changes
    before, after = comparison.old.counted(), comparison.new.counted()
    counted = []
    for change in changes:
        found = _COMPONENT.match(change.where)
        if found:
            reference = f"#/components/{found[1]}/{found[2]}"
            places = max(before[reference], after[reference])
            change = msgspec.structs.replace(change, users=max(places, 1))
        counted.append(change)
    return counted


__all__ = ["RULES", "Rule", "WrongReads", "compare_openapi"]
