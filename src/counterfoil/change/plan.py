"""plan: what a change of the model in force means, for whom, and what it waits for.

Differences by meaning, Runs on their way, recorded traffic, calendars and approvals are put together into one report.
Nothing is changed but the plan itself, which is kept with the approvals that it asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from counterfoil.change import stages
from counterfoil.change.calendar import CalendarNotice, told
from counterfoil.change.difference import DocumentChange, difference
from counterfoil.change.required_approvals import ApprovalRules, RequiredApproval, asked, present_classes
from counterfoil.change.reviewers import Review, reviewers
from counterfoil.change.verdicts import AffectedRuns, Models, affected
from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.release import Plan, PlanState, ReleaseStep
from counterfoil.model import Model
from counterfoil.model.checks import check
from counterfoil.model.connector_changes import to_build
from counterfoil.model.kinds import seconds
from counterfoil.store.port.releases import PutPlan
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import ListFilter, Views

DAYS = 30
"""Of how many days the recorded traffic is replayed."""
SHOWN = 200
"""Findings that a refusal names."""
Impacts: TypeAlias = Callable[[Model, Model, datetime, datetime], Awaitable[dict[str, Any] | None]]
"""Old and new model, from when to when: what a replay of the traffic gives. None: there is none to replay."""


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as people and programs read it."""

    digest: str
    """Of base, revision, and what is asked for it: what approvals are bound to. Empty where nothing changes."""
    base: str
    revision: str
    requester: str
    created_at: datetime
    expires: datetime
    breaking: bool
    classes: tuple[str, ...]
    differences: list[DocumentChange]
    reviewers: list[Review]
    runs: list[AffectedRuns]
    impact: dict[str, Any] | None
    calendar: list[CalendarNotice]
    policy: str
    approvals: list[RequiredApproval]
    emergency: tuple[str, ...]
    stages: list[stages.Stage]
    notes: tuple[str, ...] = ()
    rollback: bool = False
    """The revision was in force before."""

    @property
    def changes(self) -> bool:
        return self.base != self.revision


class Planner:
    """Makes plans against the Release in force."""

    def __init__(self, store: Store, views: Views, models: Models, impacts: Impacts) -> None:
        self._store = store
        self._views = views
        self._models = models
        self._impacts = impacts

    async def plan(self, new: Model, person: str, days: int = DAYS, migrate: bool = False) -> PlanReport:
        """The plan of putting a model in force. Raises Refused for one that does not pass check, or when
        another Release comes into force meanwhile."""
        await asyncio.to_thread(_check, new)
        base = await self._store.in_force()
        if base is None:
            raise Refused(
                "nothing is in force: `counterfoil up` publishes the first folder", ErrorClass.CONFLICT
            )
        old, now = await self._models(base), await self._store.now()
        differences = await asyncio.to_thread(difference, old, new, now.date())
        report = await self._report(old, new, differences, person, days, migrate, now)
        if report.changes:
            await self._keep(report, new)
        return report

    async def differences(self, step: ReleaseStep) -> list[dict[str, Any]]:
        """What a Release changed when it came into force."""
        if step.base is None:
            return []
        old, new = await self._models(step.base), await self._models(step.digest)
        found = await asyncio.to_thread(difference, old, new, step.at.date())
        shown: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(found, enc_hook=_plain))
        return shown

    async def _report(
        self,
        old: Model,
        new: Model,
        differences: list[DocumentChange],
        person: str,
        days: int,
        migrate: bool,
        now: datetime,
    ) -> PlanReport:
        asking = asked(old, new, differences, person, await self._store.persons())
        runs = await affected(self._store, self._models, new)
        impact = None
        if differences and days:
            impact = await self._impacts(old, new, now - timedelta(days=days), now)
        digest = ""
        if old.digest != new.digest:
            digest = digest_of(old.digest, new.digest, asking, migrate)
        moving = sorted({one.workflow for one in runs if one.verdict == "migratable"})
        changed = sorted({one.name for one in differences if one.kind == "workflow"})
        ordered: list[stages.Stage] = [stages.CheckBase(base=old.digest), stages.CheckCalendar()]
        if asking.approvals:
            names = tuple(one.name for one in asking.approvals)
            ordered.append(stages.RequireApprovals(approvals=names))
        built = to_build(old.systems, new.systems)
        if built:
            ordered.append(stages.TryConnectors(systems=built))
        ordered += [stages.MakeRelease(revision=new.digest), stages.TakeUp()]
        if migrate and moving:
            ordered.append(stages.MoveRuns(workflows=tuple(moving)))
        ordered.append(stages.Watch(workflows=tuple(changed)))
        return PlanReport(
            digest=digest,
            base=old.digest,
            revision=new.digest,
            requester=person,
            created_at=now,
            expires=now + timedelta(seconds=seconds(asking.expires)),
            breaking=any(one.breaking for one in differences),
            classes=tuple(present_classes(differences)),
            differences=differences,
            reviewers=reviewers(old, new, differences),
            runs=runs,
            impact=impact,
            calendar=told(old, new, differences, now, await zones(self._store)),
            policy=asking.policy,
            approvals=list(asking.approvals),
            emergency=asking.emergency,
            stages=ordered if digest else [],
            notes=asking.notes,
            rollback=await self._store.release_step(new.digest) is not None,
        )

    # -------------------------------------------------------------- keeping it

    async def _keep(self, report: PlanReport, new: Model) -> None:
        for _ in range(3):
            held = await self._store.plan(report.digest)
            round_ = 1 if held is None else held.round + (await self._over(held, report.created_at))
            approvals = _approvals(report, round_)
            plan = Plan(
                digest=report.digest,
                base=report.base,
                revision=report.revision,
                requester=report.requester,
                approvals=tuple(a.id for a in approvals),
                round=round_,
                body=encode(report),
                created_at=report.created_at,
                expires=report.expires,
            )
            put = PutPlan(
                plan=plan,
                model=new.to_json(),
                approvals=approvals,
                at=report.created_at,
                actor=f"person:{report.requester}",
            )
            verdict = await self._store.apply(put)
            if verdict == "moved":
                raise Refused("another Release came into force meanwhile: plan again", ErrorClass.CONFLICT)
            if verdict != "stale":
                return
        raise Refused("others plan the same change at this moment: plan again", ErrorClass.CONFLICT)

    async def _over(self, held: Plan, now: datetime) -> bool:
        """Whether what was asked for before can lead nowhere any more."""
        if held.state is not PlanState.OPEN or held.expires <= now:
            return True
        given = await approvals_of(self._views, held)
        return any(a.state in (ApprovalState.REJECTED, ApprovalState.EXPIRED) for a in given)


def _check(new: Model) -> None:
    wrong = [finding for finding in check(new) if finding.severity == "error"]
    if wrong:
        lines = "; ".join(f"{f.rule}: {f.message}" for f in wrong[:SHOWN])
        raise Refused(f"the governance does not pass check: {lines}", ErrorClass.INVALID)


def digest_of(base: str, revision: str, asking: ApprovalRules, migrate: bool) -> str:
    """What a plan is named by, and what approvals of it are bound to."""
    who = [[one.name, sorted(one.roles), one.quorum] for one in asking.approvals]
    return wire.digest(["plan", base, revision, asking.policy, who, migrate])


def _approvals(report: PlanReport, round_: int) -> tuple[Approval, ...]:
    told_ = [f"{one.kind} {one.name} is {one.change}" for one in report.differences]
    covers = {
        "base": report.base,
        "revision": report.revision,
        "classes": list(report.classes),
        "breaking": report.breaking,
        "changes": told_[:50] + ([f"and {len(told_) - 50} more"] if len(told_) > 50 else []),
    }
    return tuple(
        Approval(
            id=ids.derive("appr", report.digest, one.name, round_),
            run=report.digest,
            path=one.name,
            policy=report.policy,
            subject=report.digest,
            covers=wire.dumps({**covers, "because": list(one.because)}),
            amount=None,
            roles=one.roles,
            quorum=one.quorum,
            requester=report.requester,
            expires=report.expires,
            created_at=report.created_at,
        )
        for one in report.approvals
    )


async def approvals_of(views: Views, plan: Plan) -> list[Approval]:
    """The approvals that an open plan waits for."""
    rows, _ = await views.approvals(ListFilter(run=plan.digest, limit=200))
    return [row for row in rows if row.id in plan.approvals]


async def zones(store: Store) -> Mapping[str, str]:
    """Time zones of the legal entities that are known."""
    heads: Sequence[Any] = await store.heads("legal_entity")
    return {head.key: head.state["zone"] for head in heads if isinstance(head.state.get("zone"), str)}


# ------------------------------------------------------------------ as JSON


def encode(report: PlanReport) -> bytes:
    return msgspec.json.encode(report, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """Values of documents that JSON has no word for, as their text."""
    return str(value)
