"""Scan for stalled work: overdue, stuck or without an owner (PROTOCOL invariant 11).

The scan reads rows by index and nothing from the memory of workers, so it finds the work of a defective worker as well as
that of a dead one. Each kind and class has one Case, which a later scan resolves when the stall is gone. `/metrics` and
`counterfoil doctor` show the latest scan.
"""

from __future__ import annotations

from datetime import datetime

from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import STALL_PREFIX
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.flow.context.releases import Releases
from counterfoil.model import Model
from counterfoil.store.port.stalled import RecordStalled, StalledGroup, StallLimits
from counterfoil.store.port.store import Store


async def scan(
    store: Store, releases: Releases, now: datetime, limits: StallLimits | None = None
) -> list[StalledGroup]:
    """Scan once and return the stalls. Writes nothing if there are none and the last scan found none."""
    stalls = await store.stalled_work(now, limits or StallLimits())
    if stalls or await store.stall_findings():
        cases = tuple(_case(releases.present, stalled, now) for stalled in stalls)
        await store.apply(RecordStalled(findings=tuple(stalls), cases=cases, at=now, actor="progress"))
    return stalls


def _case(model: Model, stalled: StalledGroup, now: datetime) -> Case:
    subjects = ", ".join(stalled.subjects)
    more = (
        f" and {stalled.count - len(stalled.subjects)} more" if stalled.count > len(stalled.subjects) else ""
    )
    return open_case(
        f"{STALL_PREFIX}{stalled.kind}",
        id=ids.derive("case", "stuck", stalled.kind, stalled.about, micros(now)),
        message=(
            f"{stalled.kind} in {stalled.about or 'no class'} since {stalled.since.isoformat(timespec='seconds')}: "
            f"{subjects}{more}"
        ),
        owners=(stalled.owner,) if stalled.owner else _owners(model, stalled.about),
        at=now,
    )


def _owners(model: Model, about: str) -> list[str]:
    """Return the owners of a workflow or system, then those of any system: every stall has an owner."""
    kinds = [kind for kind in (model.workflows.get(about), model.systems.get(about)) if kind is not None]
    roles = [role for kind in kinds for role in model.owners_of(kind)]
    roles += [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    return roles
