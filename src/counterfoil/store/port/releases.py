"""Changes of the model in force, as the port tells them: plans, what becomes of them, and Runs that are moved."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core.approval import Approval
from counterfoil.core.case import Case
from counterfoil.core.release import Plan


class PutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a plan with the approvals that it waits for. Guarded: `plan.base` is in force, else `moved`.

    A plan of that digest that is open in the same round -> `same`: its body alone is renewed. One of the round
    before -> `new`: it is opened anew, its former approvals that are open or granted become stale. Any other round
    -> `stale`, nothing written. Leaf, unless `same`.
    """

    plan: Plan
    model: bytes
    approvals: tuple[Approval, ...] = ()
    """Those of `plan.approvals`; `run` is the plan's digest."""
    at: datetime
    actor: str


class ApplyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Put a plan's revision in force, all or nothing, and with it: the step of the history, the plan applied, every
    other open plan stale together with its approvals, `review` Cases where `emergency`; leaf.

    Refused: `not_found`; `closed` (the plan is not open); `moved` (its base is not in force any more); `rejected`;
    `missing` (an approval is not granted); `expired`; `inactive` (who approved is not active any more).

    `emergency`: roles of whom one may put back a Release that was in force before, without waiting for approvals.
    Refused: `role`, `never` (it was never in force). Empty: no emergency is claimed.
    """

    plan: str
    person: str
    reason: str
    emergency: tuple[str, ...] = ()
    review: tuple[Case, ...] = ()
    waits: tuple[tuple[str, str], ...] = ()
    """What Runs of the revision may wait for, as with PutRelease."""
    at: datetime


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`applied`, or the refusal."""
    no: int = 0
    approvals: tuple[str, ...] = ()
    """Those that the refusal is about."""


class ExpirePlans(msgspec.Struct, frozen=True, kw_only=True):
    """Open plans past their time expire with their approvals; leaf for each. How many."""

    at: datetime


class MoveRun(msgspec.Struct, frozen=True, kw_only=True):
    """Pin a Run to another Release, its state mapped to that one's steps; it is due at once.

    Guarded by `version` and `pin` (-> `changed`); `ended` for a terminal Run; `busy` while an effect of it is
    planned, sending, accepted or unknown, or its inbox is not read, save by one that has not begun. Its version
    rises; leaf.
    """

    run: str
    version: int
    pin: str
    to: str
    ctx: bytes
    paths: tuple[tuple[str, str], ...] = ()
    """Steps that have another path now: what the log keeps of the mapping."""
    at: datetime
    actor: str


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`moved`, or the refusal."""
    version: int = 0


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """How many Runs of a workflow, not at their end, are pinned to a Release."""

    workflow: str
    pin: str
    count: int
