"""Permissions that roles grant."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.core.permissions import PERSONAL_AREA, Permission, personal_read
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model

_NAMES = [str(permission) for permission in Permission]


@rule("unknown-permission")
def unknown_permission(model: Model) -> Iterator[Finding]:
    """A role grants only permissions that exist. `pii:OBJECT:read` names an object of the folder."""
    personal = [personal_read(name) for name in sorted(model.objects)]
    names = [*_NAMES, *personal]
    for document, role in model.documents_of(kinds.Role):
        for position, name in enumerate(role.may):
            if name in names:
                continue
            fix, message = _fix(name, names), f"there is no permission `{name}`"
            if name.startswith(PERSONAL_AREA):
                fix = did_you_mean(name, personal, f"write `{personal_read('OBJECT')}` with an object's name")
                message += ": it names no object of this folder"
            yield document.finding("unknown-permission", message, ("may", position), fix=fix)


def _fix(name: str, names: list[str]) -> str:
    area = ", ".join(other for other in names if other.startswith(name.partition(":")[0] + ":"))
    return did_you_mean(name, names, f"one of {area or ', '.join(_NAMES)}")
