"""AsyncAPI 2 and 3: changes between two descriptions, and which of them break clients.

The description is of an application; its clients are what may break. Clients send what the application receives, so
that must stay accepted. They get what it sends, so that must stay readable. Both versions are read into the same
channels, flows and messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from counterfoil.contracts.asyncapi.compare import AsyncApiComparison
from counterfoil.contracts.asyncapi.context import AsyncApiContext
from counterfoil.contracts.fingerprints import with_identities
from counterfoil.contracts.openapi.reads import DeclaredUse, message_uses
from counterfoil.contracts.report import PROFILES, Profile, Report


def compare_asyncapi(
    old: dict[str, Any],
    new: dict[str, Any],
    profile: Profile = "standard",
    *,
    reads: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> Report:
    """Return the changes from one description to the next, and whether they break clients of the first.

    `where` is a JSON Pointer into the revision, or into the base for removed parts. `reads` declares what a consumer
    uses, for the profile `consumer`; only these messages and their channels are compared then. `today` is the date to
    judge removal dates by; by default the current date in UTC. Raises ValueError for a value that is no description
    and for an unknown profile, and `InvalidReads` for a malformed declaration.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; use one of {', '.join(PROFILES)}")
    for description in (old, new):
        if not isinstance(description, dict):
            raise ValueError("a description must be an object")
    declared: dict[str, DeclaredUse] | None = None
    if reads is not None:
        if profile != "consumer":
            raise ValueError("`reads` needs the profile `consumer`")
        declared = message_uses(reads)
    context = AsyncApiContext(old, new, profile, today or datetime.now(UTC).date(), declared)
    if old != new:
        AsyncApiComparison(context).run()
    return Report(with_identities(context.findings.changes(), new))


__all__ = ["compare_asyncapi"]
