"""What a person may do over HTTP: `area:thing:action`. Roles in the governance folder grant these by name."""

from __future__ import annotations

from enum import StrEnum

from counterfoil.core.people import Person
from counterfoil.model import Model


class Permission(StrEnum):
    """Every permission there is; docs/reference/http.md says which route asks for which."""

    RUNS_ANY_READ = "runs:any:read"
    FOILS_ANY_READ = "foils:any:read"
    CASES_ANY_READ = "cases:any:read"
    APPROVALS_ANY_READ = "approvals:any:read"
    EVENTS_ANY_READ = "events:any:read"
    RELEASES_ANY_READ = "releases:any:read"
    CONTRACTS_ANY_READ = "contracts:any:read"
    RELEASES_ANY_PLAN = "releases:any:plan"
    """Ask for a change, and hear what it would mean."""
    RELEASES_ANY_APPLY = "releases:any:apply"
    """Put a plan in force once its approvals are given."""
    RUNS_ANY_MIGRATE = "runs:any:migrate"
    """Move Runs to another Release."""
    AUDIT_ANY_READ = "audit:any:read"
    METRICS_ANY_READ = "metrics:any:read"
    EVENTS_ANY_SEND = "events:any:send"
    USAGE_ANY_SEND = "usage:any:send"
    OPERATIONS_OWN_CALL = "operations:own:call"
    """Call the operations that the person's roles list under `calls`."""
    APPROVALS_OWN_DECIDE = "approvals:own:decide"
    """Vote on approvals that ask for one of the person's roles."""
    CASES_OWN_RESOLVE = "cases:own:resolve"
    """Resolve Cases that one of the person's roles owns."""
    CASES_ANY_RESOLVE = "cases:any:resolve"
    """Resolve any Case: an administrator."""


class Open(StrEnum):
    """What a route may declare instead of a permission."""

    PUBLIC = "public"
    SIGNATURE = "signature"
    """The caller is proven by a signature over the body."""
    SIGNED_IN = "signed-in"
    """Anybody who is known; what is shown depends on permissions."""


Requirement = Permission | Open

COVERS: dict[Permission, Permission] = {Permission.CASES_ANY_RESOLVE: Permission.CASES_OWN_RESOLVE}
"""A permission that includes another."""


def granted(person: Person, model: Model) -> frozenset[Permission]:
    """The permissions of all of a person's roles; words that are no permission grant nothing."""
    known = {str(p): p for p in Permission}
    held = {
        known[word]
        for role in person.roles
        if role in model.roles
        for word in model.roles[role].may
        if word in known
    }
    return frozenset(held | {COVERS[p] for p in held if p in COVERS})
