"""Requirements of routes, and the permissions that the roles of a person grant."""

from __future__ import annotations

from enum import StrEnum

from counterfoil.core.people import Person
from counterfoil.core.permissions import Permission
from counterfoil.model import Model


class Open(StrEnum):
    """Requirements that a route may declare instead of a permission."""

    PUBLIC = "public"
    SIGNATURE = "signature"
    """A signature over the body authenticates the caller."""
    SIGNED_IN = "signed-in"
    """Any signed-in person; the content depends on permissions."""


__all__ = ["COVERS", "Open", "Permission", "Requirement", "granted"]
Requirement = Permission | Open

COVERS: dict[Permission, Permission] = {Permission.CASES_ANY_RESOLVE: Permission.CASES_OWN_RESOLVE}
"""Permissions that include another."""


def granted(person: Person, model: Model) -> frozenset[Permission]:
    """Return the permissions of all of a person's roles. Unknown names in a role, which `check` reports, grant nothing."""
    by_name = {str(p): p for p in Permission}
    permissions = {
        by_name[name]
        for role in person.roles
        if role in model.roles
        for name in model.roles[role].may
        if name in by_name
    }
    return frozenset(permissions | {COVERS[p] for p in permissions if p in COVERS})
