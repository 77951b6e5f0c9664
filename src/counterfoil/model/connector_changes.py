"""Connectors that must be built again after a change of systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.model import kinds


def connected(systems: Mapping[str, kinds.System]) -> set[str]:
    """Return the systems that have a connector; those with `external` have none."""
    return {name for name, system in systems.items() if system.connector != "external"}


def to_build(old: Mapping[str, kinds.System], new: Mapping[str, kinds.System]) -> tuple[str, ...]:
    """Return the systems whose connector changed, sorted. Feeds and caps are not part of a connector."""
    changed = (name for name in connected(new) if _identity(new[name]) != _identity(old.get(name)))
    return tuple(sorted(changed))


def _identity(system: kinds.System | None) -> tuple[Any, ...] | None:
    if system is None:
        return None
    return system.connector, system.url, system.account, system.settings, system.secrets
