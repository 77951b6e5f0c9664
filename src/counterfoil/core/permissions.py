"""Permissions of persons and programs, named `area:scope:action`. Roles in the governance folder grant them by name."""

from __future__ import annotations

from enum import StrEnum

PERSONAL_AREA = "pii:"
"""Beginning of the permissions to read personal data: one for each object of the company, such as `pii:customer:read`."""


def personal_read(object_: str) -> str:
    """Return the permission to read the personal data of an object."""
    return f"{PERSONAL_AREA}{object_}:read"


class Permission(StrEnum):
    """The closed set of permissions; docs/reference/http.md lists which route requires which."""

    RUNS_ANY_READ = "runs:any:read"
    FOILS_ANY_READ = "foils:any:read"
    """Counterfoils and unmatched items."""
    FOILS_ANY_PAIR = "foils:any:pair"
    """Pair an unmatched item with a counterfoil."""
    FOILS_ANY_UNPAIR = "foils:any:unpair"
    """End a pair that a person made."""
    FOILS_ANY_WAIVE = "foils:any:waive"
    """Accept the difference of a counterfoil."""
    FOILS_ANY_SWEEP = "foils:any:sweep"
    """Have the whole books of both systems read."""
    CHECKPOINTS_ANY_PREPARE = "checkpoints:any:prepare"
    """Count both sides of a reconciliation at a cut-off, for another person's signature."""
    CHECKPOINTS_ANY_SIGN = "checkpoints:any:sign"
    """Sign a checkpoint that another person prepared."""
    CASES_ANY_READ = "cases:any:read"
    APPROVALS_ANY_READ = "approvals:any:read"
    EVENTS_ANY_READ = "events:any:read"
    RELEASES_ANY_READ = "releases:any:read"
    CONTRACTS_ANY_READ = "contracts:any:read"
    RELEASES_ANY_PLAN = "releases:any:plan"
    """Plan a change and see its impact."""
    RELEASES_ANY_APPLY = "releases:any:apply"
    """Apply a plan after its approvals are granted."""
    RUNS_ANY_MIGRATE = "runs:any:migrate"
    """Move Runs to another Release."""
    AUDIT_ANY_READ = "audit:any:read"
    METRICS_ANY_READ = "metrics:any:read"
    EVENTS_ANY_SEND = "events:any:send"
    USAGE_ANY_SEND = "usage:any:send"
    OPERATIONS_OWN_CALL = "operations:own:call"
    """Call the operations that the person's roles list under `calls`."""
    APPROVALS_OWN_DECIDE = "approvals:own:decide"
    """Vote on approvals that name one of the person's roles."""
    CASES_OWN_RESOLVE = "cases:own:resolve"
    """Resolve Cases that one of the person's roles owns."""
    CASES_ANY_RESOLVE = "cases:any:resolve"
    """Resolve any Case, as an administrator."""
