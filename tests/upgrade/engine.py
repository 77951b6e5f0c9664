"""All imports of the engine for this folder, and every call whose form may change between commits.

`write_store.py` runs on former commits and the test on the present one; both use the engine through this module.
A module that moves gets one more path in PATHS, the newest first. A changed signature gets its adapter below.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PATHS = {
    "Absent": ("counterfoil.connectors.sdk:Absent",),
    "Accepted": ("counterfoil.connectors.sdk:Accepted",),
    "Application": ("counterfoil.application:Application", "counterfoil.app:Application"),
    "Choice": ("counterfoil.core.case:Choice",),
    "Confirmed": ("counterfoil.connectors.sdk:Confirmed",),
    "Delivery": ("counterfoil.connectors.sdk:Delivery",),
    "ErrorClass": ("counterfoil.core.errors:ErrorClass",),
    "Model": ("counterfoil.model:Model",),
    "OperationRequest": (
        "counterfoil.flow.gateway.calls:OperationRequest",
        "counterfoil.flow.offered:Asked",
    ),
    "Page": ("counterfoil.connectors.sdk:Page",),
    "Person": ("counterfoil.core.people:Person",),
    "PostgresStore": (
        "counterfoil.store.sql.postgres:PostgresStore",
        "counterfoil.store.postgres:PostgresStore",
    ),
    "PutPerson": (
        "counterfoil.store.port.people:PutPerson",
        "counterfoil.store.port.transitions:PutPerson",
        "counterfoil.store.transitions:PutPerson",
    ),
    "PutToken": (
        "counterfoil.store.port.people:PutToken",
        "counterfoil.store.port.transitions:PutToken",
        "counterfoil.store.transitions:PutToken",
    ),
    "Rejected": ("counterfoil.connectors.sdk:Rejected",),
    "Releases": ("counterfoil.flow.context.releases:Releases", "counterfoil.flow.releases:Releases"),
    "Reply": ("counterfoil.flow.gateway.calls:StoredReply", "counterfoil.flow.offered:Reply"),
    "SqliteStore": ("counterfoil.store.sql.sqlite:SqliteStore", "counterfoil.store.sqlite:SqliteStore"),
    "JumpDetector": ("counterfoil.core.clock:JumpDetector", "counterfoil.core.clock:Steady"),
    "Token": ("counterfoil.core.people:Token",),
    "Unknown": ("counterfoil.connectors.sdk:Unknown",),
    "Worker": ("counterfoil.flow.worker.worker:Worker", "counterfoil.flow.pump:Pump"),
    "check_store": ("counterfoil.store.check:check",),
    "poll_feed": ("counterfoil.flow.worker.feeds:poll", "counterfoil.flow.watch:poll"),
    "read_model": ("counterfoil.model:read",),
}


def _load(name: str) -> Any:
    """Return the object of the first path that exists. Raise ImportError when none does."""
    for path in PATHS[name]:
        module, _, attribute = path.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            # Only the module of this path may be missing; a broken import inside of it is an error.
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
        except AttributeError:
            continue
    raise ImportError(
        f"{name} is at none of {', '.join(PATHS[name])}: add its path in tests/upgrade/engine.py"
    )


def __getattr__(name: str) -> Any:
    """Return an object of the engine by its name in PATHS."""
    if name not in PATHS:
        raise AttributeError(name)
    value = globals()[name] = _load(name)
    return value


# ------------------------------------------------------------------ store


async def open_store(address: str) -> Any:
    """Open `sqlite:PATH` or `postgresql://...`, with the migrations of this commit."""
    if address.startswith("postgresql:"):
        return await _load("PostgresStore").open(address)
    return await _load("SqliteStore").open(address.removeprefix("sqlite:"))


async def check(store: Any, at: datetime, model: Any) -> list[str]:
    """Return the violations that the external checker finds in a store."""
    irreversible = [name for name, o in model.operations.items() if o.irreversible is not None]
    return list(await _load("check_store")(store, at, irreversible))


# ------------------------------------------------------------------ process


@dataclass(frozen=True)
class Parts:
    """The objects of one server process with one worker."""

    releases: Any
    worker: Any
    app: Any


def build(
    store: Any,
    model: Any,
    connectors: dict[str, Any],
    name: str,
    sign: Callable[[int, bytes], str],
    clock: Callable[[], float],
) -> Parts:
    """Wire one process. `clock` replaces the machine's clock in the test for clock jumps."""
    releases = _load("Releases")(store, model)
    worker = _load("Worker")(store, releases, connectors, name, sign)
    detector = _load("JumpDetector")
    if hasattr(worker, "reconciler"):
        settle = worker.reconciler.jump_detector.settle
        worker.reconciler.jump_detector = detector(settle, here=clock)
    else:
        worker.actor.steady = detector(worker.actor.steady.settle, here=clock)
    application = _load("Application")
    more: dict[str, Any] = {}
    if "build_connectors" in inspect.signature(application).parameters:
        more["build_connectors"] = lambda model, names: {}
    return Parts(releases, worker, application(store, store, releases, connectors, worker, **more))


async def recover(parts: Parts, at: datetime) -> None:
    """Start: take up the Release in force and the calls that the worker's former process left."""
    await parts.releases.publish(at, "up")
    await parts.worker._clean_up()


async def run_once(parts: Parts, kind: str) -> int:
    """Run one round of a worker's loop: admit, turn, send, watch, seal or scan. Return the number of tasks begun."""
    return int(await getattr(parts.worker, f"{kind}_once")())
