"""apply: execute the stages of a plan, one after another, until one refuses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from counterfoil.change import stages
from counterfoil.change.calendar import calendar_notices
from counterfoil.change.migrate import RunMigrator
from counterfoil.change.plan import approvals_of, time_zones
from counterfoil.change.plan_report import PlanReport, StartupReport, read_report
from counterfoil.change.ports import ChangePorts
from counterfoil.core import ids
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case, CaseState
from counterfoil.core.cases import open_case
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.plural import counted
from counterfoil.core.release import Plan
from counterfoil.model import Model
from counterfoil.rules import routing
from counterfoil.store.port.refusals import RecordRefusal, RefusedAttempt
from counterfoil.store.port.releases import ApplyPlan
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import ListFilter, Views

MAX_DIGEST_CHARS = 64
MAX_WHY_CHARS = 1000
REFUSALS = {
    "not_found": "There is no such plan. Run `counterfoil plan` again.",
    "closed": "The plan was applied already, has expired, or another Release became active. Plan again.",
    "moved": "Another Release became active since the plan was made. Plan again.",
    "rejected": "The plan was rejected. Change it, or plan it again to ask for approval again.",
    "expired": "An approval of the plan has expired. Plan again to ask for approval again.",
    "missing": "An approval of the plan is missing.",
    "inactive": "A person who approved the plan is no longer active. Plan again to ask for approval again.",
    "role": "Only the roles that the policy names under `emergency` may roll back a Release without approvals.",
    "never": "In an emergency, only a rollback to a former Release is possible. This one was never active.",
}
"""Text of each refusal of the store, by verdict."""


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one stage."""

    stage: str
    said: str


class ApplyResult(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    """Digest of the Release that is active now."""
    no: int
    """Its number in the history."""
    plan: str
    stages: list[StageResult]


class Applier:
    """Applies plans of one store. If several processes apply plans, the store decides which one wins."""

    def __init__(self, store: Store, views: Views, ports: ChangePorts, mover: RunMigrator) -> None:
        self._store = store
        self._views = views
        self._ports = ports
        self._mover = mover

    async def apply(self, digest: str, person: str, reason: str, emergency: bool = False) -> ApplyResult:
        """Make a plan's revision active. Raises Refused if a stage refuses; then nothing has changed but a leaf."""
        try:
            return await self._execute(digest, person, reason, emergency)
        except Refused as refusal:
            if refusal.error_class is ErrorClass.NOT_FOUND:
                raise
            attempt = RefusedAttempt(
                kind="decision.refused",
                person=person,
                action="apply",
                subject=digest[:MAX_DIGEST_CHARS],
                verdict="emergency" if emergency else "apply",
                at=await self._store.now(),
                details={"why": str(refusal)[:MAX_WHY_CHARS], "reason": reason},
            )
            await self._store.apply(RecordRefusal(attempt=attempt))
            raise

    async def _execute(self, digest: str, person: str, reason: str, emergency: bool) -> ApplyResult:
        plan = await self._store.plan(digest)
        body = await self._store.plan_model(digest)
        if plan is None or body is None:
            raise Refused(REFUSALS["not_found"], ErrorClass.NOT_FOUND)
        report = read_report(plan)
        roles = report.emergency if emergency else ()
        if emergency and not roles:
            raise Refused(
                "The active Release has no policy that names roles under `emergency`.", ErrorClass.CONFLICT
            )
        application = _PlanApplication(self, plan, report, Model.from_json(body), person, reason, roles)
        results: list[StageResult] = []
        for stage in report.stages:
            name = stage.__struct_config__.tag
            results.append(StageResult(stage=str(name), said=await application.execute(stage)))
        return ApplyResult(digest=plan.revision, no=application.no, plan=digest, stages=results)


class _PlanApplication:
    def __init__(
        self,
        of: Applier,
        plan: Plan,
        report: PlanReport | StartupReport,
        new: Model,
        person: str,
        reason: str,
        emergency: tuple[str, ...],
    ) -> None:
        self.of = of
        self.plan = plan
        self.report = report
        self.new = new
        self.person = person
        self.reason = reason
        self.emergency = emergency
        self.no = 0

    async def execute(self, stage: stages.Stage) -> str:
        """Execute a stage and return its result as text. Raises Refused."""
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
                await self.of._ports.take_up()
                return "loaded in this process; other processes follow within a second"
            case stages.MoveRuns(workflows=workflows):
                moves = [
                    run_move
                    for name in workflows
                    for run_move in await self.of._mover.move(self.person, workflow=name)
                ]
                moved_count = sum(run_move.verdict == "moved" for run_move in moves)
                return f"{moved_count} moved, {len(moves) - moved_count} stay"
            case stages.Watch():
                rows, more = await self.of._views.cases(ListFilter(state=str(CaseState.OPEN), limit=200))
                count = f"{len(rows)}+ open Cases" if more else counted(len(rows), "open Case")
                return f"{count} now: `counterfoil cases`"

    async def _check_base(self, stage: stages.CheckBase) -> str:
        if await self.of._store.active_release() != stage.base:
            raise Refused(REFUSALS["moved"], ErrorClass.CONFLICT)
        return "the base is still active"

    async def _check_calendar(self) -> str:
        now = await self.of._store.now()
        old = await self.of._ports.model(self.plan.base)
        differences = self.report.differences if isinstance(self.report, PlanReport) else ()
        notices = calendar_notices(old, self.new, differences, now, await time_zones(self.of._store))
        refusals = [notice for notice in notices if notice.effect == "refuse"]
        if refusals and not self.emergency:
            entries = "; ".join(f"{notice.message} (calendar {notice.calendar})" for notice in refusals)
            raise Refused(f"A calendar forbids such changes now: {entries}.", ErrorClass.CONFLICT)
        return "; ".join(notice.message for notice in notices) or "no calendar forbids it"

    async def _require_approvals(self) -> str:
        approvals = await approvals_of(self.of._views, self.plan)
        if self.emergency:
            return "rolled back in an emergency; a review is due"
        now = await self.of._store.now()
        missing = [a for a in approvals if a.state is not ApprovalState.GRANTED or a.expires <= now]
        if missing:
            what = "; ".join(_explain_missing(a, now) for a in missing)
            raise Refused(
                f"The plan lacks {len(missing)} of {len(approvals)} approvals: {what}", ErrorClass.CONFLICT
            )
        return f"{len(approvals)} granted"

    async def _try_connectors(self, systems: Sequence[str]) -> str:
        try:
            await self.of._ports.try_connectors(self.new, systems)
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
            raise Refused(REFUSALS[applied.verdict] + about, ErrorClass.CONFLICT)
        self.no = applied.no
        return f"release {self.plan.revision[:12]} is active, number {applied.no}"

    def _reviews(self, now: datetime) -> tuple[Case, ...]:
        """Return a Case for each approval that was skipped, or one Case if the plan needs no approval."""
        owners = [approval.roles[0] for approval in self.report.approvals if approval.roles]
        return tuple(
            open_case(
                "emergency_release",
                id=ids.derive("case", "emergency", self.plan.digest, self.plan.round, owner),
                message=f"{self.person} rolled back to Release {self.plan.revision[:12]} without approvals: {self.reason}",
                owners=(owner,),
                at=now,
            )
            for owner in dict.fromkeys(owners or [self.emergency[0]])
        )


def _explain_missing(approval: Approval, now: datetime) -> str:
    roles = " or ".join(approval.roles)
    if approval.state is ApprovalState.REJECTED:
        return f"{approval.id} ({roles}) was rejected"
    if approval.expires <= now or approval.state is ApprovalState.EXPIRED:
        return f"{approval.id} ({roles}) has expired: plan again"
    return f"{approval.id} waits for {approval.quorum} of {roles}, not {approval.requester}: `counterfoil approve {approval.id}`"
