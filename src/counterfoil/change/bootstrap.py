"""A folder that a start may put in force by itself: where nobody could put anything in force otherwise.

Who may apply a change is said by the governance. In a company without persons, or whose roles give nobody that
permission, no plan could ever be applied; whoever starts the server there has the folder applied, as with the first.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from counterfoil.core import wire
from counterfoil.core.release import Plan
from counterfoil.model import Model
from counterfoil.rules import routing
from counterfoil.store.port.releases import ApplyPlan, PutPlan
from counterfoil.store.port.store import Store

APPLY = "releases:any:apply"
ACTOR = "up"


async def somebody_may_apply(store: Store, present: Model) -> bool:
    """Whether an active person has the permission, by the roles of the Release in force."""
    may = {name for name, role in present.roles.items() if APPLY in role.may}
    return any(person.active and may & set(person.roles) for person in await store.persons())


async def apply_at_start(store: Store, present: Model, new: Model, now: datetime) -> bool:
    """Put a folder's model in force. False when another process was faster."""
    digest = wire.digest(["start", present.digest, new.digest])
    held = await store.plan(digest)
    plan = Plan(
        digest=digest,
        base=present.digest,
        revision=new.digest,
        requester=ACTOR,
        round=1 if held is None else held.round + 1,
        body=wire.write_json({"stages": [], "approvals": [], "emergency": []}),
        created_at=now,
        expires=now + timedelta(minutes=5),
    )
    if await store.apply(PutPlan(plan=plan, model=new.to_json(), at=now, actor=ACTOR)) != "new":
        return False
    waits = routing.waits(new) or (("", ""),)
    reason = "the folder of a start: nobody has the permission to apply changes"
    applied = await store.apply(ApplyPlan(plan=digest, person=ACTOR, reason=reason, waits=waits, at=now))
    return applied.verdict == "applied"
