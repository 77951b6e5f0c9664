"""Plans, Releases and moved Runs, on all stores: their guards, and the changes of one transaction."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.effect import EffectState
from counterfoil.core.release import Plan, PlanState
from counterfoil.core.run import RunStatus
from counterfoil.store import check
from counterfoil.store.port.people import Decide
from counterfoil.store.port.releases import ApplyPlan, ExpirePlans, MoveRun, PutFirstRelease, PutPlan
from tests.contract.store import samples as s

FIRST = "first"


def plan(
    digest: str = "plan_1", base: str = FIRST, revision: str = "second", round_: int = 1, **more: Any
) -> PutPlan:
    """A plan that sam asked for, waiting for one approval of finance."""
    asked = f"apr_{digest}_{round_}"
    approvals = more.pop("approvals", (approval(asked, digest),))
    return PutPlan(
        plan=Plan(
            digest=digest,
            base=base,
            revision=revision,
            requester="sam",
            approvals=tuple(a.id for a in approvals),
            round=round_,
            created_at=s.T0,
            expires=s.T0 + s.DAY,
            **more,
        ),
        model=revision.encode(),
        approvals=approvals,
        at=s.T0,
        actor="person:sam",
    )


def approval(id_: str, digest: str, **more: Any) -> Approval:
    return s.approval(id_, run=digest, path="finance", subject=digest, amount=None, **more)


def vote(digest: str = "plan_1", who: str = "ann", round_: int = 1, **more: Any) -> Decide:
    return s.vote(f"apr_{digest}_{round_}", who, subject=digest, **more)


def apply(digest: str = "plan_1", who: str = "sam", **more: Any) -> ApplyPlan:
    return ApplyPlan(**{"plan": digest, "person": who, "reason": "as agreed", "at": s.at(60), **more})


async def company(store: Any) -> None:
    for p in (s.person("ann"), s.person("bob"), s.person("sam"), s.person("eve", ("on-call",))):
        await store.apply(s.put_person(p))
    await store.apply(first())


def first(digest: str = FIRST) -> PutFirstRelease:
    return PutFirstRelease(digest=digest, body=digest.encode(), at=s.T0, actor="up")


async def sound(store: Any) -> None:
    assert await check.check(store, s.at(3600)) == []


async def state_of(store: Any, approval: str) -> ApprovalState:
    state: ApprovalState = next(a.state for a in (await store.dump()).approvals if a.id == approval)
    return state


# ------------------------------------------------------------------ the first Release


async def test_a_folder_is_published_only_without_an_active_release(store: Any) -> None:
    assert await store.release() is None
    assert await store.active_release() is None
    assert [await store.apply(first(d)) for d in (FIRST, "other", FIRST)] == [True, False, False]
    assert await store.release() == (FIRST, b"first")
    assert await store.active_release() == FIRST
    assert await store.release("other") is None
    assert [(step.no, step.digest, step.base) for step in await store.release_steps(9)] == [(1, FIRST, None)]
    await sound(store)


# ------------------------------------------------------------------ applying


async def test_an_approved_plan_activates_its_revision(store: Any) -> None:
    await company(store)
    assert await store.apply(plan()) == "new"
    assert (await store.apply(apply())).verdict == "missing"
    assert await store.active_release() == FIRST
    assert (await store.apply(vote())).verdict == "granted"
    applied = await store.apply(apply())
    assert (applied.verdict, applied.no) == ("applied", 2)
    assert await store.release() == ("second", b"second")
    step = await store.release_step("second")
    assert (step.base, step.plan, step.requester, step.applied_by, step.approvers, step.reason) == (
        FIRST, "plan_1", "sam", "sam", ("ann",), "as agreed",
    )  # fmt: skip
    assert (await store.plan("plan_1")).state is PlanState.APPLIED
    assert (await store.apply(apply())).verdict == "closed"
    assert [step.no for step in await store.release_steps(9)] == [2, 1]
    assert [step.no for step in await store.release_steps(1, before=2)] == [1]
    leaves = [(leaf.kind, leaf.actor) for _, leaf in (await store.dump()).leaves]
    assert leaves[-4:] == [
        ("released", "up"), ("planned", "person:sam"), ("decided", "person:ann"), ("released", "person:sam"),
    ]  # fmt: skip
    await sound(store)


async def test_the_requester_of_a_change_cannot_approve_it(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    assert (await store.apply(vote(who="sam"))).verdict == "requester"
    assert (await store.apply(apply())).verdict == "missing"


async def test_a_plan_without_approvals_is_applied_at_once(store: Any) -> None:
    await company(store)
    await store.apply(plan(approvals=()))
    assert (await store.apply(apply())).verdict == "applied"
    await sound(store)


async def test_a_rejected_plan_is_refused(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    await store.apply(vote(approve=False))
    refused = await store.apply(apply())
    assert (refused.verdict, refused.approvals) == ("rejected", ("apr_plan_1_1",))


async def test_an_approval_does_not_outlive_its_time(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    await store.apply(vote())
    assert (await store.apply(apply(at=s.T0 + s.DAY))).verdict == "expired"


async def test_an_inactive_person_approves_nothing(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    await store.apply(vote())
    await store.apply(s.put_person(s.person("ann", active=False)))
    assert (await store.apply(apply())).verdict == "inactive"
    assert await store.active_release() == FIRST


async def test_a_missing_plan_is_not_applied(store: Any) -> None:
    await company(store)
    assert (await store.apply(apply("plan_none"))).verdict == "not_found"


async def test_applying_one_plan_makes_the_others_stale(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    await store.apply(plan("plan_2", revision="third"))
    await store.apply(vote("plan_2"))
    await store.apply(vote())
    assert (await store.apply(apply())).verdict == "applied"
    assert (await store.plan("plan_2")).state is PlanState.STALE
    assert await state_of(store, "apr_plan_2_1") is ApprovalState.STALE
    assert (await store.apply(apply("plan_2"))).verdict == "closed"
    assert await store.apply(plan("plan_3", base=FIRST, revision="fourth")) == "moved"
    await sound(store)


async def test_planning_again_renews_the_body_and_keeps_the_votes(store: Any) -> None:
    await company(store)
    await store.apply(plan(body=b'{"affected":1}'))
    await store.apply(vote())
    assert await store.apply(plan(body=b'{"affected":2}')) == "same"
    assert (await store.plan("plan_1")).body == b'{"affected":2}'
    assert (await store.apply(apply())).verdict == "applied"


async def test_a_rejected_change_is_planned_again(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    await store.apply(vote(approve=False))
    assert await store.apply(plan(round_=3)) == "stale"
    assert await store.apply(plan("plan_9", round_=2)) == "stale"
    assert await store.apply(plan(round_=2)) == "new"
    assert (await store.apply(apply())).verdict == "missing"
    await store.apply(vote(round_=2))
    assert (await store.apply(apply())).verdict == "applied"
    await sound(store)


async def test_plans_past_their_time_expire_with_their_approvals(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    await store.apply(plan("plan_2", revision="third"))
    await store.apply(vote("plan_2"))
    assert await store.apply(ExpirePlans(at=s.at(60))) == 0
    assert await store.apply(ExpirePlans(at=s.T0 + s.DAY)) == 2
    assert (await store.plan("plan_1")).state is PlanState.EXPIRED
    assert await state_of(store, "apr_plan_1_1") is ApprovalState.EXPIRED
    assert await state_of(store, "apr_plan_2_1") is ApprovalState.VOID
    assert (await store.apply(apply())).verdict == "closed"
    assert await store.apply(plan(round_=2)) == "new"
    await sound(store)


async def back(store: Any) -> None:
    """The second Release is in force, and a plan asks for the first again."""
    await company(store)
    await store.apply(plan(approvals=()))
    assert (await store.apply(apply())).verdict == "applied"
    await store.apply(plan("plan_back", base="second", revision=FIRST))


async def test_the_former_release_is_put_back_by_a_plan_like_any_other(store: Any) -> None:
    await back(store)
    assert (await store.apply(apply("plan_back"))).verdict == "missing"
    await store.apply(vote("plan_back"))
    assert (await store.apply(apply("plan_back"))).verdict == "applied"
    assert await store.release() == (FIRST, b"first")
    assert (await store.release_step(FIRST)).no == 3
    # The change that was taken back may be asked for again.
    assert await store.apply(plan(round_=2)) == "new"
    await sound(store)


async def test_an_emergency_restores_a_former_release_and_opens_a_review_case(store: Any) -> None:
    await back(store)
    review = s.case("case_review", reason="review", owner="finance")
    asked = {"emergency": ("on-call",), "review": (review,)}
    assert (await store.apply(apply("plan_back", "sam", **asked))).verdict == "role"
    assert (await store.apply(apply("plan_back", "eve", **asked))).verdict == "applied"
    assert await store.active_release() == FIRST
    step = await store.release_step(FIRST)
    assert (step.emergency, step.applied_by, step.approvers) == (True, "eve", ())
    assert [case.id for case in (await store.dump()).cases] == ["case_review"]
    assert await state_of(store, "apr_plan_back_1") is ApprovalState.VOID
    await sound(store)


async def test_an_emergency_activates_no_new_release(store: Any) -> None:
    await company(store)
    await store.apply(plan())
    assert (await store.apply(apply(who="eve", emergency=("on-call",)))).verdict == "never"
    assert await store.active_release() == FIRST


async def test_nothing_is_admitted_by_an_inactive_release(store: Any) -> None:
    await company(store)
    await store.apply(s.receive(s.receipt()))
    await store.apply(plan(approvals=()))
    assert (await store.apply(apply())).verdict == "applied"
    outdated = await store.apply(s.admit(events=(s.event(),), release=FIRST))
    assert (outdated.applied, outdated.outdated) == (False, True)
    assert len(await store.todos(9)) == 1
    admitted = await store.apply(s.admit(events=(s.event(),), release="second"))
    assert (admitted.applied, admitted.outdated) == (True, False)
    await sound(store)


async def test_of_two_plans_applied_at_once_one_becomes_active(two: tuple[Any, Any]) -> None:
    one, other = two
    await company(one)
    await one.apply(plan(approvals=()))
    await one.apply(plan("plan_2", revision="third", approvals=()))
    answers = await asyncio.gather(one.apply(apply()), other.apply(apply("plan_2")))
    assert sorted(a.verdict for a in answers) in (["applied", "closed"], ["applied", "moved"])
    assert len(await one.release_steps(9)) == 2
    await sound(one)


# ------------------------------------------------------------------ moving Runs


def move(run: str = s.RUN, version: int = 1, **more: Any) -> MoveRun:
    fields = {"pin": "release", "to": "second", "ctx": b'{"moved":1}', "at": s.at(5), "actor": "person:sam"}
    return MoveRun(run=run, version=version, **{**fields, **more})


async def test_a_run_is_pinned_to_another_release_and_due_at_once(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, due=s.T0 + s.DAY))
    moved = await store.apply(move())
    assert (moved.verdict, moved.version) == ("moved", 2)
    held = await s.run_of(store)
    assert (held.pin, held.ctx, held.version, held.due) == ("second", b'{"moved":1}', 2, s.at(5))
    # A turn that was decided before it was moved is refused.
    assert (await store.apply(s.turn(run, version=1))).verdict == "stale"
    assert (await store.apply(s.turn(run, version=2, due=s.T0 + s.DAY))).verdict == "done"
    await sound(store)


@pytest.mark.parametrize("more", [{"version": 0}, {"pin": "other"}, {"run": "run_none"}])
async def test_a_run_that_has_changed_is_not_moved(store: Any, more: dict[str, Any]) -> None:
    await store.apply(s.turn(await s.born(store), due=s.T0 + s.DAY))
    assert (await store.apply(move(**more))).verdict == "changed"
    assert (await s.run_of(store)).pin == "release"


async def test_a_run_with_a_call_in_flight_is_not_moved(store: Any) -> None:
    e = s.effect()
    await store.apply(s.turn(await s.born(store), plan=(e,), due=s.T0 + s.DAY))
    assert (await store.apply(move())).verdict == "busy"
    await store.apply(s.intent(e))
    assert (await store.apply(move())).verdict == "busy"
    await store.apply(s.conclude(e, EffectState.UNKNOWN, look_at=s.at(9)))
    assert (await store.apply(move())).verdict == "busy"
    await store.apply(s.conclude(e))
    # Its outcome is not read yet.
    assert (await store.apply(move())).verdict == "busy"
    await store.apply(s.turn(version=1, consumed=3, due=s.T0 + s.DAY))
    assert (await store.apply(move(version=2))).verdict == "moved"
    await sound(store)


async def test_an_ended_run_is_not_moved(store: Any) -> None:
    await store.apply(s.turn(await s.born(store), status=RunStatus.DONE))
    assert (await store.apply(move())).verdict == "ended"


async def test_active_runs_are_counted_by_pin(store: Any) -> None:
    ended = await s.born(store, "k1")
    await store.apply(s.turn(ended, status=RunStatus.DONE))
    runs = sorted([await s.born(store, "k2"), await s.born(store, "k3")])
    await store.apply(s.turn(runs[0], due=s.T0 + s.DAY))
    await store.apply(move(runs[0]))
    other = await s.born(store, "k4", workflow="w2")
    assert [(p.workflow, p.pin, p.count) for p in await store.pinned_runs()] == [
        ("w1", "release", 1), ("w1", "second", 1), ("w2", "release", 1),
    ]  # fmt: skip
    assert [run.id for run in await store.active_runs("w1", "", 9)] == runs
    assert [run.id for run in await store.active_runs("w1", runs[0], 9)] == runs[1:]
    assert [run.id for run in await store.active_runs("w2", "", 1)] == [other]
