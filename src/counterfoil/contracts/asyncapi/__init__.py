"""AsyncAPI 2 and 3: what changed between two descriptions, and whom it breaks.

An application is described; those who break are the others. What it receives they send, so it must stay accepted;
what it sends they get, so it must stay readable. Both versions are read into the same channels, flows and messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from counterfoil.contracts.asyncapi.channels import Comparison
from counterfoil.contracts.openapi.reads import Use, messages
from counterfoil.contracts.report import PROFILES, Profile, Report


def compare_asyncapi(
    old: dict[str, Any],
    new: dict[str, Any],
    profile: Profile = "standard",
    *,
    reads: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> Report:
    """What changed from one description to the next. `where` is a JSON Pointer into the revision, or into the base
    for what is gone. `reads` declares what a consumer uses, for the profile `consumer`: then only these messages, and
    the channels that carry them, are looked at. `today` is the day by which dates of removal are judged; the current
    day in UTC when it is not given. Raises ValueError for an unknown profile, for what is no description, and
    `WrongReads` for a wrong declaration."""
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is none of {', '.join(PROFILES)}")
    for description in (old, new):
        if not isinstance(description, dict):
            raise ValueError("a description is an object")
    declared: dict[str, Use] | None = None
    if reads is not None:
        if profile != "consumer":
            raise ValueError("what a consumer reads counts under the profile `consumer` alone")
        declared = messages(reads)
    comparison = Comparison(old, new, profile, today or datetime.now(UTC).date(), declared)
    if old != new:
        comparison.run()
    return Report(comparison.findings.changes())


__all__ = ["compare_asyncapi"]
