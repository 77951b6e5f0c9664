"""progress: whatever is overdue, stuck or unowned is found and said, by nobody who does the work.

It reads rows by index and nothing of what workers hold in memory, so a worker that has gone mad is found as well as
one that has gone. Each kind and class of subject has one Case, opened once and resolved by itself when a later scan
finds it gone; `/metrics` and `counterfoil doctor` show what the latest scan found. PROTOCOL invariant 11.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from counterfoil.core import ids
from counterfoil.core.case import Case, Choice
from counterfoil.core.clock import micros
from counterfoil.flow.context.releases import Releases
from counterfoil.model import Model
from counterfoil.store.port.store import RecordStalled, Stalled, StallLimits, Store

EVERY = 15.0
"""Seconds between scans."""
WITHIN = timedelta(hours=4)
NEXT = {
    "run_not_turned": "See in the workers' logs why turns of these Runs fail, or start workers",
    "lease_expired": "See what became of the workers that took these Runs",
    "run_lost": "Nothing will wake these Runs: open them and decide what they are to do; report it as a defect",
    "effect_planned": "See whether the system is reachable and its cap of calls is not used up by others",
    "effect_sending": "See that workers run: a call that is over is looked up by any of them",
    "effect_unknown": "Look into the system for what became of these calls",
    "todo_waiting": "See that workers run and that the systems that admission asks are reachable",
    "todo_parked": "Nobody owns these deliveries: hand them in again; report it as a defect",
    "case_overdue": "Resolve these Cases, or ask their owner to",
    "foil_past_due": "See that workers run: counterfoils past due break at the next round",
    "serial_held": "The Run that holds these serials has ended: report it as a defect",
    "serial_stranded": "Runs wait for a serial that nobody holds: report it as a defect",
    "leaf_pending": "See that workers run: leaves are sealed each second",
}
"""What the owner does next, by kind."""


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
    return Case(
        id=ids.derive("case", "stuck", stuck.kind, stuck.about, micros(now)),
        reason=f"stuck_{stuck.kind}",
        message=(
            f"{stuck.kind} in {stuck.about or 'no class'} since {stuck.since.isoformat(timespec='seconds')}: "
            f"{named}{more}"
        )[:4000],
        owner=stuck.owner or _owner(model, stuck.about),
        deadline=now + WITHIN,
        next_action=NEXT[stuck.kind],
        choices=(Choice.DISMISS,),
        created_at=now,
    )


def _owner(model: Model, about: str) -> str:
    """The role that owns a workflow or system, else one that owns any system: nothing stuck is without an owner."""
    known = [kind for kind in (model.workflows.get(about), model.systems.get(about)) if kind is not None]
    roles = [role for kind in known for role in model.owners_of(kind)]
    roles += [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    return next(iter(roles), "")
