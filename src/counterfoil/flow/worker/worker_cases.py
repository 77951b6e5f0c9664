"""Cases that a worker opens about its own work: an unreachable system, a defect, a clock that jumped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.flow.context.releases import Releases
from counterfoil.model import Model
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.store import Store


async def unreachable(store: Store, releases: Releases, system: str, error: str, now: datetime) -> None:
    """Open a Case for the owner of a system that cannot be reached, at most one a day."""
    case = open_case(
        "unreachable",
        id=ids.derive("case", "unreachable", system, now.date().isoformat()),
        message=f"{system}: {error}",
        owners=releases.present.owners_of(releases.present.systems[system]),
        at=now,
        names={"system": system},
    )
    await _open(store, case, now)


async def poisoned(store: Store, releases: Releases, what: str, ref: str, error: str, now: datetime) -> None:
    """Open one Case for each defect by which work on a `run`, `effect` or `todo` failed.

    The row stays as it is and is tried again.
    """
    run, effect, receipt, event = None, None, None, None
    owners: Iterable[str] = ()
    if what == "todo":
        kind, _, id_ = ref.partition(":")
        receipt, event = (int(id_), None) if kind == "receipt" else (None, id_)
    else:
        effect = await store.effect(ref) if what == "effect" else None
        loaded = await store.load(ref if effect is None else effect.run)
        run = None if loaded is None else loaded.run
    if run is not None and run.workflow in releases.present.workflows:
        definition = releases.present.workflow(run.workflow)
        owners = definition.exception_owners or definition.owners
    case = open_case(
        "poisoned",
        id=ids.derive("case", "poisoned", what, ref, error[:200]),
        message=f"{what} {ref}: {error}",
        owners=owners or _system_owners(releases.present),
        at=now,
        run=None if run is None else run.id,
        effect=None if effect is None else effect.id,
        receipt=receipt,
        event=event,
    )
    await _open(store, case, now)


async def clock_jumped(store: Store, releases: Releases, seconds: float, now: datetime) -> None:
    """Open a Case for a jump of the clock, at most one an hour: approvals and counterfoils could expire wrongly."""
    case = open_case(
        "clock_jumped",
        id=ids.derive("case", "clock", now.isoformat(timespec="hours")),
        message=(
            f"the clock jumped by {seconds:.1f} s; expiries were delayed by one round, and look-ups conclude nothing "
            f"for a while"
        ),
        owners=_system_owners(releases.present),
        at=now,
    )
    await _open(store, case, now)


async def _open(store: Store, case: Case, now: datetime) -> None:
    await store.apply(OpenCases(cases=(case,), at=now, actor="watch"))


def _system_owners(model: Model) -> list[str]:
    return [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
