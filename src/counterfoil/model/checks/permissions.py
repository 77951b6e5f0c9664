"""Permissions that roles grant."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.core.permissions import Permission
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model

_NAMES = [str(permission) for permission in Permission]


@rule("unknown-permission")
def unknown_permission(model: Model) -> Iterator[Finding]:
    """A role grants only permissions that exist."""
    for document, role in model.documents_of(kinds.Role):
        for position, name in enumerate(role.may):
            if name not in _NAMES:
                area = ", ".join(other for other in _NAMES if other.startswith(name.partition(":")[0] + ":"))
                fix = did_you_mean(name, _NAMES, f"one of {area or ', '.join(_NAMES)}")
                message = f"there is no permission `{name}`"
                yield document.finding("unknown-permission", message, ("may", position), fix=fix)
