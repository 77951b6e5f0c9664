"""Specification of plans, Releases and moved Runs."""

from __future__ import annotations

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import IN_FLIGHT, EffectState
from counterfoil.core.moves import check_move
from counterfoil.core.release import PLAN_MOVES, Plan, PlanState, ReleaseStep
from counterfoil.core.run import TERMINAL
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.effects import live_voters
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.releases import (
    ApplyPlan,
    ApplyPlanResult,
    ExpirePlans,
    MoveRun,
    MoveRunResult,
    PutFirstRelease,
    PutPlan,
    PutPlanVerdict,
)


@memory(PutFirstRelease)
def put_release(db: Tables, t: PutFirstRelease) -> bool:
    if db.present_release.get("present", t.digest) == t.digest:
        for pair in t.waits:
            db.put(db.awaited, (t.digest, *pair), None)
    if db.present_release:
        return False
    db.put(db.present_release, "present", t.digest)
    db.put(db.releases, t.digest, t.body)
    step = ReleaseStep(no=1, digest=t.digest, base=None, plan=None, at=t.at, requester="", applied_by=t.actor)
    db.put(db.release_steps, 1, step)
    db.leaf("released", t.digest, t.at, t.actor, b"{}")
    return True


@memory(PutPlan)
def put_plan(db: Tables, t: PutPlan) -> PutPlanVerdict:
    if db.present_release.get("present") != t.plan.base:
        return "moved"
    plan = db.plans.get(t.plan.digest)
    if plan is not None:
        if plan.state is PlanState.OPEN and plan.round == t.plan.round:
            db.put(db.plans, plan.digest, replace(plan, body=t.plan.body))
            return "same"
        if plan.round + 1 != t.plan.round:
            return "stale"
        check_move(PLAN_MOVES, plan.state, PlanState.OPEN, plan.digest)
        close_approvals(db, plan, ApprovalState.STALE)
    elif t.plan.round != 1:
        return "stale"
    db.put(db.plans, t.plan.digest, t.plan)
    db.put(db.plan_models, t.plan.digest, t.model)
    for approval in t.approvals:
        db.put(db.approvals, approval.id, approval)
    db.leaf("planned", t.plan.digest, t.at, t.actor, wire.dumps(t.leaf_body()))
    return "new"


def close_approvals(db: Tables, plan: Plan, state: ApprovalState) -> None:
    for id_ in plan.approvals:
        approval = db.approvals[id_]
        if approval.state in (ApprovalState.OPEN, ApprovalState.GRANTED):
            db.put(db.approvals, id_, replace(approval, state=state))


@memory(ApplyPlan)
def apply_plan(db: Tables, t: ApplyPlan) -> ApplyPlanResult:
    plan = db.plans.get(t.plan)
    if plan is None:
        return ApplyPlanResult(verdict="not_found")
    if plan.state is not PlanState.OPEN:
        return ApplyPlanResult(verdict="closed")
    if db.present_release.get("present") != plan.base:
        return ApplyPlanResult(verdict="moved")
    approvers: set[str] = set()
    if t.emergency:
        who = db.persons.get(t.person)
        if who is None or not who.active or not set(who.roles) & set(t.emergency):
            return ApplyPlanResult(verdict="role")
        if all(step.digest != plan.revision for step in db.release_steps.values()):
            return ApplyPlanResult(verdict="never")
    else:
        for id_ in sorted(plan.approvals):
            approval = db.approvals[id_]
            refusal = t.refusal(approval)
            live = live_voters(db, id_)
            if refusal is None and not approval.is_supported(live):
                refusal = "inactive"
            if refusal is not None:
                return ApplyPlanResult(verdict=refusal, approvals=(id_,))
            approvers |= set() if approval.automatic else {person.id for person in live}
    check_move(PLAN_MOVES, plan.state, PlanState.APPLIED, plan.digest)
    if plan.revision not in db.releases:
        db.put(db.releases, plan.revision, db.plan_models[plan.digest])
    for pair in t.waits:
        db.put(db.awaited, (plan.revision, *pair), None)
    db.put(db.present_release, "present", plan.revision)
    step = t.step(max(db.release_steps, default=0) + 1, plan, approvers)
    db.put(db.release_steps, step.no, step)
    db.put(db.plans, plan.digest, replace(plan, state=PlanState.APPLIED))
    if t.emergency:
        close_approvals(db, plan, ApprovalState.VOID)
    for other in sorted(db.plans.values(), key=lambda p: p.digest):
        if other.state is PlanState.OPEN:
            db.put(db.plans, other.digest, replace(other, state=PlanState.STALE))
            close_approvals(db, other, ApprovalState.STALE)
    for case in t.review:
        open_case(db, case, t.at, f"person:{t.person}")
    db.leaf("released", plan.revision, t.at, f"person:{t.person}", wire.dumps(t.leaf_body(step)))
    return ApplyPlanResult(verdict="applied", no=step.no)


@memory(ExpirePlans)
def expire_plans(db: Tables, t: ExpirePlans) -> int:
    over = [p for p in db.plans.values() if p.state is PlanState.OPEN and p.expires <= t.at]
    for plan in sorted(over, key=lambda p: p.digest):
        db.put(db.plans, plan.digest, replace(plan, state=PlanState.EXPIRED))
        for id_ in plan.approvals:
            approval = db.approvals[id_]
            if approval.state is ApprovalState.OPEN:
                expired = replace(approval, state=ApprovalState.EXPIRED)
                db.put(db.approvals, id_, expired)
        close_approvals(db, plan, ApprovalState.VOID)
        db.leaf("plan.expired", plan.digest, t.at, "watch", b"{}")
    return len(over)


@memory(MoveRun)
def move_run(db: Tables, t: MoveRun) -> MoveRunResult:
    run = db.runs.get(t.run)
    if run is None or (run.version, run.pin) != (t.version, t.pin):
        return MoveRunResult(verdict="changed")
    if run.status in TERMINAL:
        return MoveRunResult(verdict="ended")
    moving = IN_FLIGHT | {EffectState.PLANNED}
    if any(e.run == run.id and e.state in moving for e in db.effects.values()):
        return MoveRunResult(verdict="busy")
    if run.version > 0 and run.inbox_n > run.consumed:
        return MoveRunResult(verdict="busy")
    version = run.version + 1
    moved = replace(run, pin=t.to, ctx=t.ctx, version=version, due=t.at, owner=None, lease_until=None)
    db.put(db.runs, run.id, moved)
    body = wire.dumps(t.leaf_body())
    db.leaf("moved", run.id, t.at, t.actor, body, run=run.id, version=version)
    return MoveRunResult(verdict="moved", version=version)
