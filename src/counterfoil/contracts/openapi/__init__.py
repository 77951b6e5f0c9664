"""OpenAPI 3.0 and 3.1 (2.0 is read as 3.0): changes between two descriptions, and which of them break clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from counterfoil.contracts.openapi.compare import OpenApiComparison
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.reads import DeclaredUse, InvalidReads, operation_uses
from counterfoil.contracts.openapi.rules import RULES, CompatibilityRule
from counterfoil.contracts.openapi.swagger import upgrade
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
    """Return the changes from one description to the next, and whether they break clients of the first.

    `reads` declares what a consumer uses, for the profile `consumer`; nothing else is compared then. `today` is the
    date to judge removal dates by; by default the current date in UTC. Raises ValueError for a value that is no
    description and for an unknown profile, and `InvalidReads` for a malformed declaration.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; use one of {', '.join(PROFILES)}")
    declared: dict[str, DeclaredUse] | None = None
    if reads is not None:
        if profile != "consumer":
            raise ValueError("`reads` needs the profile `consumer`")
        declared = operation_uses(reads)
    for description in (old, new):
        if not isinstance(description, dict):
            raise ValueError("a description must be an object")
    context = ComparisonContext(
        upgrade(old), upgrade(new), profile, today or datetime.now(UTC).date(), declared
    )
    if old is not new:
        OpenApiComparison(context).run()
    return Report(_with_users(context, context.findings.changes()))


def _with_users(context: ComparisonContext, changes: list[Change]) -> list[Change]:
    """Return the changes with the number of places that use the changed component."""
    if not any(_COMPONENT.match(change.where) for change in changes):
        return changes
    before, after = context.old.reference_counts(), context.new.reference_counts()
    counted = []
    for change in changes:
        match = _COMPONENT.match(change.where)
        if match:
            reference = f"#/components/{match[1]}/{match[2]}"
            places = max(before[reference], after[reference])
            change = msgspec.structs.replace(change, users=max(places, 1))
        counted.append(change)
    return counted


__all__ = ["RULES", "CompatibilityRule", "InvalidReads", "compare_openapi"]
