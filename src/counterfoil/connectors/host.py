"""Installed connectors and their construction. Connectors are entry points of the group `counterfoil.connectors`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from counterfoil.connectors.sdk import Connect, Connector, SystemConfig
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean

GROUP = "counterfoil.connectors"


def installed() -> dict[str, EntryPoint]:
    """Return the installed connectors by name, sorted, without importing them."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load(name: str) -> Connect:
    """Return the `connect` function of a connector. Raises Misconfigured if it is not installed or cannot be imported."""
    points = installed()
    if name not in points:
        names = ", ".join(points) or "none"
        near = did_you_mean(name, points, f"installed connectors: {names}")
        raise Misconfigured(f"no connector named {name!r} is installed; {near}")
    try:
        connect = points[name].load()
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"connector {name!r} ({points[name].value}) cannot be loaded: {error}") from error
    if not callable(connect):
        raise Misconfigured(f"connector {name!r} ({points[name].value}) is not a function")
    return cast(Connect, connect)


def build(systems: Iterable[tuple[str, SystemConfig]]) -> dict[str, Connector]:
    """Build connectors from (connector name, configuration) pairs. Return them by system name.

    Raises one Misconfigured with a line for each problem of each system.
    """
    built: dict[str, Connector] = {}
    wrong: list[str] = []
    for name, config in systems:
        try:
            built[config.name] = load(name)(config)
        except Misconfigured as error:
            wrong += [f"system {config.name}: {line}" for line in str(error).splitlines()]
    if wrong:
        raise Misconfigured("\n".join(wrong))
    return built
