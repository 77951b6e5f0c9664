"""progress: whatever is overdue, stuck or unowned is found and said, by nobody who does the work.

It reads rows by index and nothing of what workers hold in memory, so a worker that has gone mad is found as well as
one that has gone. Each kind and class of subject has one Case, opened once and resolved by itself when a later scan
finds it gone; `/metrics` and `counterfoil doctor` show what the latest scan found. PROTOCOL invariant 11.
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
from counterfoil.store.port.stalled import RecordStalled, Stalled, StallLimits
from counterfoil.store.port.store import (
    Store,
)

EVERY = 15.0
"""Seconds between scans."""


async def scan(
    store: Store, releases: Releases, now: datetime, patience: StallLimits | None = None
) -> list[Stalled]:
    """Look once; what was found. Where nothing is stuck and nothing was, nothing is written."""
    found = await store.stuck(now, patience or StallLimits())
    if found or await store.stuckness():
        cases = tuple(_case(releases.present, each, now) for each in found)
        await store.apply(RecordStalled(found=tuple(found), cases=cases, at=now, actor="progress"))
    return found


def _case(model: Model, stuck: Stalled, now: datetime) -> Case:
    named = ", ".join(stuck.subjects)
    more = f" and {stuck.count - len(stuck.subjects)} more" if stuck.count > len(stuck.subjects) else ""
    return open_case(
        f"{STALL_PREFIX}{stuck.kind}",
        id=ids.derive("case", "stuck", stuck.kind, stuck.about, micros(now)),
        message=(
            f"{stuck.kind} in {stuck.about or 'no class'} since {stuck.since.isoformat(timespec='seconds')}: "
            f"{named}{more}"
        ),
        owners=(stuck.owner,) if stuck.owner else _owners(model, stuck.about),
        at=now,
    )


def _owners(model: Model, about: str) -> list[str]:
    """The role that owns a workflow or system, else one that owns any system: nothing stuck is without an owner."""
    known = [kind for kind in (model.workflows.get(about), model.systems.get(about)) if kind is not None]
    roles = [role for kind in known for role in model.owners_of(kind)]
    roles += [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    return roles
