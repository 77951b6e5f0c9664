"""Plans, Releases, and Runs that are moved to another Release."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.clock import micros
from counterfoil.core.moves import check_move
from counterfoil.core.release import PLAN_MOVES, Plan, PlanState, ReleaseStep
from counterfoil.core.run import TERMINAL, RunStatus
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
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.statements import Rollback
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.effects import live_voters
from counterfoil.store.sql.verbs.people import person

PLAN = f"{t.PLAN.select} where digest = $1"
APPROVALS = f"{t.APPROVAL.select} where id = any($1::text[]) order by id for update"
CLOSE_APPROVALS = f"""
update approval set state = $2 where id = any($1::text[]) and state in {t.APPROVAL_VALID}
"""
RELEASE_LOCK = 0x52454C454153
"""Shared by admissions; exclusive for a transition that changes the active Release."""


@sql(PutFirstRelease)
async def put_release(x: Tx, p: PutFirstRelease) -> bool:
    """Store the first Release. The row of the active Release is the lock."""
    row = (p.digest, p.body, micros(p.at))
    first = await x.rows(
        "insert into present_release (one, digest) values (1, $1) on conflict (one) do nothing returning one",
        p.digest,
    )
    if not first:
        if await _active_release(x) == p.digest:
            await x.insert(t.WAITED, [(p.digest, *pair) for pair in p.waits], ignore=True)
        return False
    await x.insert(t.RELEASE, [row], ignore=True)
    await x.insert(t.WAITED, [(p.digest, *pair) for pair in p.waits], ignore=True)
    step = ReleaseStep(no=1, digest=p.digest, base=None, plan=None, at=p.at, requester="", applied_by=p.actor)
    await x.insert(t.RELEASE_STEP, [t.RELEASE_STEP.row(step)])
    x.leaf("released", p.digest, p.at, p.actor, b"{}")
    return True


async def by_present(x: Tx, release: str) -> bool:
    """Report whether a Release is active, until this transaction ends; without an active one, any will do.

    Admissions share this lock; a row lock would have each of them write the row.
    """
    if x.dialect == "postgres":
        await x.rows("select pg_advisory_xact_lock_shared($1::bigint)", RELEASE_LOCK)
    row = await x.one("select digest from present_release where one = $1::bigint", 1)
    return row is None or row[0] == release


async def _alone(x: Tx) -> None:
    """Wait until no admission runs; none begins before this transaction ends."""
    if x.dialect == "postgres":
        await x.rows("select pg_advisory_xact_lock($1::bigint)", RELEASE_LOCK)


async def _active_release(x: Tx) -> str | None:
    """Return the active Release, locked: other transitions that change it wait."""
    row = await x.one("select digest from present_release where one = 1 for update")
    return None if row is None else str(row[0])


@sql(PutPlan)
async def put_plan(x: Tx, p: PutPlan) -> PutPlanVerdict:
    if await _active_release(x) != p.plan.base:
        return "moved"
    row = await x.one(f"{PLAN} for update", p.plan.digest)
    if row is not None:
        plan: Plan = t.PLAN.read(row)
        if plan.state is PlanState.OPEN and plan.round == p.plan.round:
            await x.rows("update plan set body = $2 where digest = $1", plan.digest, p.plan.body)
            return "same"
        if plan.round + 1 != p.plan.round:
            return "stale"
        check_move(PLAN_MOVES, plan.state, PlanState.OPEN, plan.digest)
        await x.rows(CLOSE_APPROVALS, list(plan.approvals), str(ApprovalState.STALE))
        await x.rows("delete from plan where digest = $1", plan.digest)
    elif p.plan.round != 1:
        return "stale"
    await x.insert(t.PLAN_WITH_MODEL, [(*t.PLAN.row(p.plan), p.model)])
    await x.insert(t.APPROVAL, [t.APPROVAL.row(approval) for approval in p.approvals])
    x.leaf("planned", p.plan.digest, p.at, p.actor, wire.dumps(p.leaf_body()))
    return "new"


@sql(ApplyPlan)
async def apply_plan(x: Tx, a: ApplyPlan) -> ApplyPlanResult:
    await _alone(x)
    present = await _active_release(x)
    row = await x.one(f"{PLAN} for update", a.plan)
    if row is None:
        return ApplyPlanResult(verdict="not_found")
    plan: Plan = t.PLAN.read(row)
    if plan.state is not PlanState.OPEN:
        return ApplyPlanResult(verdict="closed")
    if present != plan.base:
        return ApplyPlanResult(verdict="moved")
    approvals = [t.APPROVAL.read(row) for row in await x.rows(APPROVALS, sorted(plan.approvals))]
    approvers: set[str] = set()
    if a.emergency:
        await _check_emergency(x, a, plan)
    else:
        for approval in approvals:
            approvers |= await _check_approval(x, a, approval)
    check_move(PLAN_MOVES, plan.state, PlanState.APPLIED, plan.digest)
    statement = """
    insert into release (digest, body, at) select revision, model, $2 from plan where digest = $1
    on conflict (digest) do nothing
    """
    await x.rows(statement, plan.digest, micros(a.at))
    await x.insert(t.WAITED, [(plan.revision, *pair) for pair in a.waits], ignore=True)
    await x.rows("update present_release set digest = $1 where one = 1", plan.revision)
    last = await x.one("select coalesce(max(no), 0) from release_step")
    assert last is not None
    step = a.step(last[0] + 1, plan, approvers)
    await x.insert(t.RELEASE_STEP, [t.RELEASE_STEP.row(step)])
    await x.rows("update plan set state = 'applied' where digest = $1", plan.digest)
    if a.emergency:
        await x.rows(CLOSE_APPROVALS, list(plan.approvals), str(ApprovalState.VOID))
    await _outdate(x, plan)
    for case in a.review:
        await x.open_case(case, a.at, f"person:{a.person}")
    x.leaf("released", plan.revision, a.at, f"person:{a.person}", wire.dumps(a.leaf_body(step)))
    return ApplyPlanResult(verdict="applied", no=step.no)


async def _check_emergency(x: Tx, a: ApplyPlan, plan: Plan) -> None:
    who = await person(x, a.person)
    if who is None or not who.active or not set(who.roles) & set(a.emergency):
        raise Rollback(ApplyPlanResult(verdict="role"))
    if await x.one("select 1 from release_step where digest = $1", plan.revision) is None:
        raise Rollback(ApplyPlanResult(verdict="never"))


async def _check_approval(x: Tx, a: ApplyPlan, approval: Approval) -> set[str]:
    """Return the voters of a valid approval. Raises Rollback with the refusal otherwise."""
    refusal = a.refusal(approval)
    if refusal is not None:
        raise Rollback(ApplyPlanResult(verdict=refusal, approvals=(approval.id,)))
    if approval.automatic:
        return set()
    live = await live_voters(x, approval.id)
    if not approval.is_supported(live):
        raise Rollback(ApplyPlanResult(verdict="inactive", approvals=(approval.id,)))
    return {person.id for person in live}


async def _outdate(x: Tx, applied: Plan) -> None:
    """Make every other open plan stale: its base is no longer active."""
    sql = f"{t.PLAN.select} where state = 'open' order by digest for update"
    others: list[Plan] = [t.PLAN.read(row) for row in await x.rows(sql)]
    for other in others:
        if other.digest != applied.digest:
            await x.rows("update plan set state = 'stale' where digest = $1", other.digest)
            await x.rows(CLOSE_APPROVALS, list(other.approvals), str(ApprovalState.STALE))


@sql(ExpirePlans)
async def expire_plans(x: Tx, e: ExpirePlans) -> int:
    sql = f"{t.PLAN.select} where state = 'open' and expires <= $1 order by digest for update"
    over: list[Plan] = [t.PLAN.read(row) for row in await x.rows(sql, micros(e.at))]
    for plan in over:
        await x.rows("update plan set state = 'expired' where digest = $1", plan.digest)
        statement = "update approval set state = 'expired' where id = any($1::text[]) and state = 'open'"
        await x.rows(statement, list(plan.approvals))
        await x.rows(CLOSE_APPROVALS, list(plan.approvals), str(ApprovalState.VOID))
        x.leaf("plan.expired", plan.digest, e.at, "watch", b"{}")
    return len(over)


@sql(MoveRun)
async def move_run(x: Tx, m: MoveRun) -> MoveRunResult:
    columns = "version, pin, status, inbox_n, consumed"
    row = await x.one(f"select {columns} from run where id = $1 for update", m.run)
    if row is None or (row[0], row[1]) != (m.version, m.pin):
        return MoveRunResult(verdict="changed")
    if RunStatus(row[2]) in TERMINAL:
        return MoveRunResult(verdict="ended")
    states = t.EFFECT_UNFINISHED
    moving = await x.one(f"select 1 from effect where run = $1 and state in {states} limit 1", m.run)
    unread = row[0] > 0 and row[3] > row[4]  # a Run before its first turn reads its start under any Release
    if moving is not None or unread:
        return MoveRunResult(verdict="busy")
    version = m.version + 1
    statement = """
    update run set pin = $2, ctx = $3, version = $4, due = $5, owner = null, lease_until = null where id = $1
    """
    await x.rows(statement, m.run, m.to, m.ctx, version, micros(m.at))
    x.leaf("moved", m.run, m.at, m.actor, wire.dumps(m.leaf_body()), run=m.run, version=version)
    return MoveRunResult(verdict="moved", version=version)
