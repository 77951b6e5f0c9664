"""Which connectors a change of systems asks to be built anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.model import kinds


def connected(systems: Mapping[str, kinds.System]) -> set[str]:
    """Systems that have a connector; `external` ones act by themselves."""
    return {name for name, system in systems.items() if system.connector != "external"}


def to_build(old: Mapping[str, kinds.System], new: Mapping[str, kinds.System]) -> tuple[str, ...]:
    """Systems whose connector is another one, sorted. Feeds and load do not make one."""
    changed = (name for name in connected(new) if _made_of(new[name]) != _made_of(old.get(name)))
    return tuple(sorted(changed))


def _made_of(system: kinds.System | None) -> tuple[Any, ...] | None:
    if system is None:
        return None
    return system.connector, system.url, system.account, system.settings, system.secrets
