"""Plans, what becomes of them, and Runs that are moved to another Release, in plain Python."""

from __future__ import annotations

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.effect import IN_FLIGHT, EffectState
from counterfoil.core.moves import check_move
from counterfoil.core.release import PLAN_MOVES, Plan, PlanState, ReleaseStep
from counterfoil.core.run import TERMINAL, Run
from counterfoil.store.memory.tables import Rows
from counterfoil.store.port import transitions as port
from counterfoil.store.port.releases import Applied, ApplyPlan, ExpirePlans, Moved, MoveRun, Pinned, PutPlan
from counterfoil.store.sql.verbs.releases import leaf_of_move, leaf_of_plan, leaf_of_step, refused


class Releases(Rows):
    def _putrelease(self, t: port.PutRelease) -> bool:
        if self.present_release.get("present", t.digest) == t.digest:
            for pair in t.waits:
                self._put(self.waited_rows, (t.digest, *pair), None)
        if self.present_release:
            return False
        self._put(self.present_release, "present", t.digest)
        self._put(self.releases, t.digest, t.body)
        step = ReleaseStep(
            no=1, digest=t.digest, base=None, plan=None, at=t.at, requester="", applied_by=t.actor
        )
        self._put(self.steps_of_releases, 1, step)
        self._leaf("released", t.digest, t.at, t.actor, b"{}")
        return True

    def _putplan(self, t: PutPlan) -> str:
        if self.present_release.get("present") != t.plan.base:
            return "moved"
        held = self.plans.get(t.plan.digest)
        if held is not None:
            if held.state is PlanState.OPEN and held.round == t.plan.round:
                self._put(self.plans, held.digest, msgspec.structs.replace(held, body=t.plan.body))
                return "same"
            if held.round + 1 != t.plan.round:
                return "stale"
            check_move(PLAN_MOVES, held.state, PlanState.OPEN, held.digest)
            self._close_approvals(held, ApprovalState.STALE)
        elif t.plan.round != 1:
            return "stale"
        self._put(self.plans, t.plan.digest, t.plan)
        self._put(self.plan_models, t.plan.digest, t.model)
        for approval in t.approvals:
            self._put(self.approval_rows, approval.id, approval)
        self._leaf("planned", t.plan.digest, t.at, t.actor, wire.dumps(leaf_of_plan(t)))
        return "new"

    def _close_approvals(self, plan: Plan, state: ApprovalState) -> None:
        for id_ in plan.approvals:
            approval = self.approval_rows[id_]
            if approval.state in (ApprovalState.OPEN, ApprovalState.GRANTED):
                self._put(self.approval_rows, id_, msgspec.structs.replace(approval, state=state))

    def _applyplan(self, t: ApplyPlan) -> Applied:
        plan = self.plans.get(t.plan)
        if plan is None:
            return Applied(verdict="not_found")
        if plan.state is not PlanState.OPEN:
            return Applied(verdict="closed")
        if self.present_release.get("present") != plan.base:
            return Applied(verdict="moved")
        approvers: set[str] = set()
        if t.emergency:
            who = self.people.get(t.person)
            if who is None or not who.active or not set(who.roles) & set(t.emergency):
                return Applied(verdict="role")
            if all(step.digest != plan.revision for step in self.steps_of_releases.values()):
                return Applied(verdict="never")
        else:
            for id_ in sorted(plan.approvals):
                approval = self.approval_rows[id_]
                refusal = refused(approval, t)
                live = self._live_voters(approval)
                if not refusal and not approval.automatic:
                    short = len(live) < approval.quorum or approval.requester in live
                    refusal = "inactive" if short else ""
                if refusal:
                    return Applied(verdict=refusal, approvals=(id_,))
                approvers |= set() if approval.automatic else live
        check_move(PLAN_MOVES, plan.state, PlanState.APPLIED, plan.digest)
        if plan.revision not in self.releases:
            self._put(self.releases, plan.revision, self.plan_models[plan.digest])
        for pair in t.waits:
            self._put(self.waited_rows, (plan.revision, *pair), None)
        self._put(self.present_release, "present", plan.revision)
        step = ReleaseStep(
            no=max(self.steps_of_releases, default=0) + 1,
            digest=plan.revision,
            base=plan.base,
            plan=plan.digest,
            at=t.at,
            requester=plan.requester,
            applied_by=t.person,
            approvers=tuple(sorted(approvers)),
            reason=t.reason,
            emergency=bool(t.emergency),
        )
        self._put(self.steps_of_releases, step.no, step)
        self._put(self.plans, plan.digest, msgspec.structs.replace(plan, state=PlanState.APPLIED))
        if t.emergency:
            self._close_approvals(plan, ApprovalState.VOID)
        for other in sorted(self.plans.values(), key=lambda p: p.digest):
            if other.state is PlanState.OPEN:
                self._put(self.plans, other.digest, msgspec.structs.replace(other, state=PlanState.STALE))
                self._close_approvals(other, ApprovalState.STALE)
        for case in t.review:
            self._case(case, t.at, f"person:{t.person}")
        self._leaf("released", plan.revision, t.at, f"person:{t.person}", wire.dumps(leaf_of_step(step)))
        return Applied(verdict="applied", no=step.no)

    def _live_voters(self, approval: Approval) -> set[str]:
        voters = [v.person for v in self.vote_rows.values() if v.approval == approval.id and v.approve]
        return {p for p in voters if (held := self.people.get(p)) is not None and held.active}

    def _expireplans(self, t: ExpirePlans) -> int:
        over = [p for p in self.plans.values() if p.state is PlanState.OPEN and p.expires <= t.at]
        for plan in sorted(over, key=lambda p: p.digest):
            self._put(self.plans, plan.digest, msgspec.structs.replace(plan, state=PlanState.EXPIRED))
            for id_ in plan.approvals:
                approval = self.approval_rows[id_]
                if approval.state is ApprovalState.OPEN:
                    expired = msgspec.structs.replace(approval, state=ApprovalState.EXPIRED)
                    self._put(self.approval_rows, id_, expired)
            self._close_approvals(plan, ApprovalState.VOID)
            self._leaf("plan.expired", plan.digest, t.at, "watch", b"{}")
        return len(over)

    def _moverun(self, t: MoveRun) -> Moved:
        run = self.runs.get(t.run)
        if run is None or (run.version, run.pin) != (t.version, t.pin):
            return Moved(verdict="changed")
        if run.status in TERMINAL:
            return Moved(verdict="ended")
        moving = IN_FLIGHT | {EffectState.PLANNED}
        if any(e.run == run.id and e.state in moving for e in self.effect_rows.values()):
            return Moved(verdict="busy")
        if run.version > 0 and run.inbox_n > run.consumed:
            return Moved(verdict="busy")
        version = run.version + 1
        moved = msgspec.structs.replace(
            run, pin=t.to, ctx=t.ctx, version=version, due=t.at, owner=None, lease_until=None
        )
        self._put(self.runs, run.id, moved)
        body = wire.dumps(leaf_of_move(t))
        self._leaf("moved", run.id, t.at, t.actor, body, run=run.id, version=version)
        return Moved(verdict="moved", version=version)

    # ------------------------------------------------------------------ reads

    async def in_force(self) -> str | None:
        return self.present_release.get("present")

    async def plan(self, digest: str) -> Plan | None:
        return self.plans.get(digest)

    async def plan_model(self, digest: str) -> bytes | None:
        return self.plan_models.get(digest)

    async def release_step(self, digest: str) -> ReleaseStep | None:
        found = [step for step in self.steps_of_releases.values() if step.digest == digest]
        return max(found, key=lambda step: step.no, default=None)

    async def release_steps(self, limit: int, before: int | None = None) -> list[ReleaseStep]:
        found = [s for s in self.steps_of_releases.values() if before is None or s.no < before]
        return sorted(found, key=lambda step: -step.no)[:limit]

    async def pinned(self) -> list[Pinned]:
        counts: dict[tuple[str, str], int] = {}
        for run in self.runs.values():
            if run.status not in TERMINAL:
                counts[run.workflow, run.pin] = counts.get((run.workflow, run.pin), 0) + 1
        return [Pinned(workflow=w, pin=p, count=n) for (w, p), n in sorted(counts.items())]

    async def unfinished(self, workflow: str, after: str, limit: int) -> list[Run]:
        found = [
            run
            for run in self.runs.values()
            if run.workflow == workflow and run.id > after and run.status not in TERMINAL
        ]
        return sorted(found, key=lambda run: run.id)[:limit]
