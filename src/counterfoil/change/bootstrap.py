"""Apply a folder at startup in a company where no person may apply changes.

The governance says who may apply a change. If it has no active person with that permission, no plan could ever be
applied. The process that starts there applies the folder, as `up` does for the first Release.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from counterfoil.change.plan_report import StartupReport
from counterfoil.core import wire
from counterfoil.core.release import Plan
from counterfoil.model import Model
from counterfoil.rules import routing
from counterfoil.store.port.releases import ApplyPlan, PutPlan
from counterfoil.store.port.store import Store

APPLY = "releases:any:apply"
ACTOR = "up"
PLAN_LIFETIME = timedelta(minutes=5)
ACTIVE_AT_START = "no person may apply changes yet: the folder becomes active when `up` starts again"
"""Note in a plan of such a company."""


async def any_person_may_apply(store: Store, present: Model) -> bool:
    """Return True if the active Release gives an active person the permission to apply changes."""
    roles = {name for name, role in present.roles.items() if APPLY in role.may}
    return any(person.active and roles & set(person.roles) for person in await store.persons())


async def apply_at_start(store: Store, present: Model, new: Model, now: datetime) -> bool:
    """Make a folder's model active. Returns False if another process did it first."""
    digest = wire.digest(["start", present.digest, new.digest])
    existing = await store.plan(digest)
    plan = Plan(
        digest=digest,
        base=present.digest,
        revision=new.digest,
        requester=ACTOR,
        round=1 if existing is None else existing.round + 1,
        body=StartupReport().to_json(),
        created_at=now,
        expires=now + PLAN_LIFETIME,
    )
    if await store.apply(PutPlan(plan=plan, model=new.to_json(), at=now, actor=ACTOR)) != "new":
        return False
    waits = routing.waits(new) or (("", ""),)
    reason = "the folder of a start: no person has the permission to apply changes"
    applied = await store.apply(ApplyPlan(plan=digest, person=ACTOR, reason=reason, waits=waits, at=now))
    return applied.verdict == "applied"
