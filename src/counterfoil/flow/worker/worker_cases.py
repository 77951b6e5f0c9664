"""Cases that a worker opens: an unreachable system, a defect, a clock that jumped, overdue foils and stalled work.

Stalled work is overdue, stuck or without an owner (PROTOCOL invariant 11). The scan for it reads rows by index and nothing
from the memory of workers, so it finds the work of a defective worker as well as that of a dead one. Each kind and class
has one Case, which a later scan resolves when the stall is gone. `/metrics` and `counterfoil doctor` show the latest scan.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import STALL_PREFIX
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.flow.context.releases import Releases
from counterfoil.model import Model
from counterfoil.store.port.documents import OpenItemCases
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases
from counterfoil.store.port.stalled import RecordStalled, StalledGroup, StallLimits
from counterfoil.store.port.store import Store

MAX_EXPIRED_FOILS = 500
_WORK = {"run": "the Run", "effect": "the call", "todo": "the delivery"}


async def open_unreachable(store: Store, releases: Releases, system: str, error: str, now: datetime) -> None:
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


async def open_defect(
    store: Store, releases: Releases, what: str, ref: str, error: str, now: datetime
) -> None:
    """Open one Case for each kind of defect by which work on a `run`, `effect` or `todo` failed.

    The row stays as it is and is tried again. The log has the error's text, which no Case shows.
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
        id=ids.derive("case", "poisoned", what, ref, error),
        message=f"An internal error stops {_WORK[what]} {ref}. The worker's log describes it under {what}:{ref}",
        owners=owners or _system_owners(releases.present),
        at=now,
        run=None if run is None else run.id,
        effect=None if effect is None else effect.id,
        receipt=receipt,
        event=event,
    )
    await _open(store, case, now)


async def open_clock_jumped(store: Store, releases: Releases, seconds: float, now: datetime) -> None:
    """Open a Case for a jump of the clock, at most one an hour: approvals and counterfoils could expire wrongly."""
    case = open_case(
        "clock_jumped",
        id=ids.derive("case", "clock", now.isoformat(timespec="hours")),
        message=(
            f"The clock jumped by {seconds:.1f} s. Approvals and counterfoils expire one round later. For a while, a "
            "look-up that finds nothing does not prove that a call was not made"
        ),
        owners=_system_owners(releases.present),
        at=now,
    )
    await _open(store, case, now)


async def expire_foils(store: Store, now: datetime) -> int:
    """Turn foils past due into breaks, each with a Case for its owner. Return their number."""
    due = await store.foils_past_due(now, MAX_EXPIRED_FOILS)
    return await store.apply(ExpireFoils(foils=tuple(f.id for f in due), at=now)) if due else 0


async def open_item_cases(store: Store, now: datetime) -> int:
    """Open the Cases of unmatched items whose grace is over. Return their number."""
    due = await store.items_past_grace(now, MAX_EXPIRED_FOILS)
    return await store.apply(OpenItemCases(items=tuple(o.id for o in due), at=now)) if due else 0


async def scan_stalls(
    store: Store, releases: Releases, now: datetime, limits: StallLimits | None = None
) -> list[StalledGroup]:
    """Scan once and return the stalls. Writes nothing if there are none and the last scan found none."""
    stalls = await store.stalled_work(now, limits or StallLimits())
    if stalls or await store.stall_findings():
        cases = tuple(_stall_case(releases.present, stalled, now) for stalled in stalls)
        await store.apply(RecordStalled(findings=tuple(stalls), cases=cases, at=now, actor="progress"))
    return stalls


def _stall_case(model: Model, stalled: StalledGroup, now: datetime) -> Case:
    subjects = ", ".join(stalled.subjects)
    left = stalled.count - len(stalled.subjects)
    more = f" and {left} more" if left > 0 else ""
    place = f" in {stalled.about}" if stalled.about else ""
    kinds = (model.workflows.get(stalled.about), model.systems.get(stalled.about))
    owners = [role for kind in kinds if kind is not None for role in model.owners_of(kind)]
    return open_case(
        f"{STALL_PREFIX}{stalled.kind}",
        id=ids.derive("case", "stuck", stalled.kind, stalled.about, micros(now)),
        message=f"Since {stalled.since:%Y-%m-%d %H:%M:%S} UTC{place}: {subjects}{more}",
        owners=(stalled.owner,) if stalled.owner else [*owners, *_system_owners(model)],
        at=now,
    )


async def _open(store: Store, case: Case, now: datetime) -> None:
    await store.apply(OpenCases(cases=(case,), at=now, actor="watch"))


def _system_owners(model: Model) -> list[str]:
    return [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
