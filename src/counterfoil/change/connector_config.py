"""Configuration of a system's connector, from its governance documents and the references in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from counterfoil.connectors import references
from counterfoil.connectors.references import is_reference, resolve
from counterfoil.connectors.sdk import OperationSpec, Repeat, SystemConfig
from counterfoil.contracts.versions import family
from counterfoil.core.errors import Misconfigured
from counterfoil.model import Model, kinds
from counterfoil.model.file_paths import PATH_SETTINGS, REFERENCE

INVENTED = "1"
"""Stands for a value that is not read, or cannot be: a text that is also a number."""


class MissingValue(NamedTuple):
    """A reference without a value: the reference with its located path, the reason, and the fix."""

    reference: str
    why: str
    fix: str


class ConnectorConfig(NamedTuple):
    """A configuration, and the references in it that have no value, by their path in the system's document."""

    config: SystemConfig
    missing: dict[tuple[str, ...], MissingValue]


def declared_operations(model: Model, system: str) -> dict[str, OperationSpec]:
    """Return the operations of a system as governance declares them, also by their names without version."""
    specs: dict[str, OperationSpec] = {}
    for name, operation in sorted(model.operations.items()):
        if operation.system in (system, model.family(system)) and not model.is_previewed(name):
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


def configuration(
    model: Model, system: kinds.System, folder: Path, *, secrets: bool = True
) -> ConnectorConfig:
    """Return the configuration of a system, with paths found in its governance folder.

    Without `secrets` their values are invented.
    """
    missing: dict[tuple[str, ...], MissingValue] = {}

    def value_at(path: tuple[str, ...], written: Any) -> Any:
        if not is_reference(written):
            is_path = path[0] == "settings" and path[-1] in PATH_SETTINGS and isinstance(written, str)
            return _located(folder, written) if is_path and written else written
        if written.startswith(REFERENCE):
            written = REFERENCE + _located(folder, written.removeprefix(REFERENCE))
        try:
            return resolve(written)
        except Misconfigured as error:
            missing[path] = MissingValue(written, str(error), references.fix(written))
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


def missing_files(system: kinds.System, folder: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path in a system's document of each reference to a file that does not exist, and the reference."""
    places: dict[tuple[str, ...], Any] = {("url",): system.url}
    places |= {("settings", name): value for name, value in system.settings.items()}
    places |= {("secrets", name): reference for name, reference in system.secrets.items()}
    for path, written in places.items():
        if isinstance(written, str) and written.startswith(REFERENCE):
            located = _located(folder, written.removeprefix(REFERENCE))
            if not os.path.isfile(located):
                yield path, REFERENCE + located


def _located(folder: Path, text: str) -> str:
    """Return where a path of a document leads.

    A Release of an earlier version may hold a path that starts in the working folder. It counts where the governance
    folder has no such file.
    """
    there = folder / text
    return text if not os.path.exists(there) and os.path.exists(text) else str(there)
