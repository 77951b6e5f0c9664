"""apply: do the stages of a plan, one after the other, until one refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from counterfoil.change import stages
from counterfoil.change.calendar import told
from counterfoil.change.difference import difference
from counterfoil.change.migrate import RunMigrator
from counterfoil.change.plan import approvals_of, zones
from counterfoil.change.verdicts import Models
from counterfoil.core import ids
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.release import Plan
from counterfoil.model import Model
from counterfoil.rules import routing
from counterfoil.store.port.releases import ApplyPlan
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import ListFilter, Views

Try: TypeAlias = Callable[[Model, Sequence[str]], Awaitable[None]]
"""Builds the connectors of these systems and lets go of them. Raises Misconfigured."""
TakeUp: TypeAlias = Callable[[], Awaitable[None]]
"""Has this process take up what is in force."""
REVIEW = timedelta(days=2)
MISSING = {
    "not_found": "There is no such plan: run `counterfoil plan` again.",
    "closed": "The plan was applied already, or another Release came into force, or its time is over: plan again.",
    "moved": "The base has moved: another Release came into force since the plan was made. Plan again.",
    "rejected": "The plan was rejected. Change it, or plan it again to ask anew.",
    "expired": "An approval of the plan has expired: plan it again to ask anew.",
    "missing": "An approval of the plan is missing.",
    "inactive": "Who approved the plan is not active any more: plan it again to ask anew.",
    "role": "Nobody but the roles that the policy names under `emergency` may put a Release back without approvals.",
    "never": "In an emergency only a Release that was in force before may be put back; this one never was.",
}
"""What the store's refusals say."""


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stage."""

    stage: str
    said: str


class ApplyResult(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    """Of the Release that is in force now."""
    no: int
    """Its place in the history."""
    plan: str
    stages: list[StageResult]


class Applier:
    """Applies plans of one store. One at a time for each process; the store decides between several."""

    def __init__(
        self, store: Store, views: Views, models: Models, try_: Try, take_up: TakeUp, mover: RunMigrator
    ) -> None:
        self._store = store
        self._views = views
        self._models = models
        self._try = try_
        self._take_up = take_up
        self._mover = mover

    async def apply(self, digest: str, person: str, reason: str, emergency: bool = False) -> ApplyResult:
        """Put a plan's revision in force. Raises Refused, with nothing done, when a stage refuses."""
        plan = await self._store.plan(digest)
        body = await self._store.plan_model(digest)
        if plan is None or body is None:
            raise Refused(MISSING["not_found"], ErrorClass.NOT_FOUND)
        made = msgspec.json.decode(plan.body)
        ordered = msgspec.convert(made["stages"], list[stages.Stage])
        roles = tuple(made["emergency"]) if emergency else ()
        if emergency and not roles:
            raise Refused("No policy in force names roles under `emergency`.", ErrorClass.CONFLICT)
        work = _Work(self, plan, Model.from_json(body), person, reason, roles)
        done: list[StageResult] = []
        for stage in ordered:
            name = stage.__struct_config__.tag
            done.append(StageResult(stage=str(name), said=await work.do(stage)))
        return ApplyResult(digest=plan.revision, no=work.no, plan=digest, stages=done)


class _Work:
    """One application of one plan."""

    def __init__(
        self, of: Applier, plan: Plan, new: Model, person: str, reason: str, emergency: tuple[str, ...]
    ) -> None:
        self.of = of
        self.plan = plan
        self.new = new
        self.person = person
        self.reason = reason
        self.emergency = emergency
        self.no = 0

    async def do(self, stage: stages.Stage) -> str:
        """Do a stage and say what became of it."""
        match stage:
            case stages.CheckBase():
                return await self._check_base(stage)
            case stages.CheckCalendar():
                return await self._check_calendar()
            case stages.RequireApprovals():
                return await self._require_approvals()
            case stages.TryConnectors(systems=systems):
                return await self._try_connectors(systems)
            case stages.MakeRelease():
                return await self._make_release()
            case stages.TakeUp():
                await self.of._take_up()
                return "taken up here; other processes follow within a second"
            case stages.MoveRuns(workflows=workflows):
                moved = [await self.of._mover.move(self.person, workflow=name) for name in workflows]
                done = sum(one.verdict == "moved" for some in moved for one in some)
                return f"{done} moved, {sum(map(len, moved)) - done} stay"
            case stages.Watch():
                rows, more = await self.of._views.cases(ListFilter(state=str(CaseState.OPEN), limit=200))
                return f"{len(rows)}{'+' if more else ''} open Cases now: `counterfoil cases`"

    async def _check_base(self, stage: stages.CheckBase) -> str:
        if await self.of._store.in_force() != stage.base:
            raise Refused(MISSING["moved"], ErrorClass.CONFLICT)
        return "the base is in force"

    async def _check_calendar(self) -> str:
        now = await self.of._store.now()
        old = await self.of._models(self.plan.base)
        found = told(old, self.new, difference(old, self.new, now.date()), now, await zones(self.of._store))
        refuses = [one for one in found if one.effect == "refuse"]
        if refuses and not self.emergency:
            when = "; ".join(f"{one.message} (calendar {one.calendar})" for one in refuses)
            raise Refused(f"A calendar refuses changes of this sort now: {when}.", ErrorClass.CONFLICT)
        return "; ".join(one.message for one in found) or "no calendar speaks against it"

    async def _require_approvals(self) -> str:
        approvals = await approvals_of(self.of._views, self.plan)
        if self.emergency:
            return "put back in an emergency, to be reviewed"
        now = await self.of._store.now()
        left = [one for one in approvals if one.state is not ApprovalState.GRANTED or one.expires <= now]
        if left:
            raise Refused("; ".join(_lacking(one, now) for one in left), ErrorClass.CONFLICT)
        return f"{len(approvals)} given"

    async def _try_connectors(self, systems: Sequence[str]) -> str:
        try:
            await self.of._try(self.new, systems)
        except Misconfigured as error:
            raise Refused(
                f"A connector of the revision cannot be built here: {error}", ErrorClass.CONFLICT
            ) from None
        return f"{', '.join(systems)} can be built"

    async def _make_release(self) -> str:
        now = await self.of._store.now()
        applied = await self.of._store.apply(
            ApplyPlan(
                plan=self.plan.digest,
                person=self.person,
                reason=self.reason,
                emergency=self.emergency,
                review=self._reviews(now) if self.emergency else (),
                waits=routing.waits(self.new) or (("", ""),),
                at=now,
            )
        )
        if applied.verdict != "applied":
            about = f" ({', '.join(applied.approvals)})" if applied.approvals else ""
            raise Refused(MISSING[applied.verdict] + about, ErrorClass.CONFLICT)
        self.no = applied.no
        return f"release {self.plan.revision[:12]} is in force, number {applied.no}"

    def _reviews(self, now: datetime) -> tuple[Case, ...]:
        """A Case for each approval that was not waited for, or one where none was asked."""
        made: list[Any] = msgspec.json.decode(self.plan.body)["approvals"]
        owners = [one["roles"][0] for one in made if one["roles"]] or [self.emergency[0]]
        return tuple(
            Case(
                id=ids.derive("case", "emergency", self.plan.digest, self.plan.round, owner),
                reason="emergency_release",
                message=f"{self.person} put back Release {self.plan.revision[:12]} without approvals: {self.reason}",
                owner=owner,
                deadline=now + REVIEW,
                next_action="Review what was put back, and why; plan what is to follow",
                choices=(Choice.DISMISS,),
                created_at=now,
            )
            for owner in dict.fromkeys(owners)
        )


def _lacking(approval: Approval, now: datetime) -> str:
    who = " or ".join(approval.roles)
    if approval.state is ApprovalState.REJECTED:
        return f"{approval.id} ({who}) was rejected"
    if approval.expires <= now or approval.state is ApprovalState.EXPIRED:
        return f"{approval.id} ({who}) has expired: plan again"
    return f"{approval.id} waits for {approval.quorum} of {who}, not {approval.requester}: `counterfoil approve {approval.id}`"
