"""Requirements of routes, and the permissions that the roles of a person grant."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.people import Person
from counterfoil.core.permissions import Permission, personal_read
from counterfoil.model import Model
from counterfoil.rules.entities import role_scope


class Open(StrEnum):
    """Requirements that a route may declare instead of a permission."""

    PUBLIC = "public"
    SIGNATURE = "signature"
    """A signature over the body authenticates the caller."""
    SIGNED_IN = "signed-in"
    """Any signed-in person; the content depends on permissions."""


__all__ = [
    "COVERS",
    "Open",
    "Permission",
    "Requirement",
    "granted",
    "personal_permissions",
    "personal_rights",
    "scope_of",
]
Requirement = Permission | Open

COVERS: dict[Permission, Permission] = {Permission.CASES_ANY_RESOLVE: Permission.CASES_OWN_RESOLVE}
"""Permissions that include another."""


def scope_of(person: Person, model: Model, permission: Permission | None) -> EntityScope:
    """Return the legal entities for which a person has a permission; without one, for which the person has any role.

    A person is bound by the people file, a role by its file. Both must name an entity, where they name some.
    """
    return _scope_of(person, model, permission)


def _scope_of(person: Person, model: Model, permission: str | None) -> EntityScope:
    names: set[str] = set()
    for role in (name for name in person.roles if name in model.roles):
        may = model.roles[role].may
        if permission is None or permission in may or permission in _permissions(may):
            scope = role_scope(model, person, role)
            if scope.names is None:
                return scope
            names |= scope.names
    return EntityScope(frozenset(names), model.default_entity)


def personal_rights(person: Person, model: Model) -> dict[str, EntityScope]:
    """Return the legal entities in which a person may read personal data, by object."""
    return {
        object_: scope
        for object_ in model.personal.objects
        if (scope := _scope_of(person, model, personal_read(object_))).everything or scope.names
    }


def personal_permissions(person: Person, model: Model) -> list[str]:
    """Return the names of a person's permissions to read personal data."""
    return [personal_read(object_) for object_ in sorted(personal_rights(person, model))]


def _permissions(names: Iterable[str]) -> frozenset[Permission]:
    """Return the permissions that these names grant. Unknown names, which `check` reports, grant nothing."""
    by_name = {str(p): p for p in Permission}
    permissions = {by_name[name] for name in names if name in by_name}
    return frozenset(permissions | {COVERS[p] for p in permissions if p in COVERS})


def granted(person: Person, model: Model) -> frozenset[Permission]:
    """Return the permissions of all of a person's roles."""
    roles = (model.roles[name] for name in person.roles if name in model.roles)
    return _permissions(name for role in roles for name in role.may)
