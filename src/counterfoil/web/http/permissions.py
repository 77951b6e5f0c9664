"""Requirements of routes, and the permissions that the roles of a person grant."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.people import Person
from counterfoil.core.permissions import Permission
from counterfoil.model import Model
from counterfoil.rules.entities import role_scope


class Open(StrEnum):
    """Requirements that a route may declare instead of a permission."""

    PUBLIC = "public"
    SIGNATURE = "signature"
    """A signature over the body authenticates the caller."""
    SIGNED_IN = "signed-in"
    """Any signed-in person; the content depends on permissions."""


__all__ = ["COVERS", "Open", "Permission", "Requirement", "granted", "scope_of"]
Requirement = Permission | Open

COVERS: dict[Permission, Permission] = {Permission.CASES_ANY_RESOLVE: Permission.CASES_OWN_RESOLVE}
"""Permissions that include another."""


def scope_of(person: Person, model: Model, permission: Permission | None) -> EntityScope:
    """Return the legal entities for which a person has a permission; without one, for which the person has any role.

    A person is bound by the people file, a role by its file. Both must name an entity, where they name some.
    """
    names: set[str] = set()
    for role in (name for name in person.roles if name in model.roles):
        if permission is None or permission in _permissions(model.roles[role].may):
            scope = role_scope(model, person, role)
            if scope.names is None:
                return scope
            names |= scope.names
    return EntityScope(frozenset(names), model.default_entity)


def _permissions(names: Iterable[str]) -> frozenset[Permission]:
    """Return the permissions that these names grant. Unknown names, which `check` reports, grant nothing."""
    by_name = {str(p): p for p in Permission}
    permissions = {by_name[name] for name in names if name in by_name}
    return frozenset(permissions | {COVERS[p] for p in permissions if p in COVERS})


def granted(person: Person, model: Model) -> frozenset[Permission]:
    """Return the permissions of all of a person's roles."""
    roles = (model.roles[name] for name in person.roles if name in model.roles)
    return _permissions(name for role in roles for name in role.may)
