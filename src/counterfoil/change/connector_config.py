"""Configuration of a system's connector, from its governance documents and the references in them."""

from __future__ import annotations

from typing import Any, NamedTuple

from counterfoil.connectors.references import is_reference, resolve
from counterfoil.connectors.sdk import OperationSpec, Repeat, SystemConfig
from counterfoil.contracts.versions import family
from counterfoil.core.errors import Misconfigured
from counterfoil.model import Model, kinds

INVENTED = "1"
"""Stands for a value that is not read, or cannot be: a text that is also a number."""


class ConnectorConfig(NamedTuple):
    """A configuration, and the references in it that have no value, by their path in the system's document."""

    config: SystemConfig
    missing: dict[tuple[str, ...], str]


def declared_operations(model: Model, system: str) -> dict[str, OperationSpec]:
    """Return the operations of a system as governance declares them, also by their names without version."""
    specs: dict[str, OperationSpec] = {}
    for name, operation in sorted(model.operations.items()):
        if operation.system == system:
            specs[name] = _declared(operation)
            specs.setdefault(family(name), specs[name])
    return specs


def _declared(operation: kinds.Operation) -> OperationSpec:
    timeout = kinds.seconds(operation.timeout)
    if operation.repeat == "read":
        return OperationSpec(operation.name, Repeat.READ, timeout=timeout)
    retention = kinds.seconds(operation.retention) if operation.retention else 0.0
    horizon = kinds.seconds(operation.horizon)
    return OperationSpec(operation.name, Repeat(operation.repeat), horizon, retention, timeout)


def configuration(model: Model, system: kinds.System, *, secrets: bool = True) -> ConnectorConfig:
    """Return the configuration of a system. Without `secrets` their values are invented."""
    missing: dict[tuple[str, ...], str] = {}

    def value_at(path: tuple[str, ...], written: Any) -> Any:
        if not is_reference(written):
            return written
        try:
            return resolve(written)
        except Misconfigured as error:
            missing[path] = str(error)
            return f"https://{INVENTED}.invalid" if path == ("url",) else INVENTED

    config = SystemConfig(
        name=system.name,
        url=value_at(("url",), system.url),
        account=system.account,
        settings={key: value_at(("settings", key), value) for key, value in system.settings.items()},
        secrets={
            name: value_at(("secrets", name), ref) if secrets else INVENTED
            for name, ref in system.secrets.items()
        },
        operations=declared_operations(model, system.name),
    )
    return ConnectorConfig(config, missing)
