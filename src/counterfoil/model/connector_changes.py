"""Connectors that must be built again after a change of their systems or operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.model import kinds
from counterfoil.model.model import Model


def connected(systems: Mapping[str, kinds.System]) -> set[str]:
    """Return the systems that have a connector; those with `external` have none."""
    return {name for name, system in systems.items() if system.connector != "external"}


def to_build(old: Model, new: Model) -> tuple[str, ...]:
    """Return the systems whose connector changed, sorted. Feeds and caps are not part of a connector."""
    changed = (name for name in connected(new.systems) if _built_from(new, name) != _built_from(old, name))
    return tuple(sorted(changed))


def _built_from(model: Model, name: str) -> tuple[Any, ...] | None:
    system = model.systems.get(name)
    if system is None:
        return None
    operations = [
        (op.name, op.repeat, op.horizon, op.retention, op.timeout)
        for _, op in sorted(model.operations.items())
        if op.system == model.family(name)
    ]
    return system.connector, system.url, system.account, system.settings, system.secrets, operations


def identity(model: Model, name: str) -> tuple[Any, ...]:
    """Return everything that the check of a system's connector reads."""
    system = model.systems[name]
    executors = [
        (op.name, op.executor, op.exposes)
        for op in model.operations.values()
        if op.system == model.family(name)
    ]
    return name, _built_from(model, name), (*system.feeds, *system.sweeps), executors, sorted(model.broken)
