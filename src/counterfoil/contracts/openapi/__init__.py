"""OpenAPI 3.0 and 3.1 (2.0 is read as 3.0): changes between two descriptions, and which of them break clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from counterfoil.contracts.fingerprints import with_identities
from counterfoil.contracts.openapi.compare import SIDES, OpenApiComparison
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.reads import DeclaredUse, InvalidReads, operation_uses
from counterfoil.contracts.openapi.rules import RULES, CompatibilityRule, Side
from counterfoil.contracts.openapi.swagger import upgrade
from counterfoil.contracts.report import PROFILES, Change, Profile, Report

_COMPONENT = re.compile(r"^/components/(\w+)/([^/]+)")
_OPERATION = re.compile(r"^[A-Z]+ [^ ]+")


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
    return Report(with_identities(_with_users(context, context.findings.changes()), context.new.root))


def _with_users(context: ComparisonContext, changes: list[Change]) -> list[Change]:
    """Return the changes with the operations that they reach, and the number of places that use the component."""
    if not any(_COMPONENT.match(change.where) for change in changes):
        return [_of_operation(change) for change in changes]
    before, after = context.old.reference_counts(), context.new.reference_counts()
    operations: dict[tuple[str, str], tuple[str, ...]] = {}
    counted = []
    for change in changes:
        match = _COMPONENT.match(change.where)
        if not match:
            counted.append(_of_operation(change))
            continue
        reference, side = f"#/components/{match[1]}/{match[2]}", change.rule.partition("-")[0]
        if (reference, side) not in operations:
            operations[reference, side] = _operations(context, reference, side)
        users = max(before[reference], after[reference], 1)
        used_by = operations[reference, side]
        counted.append(msgspec.structs.replace(change, users=users, used_by=used_by))
    return counted


def _of_operation(change: Change) -> Change:
    """Return a change at a part of an operation with that operation."""
    match = _OPERATION.match(change.where)
    return msgspec.structs.replace(change, used_by=(match[0],)) if match else change


def _operations(context: ComparisonContext, reference: str, side: str) -> tuple[str, ...]:
    """Return the operations of either document whose requests or responses reach a component."""
    sides: tuple[Side, ...] = (
        ("request",) if side == "request" else ("response",) if side == "response" else SIDES
    )
    usages = context.component_usages()
    return tuple(
        sorted(set().union(*(usage.operations(reference, way) for usage in usages for way in sides)))
    )


__all__ = ["RULES", "CompatibilityRule", "InvalidReads", "compare_openapi"]
