"""Which connectors are installed, and building them: entry points of the group `counterfoil.connectors`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from counterfoil.connectors.sdk import Connect, Connector, SystemConfig
from counterfoil.core.errors import Misconfigured

GROUP = "counterfoil.connectors"


def installed() -> dict[str, EntryPoint]:
    """Every connector on this machine by its name, sorted; nothing of them is imported yet."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load(name: str) -> Connect:
    """The connector's `connect`. Raises Misconfigured when it is not installed or cannot be imported."""
    points = installed()
    if name not in points:
        raise Misconfigured(
            f"no connector named {name!r} is installed; there are: {', '.join(points) or 'none'}"
        )
    try:
        connect = points[name].load()
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"connector {name!r} ({points[name].value}) cannot be loaded: {error}") from error
    if not callable(connect):
        raise Misconfigured(f"connector {name!r} ({points[name].value}) is not a function")
    return cast(Connect, connect)


def build(systems: Iterable[tuple[str, SystemConfig]]) -> dict[str, Connector]:
    """Connectors of (connector name, configuration) pairs, by system name.

    Raises one Misconfigured with a line for everything that is wrong with any system, its name in front.
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
