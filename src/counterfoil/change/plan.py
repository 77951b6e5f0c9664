"""plan: work out the effects of a change of the active model, and the approvals it needs.

Compares documents by meaning, gives verdicts on unfinished Runs, replays recorded traffic and reads the calendars.
Changes nothing except the plan itself, which is stored together with its approvals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from counterfoil.change import stages
from counterfoil.change.bootstrap import ACTIVE_AT_START, any_person_may_apply
from counterfoil.change.calendar import calendar_notices
from counterfoil.change.difference import DocumentChange, difference
from counterfoil.change.plan_report import PlanReport, write_json
from counterfoil.change.ports import ChangePorts
from counterfoil.change.required_approvals import ApprovalRules, present_classes, required_approvals
from counterfoil.change.reviewers import reviewers
from counterfoil.change.verdicts import affected_runs
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

REPLAY_DAYS = 30
"""Default number of days of recorded traffic that are replayed."""
MAX_SHOWN_FINDINGS = 200
"""Findings that a refusal lists."""
MAX_SHOWN_CHANGES = 50
"""Changed documents that an approval lists."""
MAX_CACHED_DIFFERENCES = 32
SAVE_ATTEMPTS = 3
"""Attempts to store a plan while others plan the same change."""


class Planner:
    """Plans changes against the active Release."""

    def __init__(self, store: Store, views: Views, ports: ChangePorts) -> None:
        self._store = store
        self._views = views
        self._ports = ports
        self._release_differences: dict[tuple[str, str, date], list[DocumentChange]] = {}

    async def plan(
        self, new: Model, person: str, days: int = REPLAY_DAYS, migrate: bool = False
    ) -> PlanReport:
        """Plan to make a model active. Raises Refused if the model does not pass check, or if another Release
        becomes active meanwhile."""
        await asyncio.to_thread(_check, new)
        base = await self._store.active_release()
        if base is None:
            raise Refused(
                "No Release is active yet: `counterfoil up` publishes the first folder.", ErrorClass.CONFLICT
            )
        old, now = await self._ports.model(base), await self._store.now()
        differences = await asyncio.to_thread(difference, old, new, now.date())
        report = await self._report(old, new, differences, person, days, migrate, now)
        if report.changes:
            await self._save(report, new)
        return report

    async def differences(self, step: ReleaseStep) -> list[DocumentChange]:
        """Return the documents that a Release changed when it became active."""
        if step.base is None:
            return []
        key = (step.base, step.digest, step.at.date())
        if key not in self._release_differences:
            old, new = await self._ports.model(step.base), await self._ports.model(step.digest)
            differences = await asyncio.to_thread(difference, old, new, step.at.date())
            if len(self._release_differences) >= MAX_CACHED_DIFFERENCES:
                del self._release_differences[next(iter(self._release_differences))]
            self._release_differences[key] = plain_differences(differences)
        return self._release_differences[key]

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
        rules = required_approvals(old, new, differences, person, await self._store.persons())
        may_apply = await any_person_may_apply(self._store, old)
        runs = await affected_runs(self._store, self._ports.model, new)
        impact = None
        if differences and days:
            impact = await self._ports.impact(old, new, now - timedelta(days=days), now)
        digest = ""
        if old.digest != new.digest:
            digest = plan_digest(old.digest, new.digest, rules, migrate)
        migratable = sorted({group.workflow for group in runs if group.verdict == "migratable"})
        plan_stages = stages.build(
            base=old.digest,
            revision=new.digest,
            approvals=[approval.name for approval in rules.approvals],
            systems=to_build(old, new),
            migrate=migratable if migrate else (),
            watch=sorted({change.name for change in differences if change.kind == "workflow"}),
        )
        return PlanReport(
            digest=digest,
            base=old.digest,
            revision=new.digest,
            requester=person,
            created_at=now,
            expires=now + timedelta(seconds=seconds(rules.expires)),
            breaking=any(change.breaking for change in differences),
            classes=tuple(present_classes(differences)),
            differences=differences,
            reviewers=reviewers(old, new, differences),
            runs=runs,
            impact=impact,
            calendar=calendar_notices(old, new, differences, now, await time_zones(self._store)),
            policy=rules.policy,
            approvals=list(rules.approvals),
            emergency=rules.emergency,
            stages=plan_stages if digest else [],
            notes=rules.notes if may_apply else (*rules.notes, ACTIVE_AT_START),
            rollback=await self._store.release_step(new.digest) is not None,
        )

    # -------------------------------------------------------------- storing it

    async def _save(self, report: PlanReport, new: Model) -> None:
        for _ in range(SAVE_ATTEMPTS):
            existing = await self._store.plan(report.digest)
            round_ = 1
            if existing is not None:
                round_ = existing.round + await self._needs_new_round(existing, report.created_at)
            approvals = _approvals(report, round_)
            plan = Plan(
                digest=report.digest,
                base=report.base,
                revision=report.revision,
                requester=report.requester,
                approvals=tuple(a.id for a in approvals),
                round=round_,
                body=report.to_json(),
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
                raise Refused(
                    "Another Release became active meanwhile. Run `counterfoil plan` again.",
                    ErrorClass.CONFLICT,
                )
            if verdict != "stale":
                return
        raise Refused(
            "Other persons are planning the same change at this moment. Run `counterfoil plan` again.",
            ErrorClass.CONFLICT,
        )

    async def _needs_new_round(self, plan: Plan, now: datetime) -> bool:
        """Return True if the plan's approvals can no longer lead to a Release."""
        if plan.state is not PlanState.OPEN or plan.expires <= now:
            return True
        approvals = await approvals_of(self._views, plan)
        return any(a.state in (ApprovalState.REJECTED, ApprovalState.EXPIRED) for a in approvals)


def _check(new: Model) -> None:
    errors = [finding for finding in check(new) if finding.severity == "error"]
    if errors:
        lines = "; ".join(f"{f.rule}: {f.message}" for f in errors[:MAX_SHOWN_FINDINGS])
        raise Refused(f"The governance does not pass check: {lines}", ErrorClass.INVALID)


def plan_digest(base: str, revision: str, rules: ApprovalRules, migrate: bool) -> str:
    """Return the id of a plan. Its approvals are bound to this digest."""
    approvals = [[approval.name, sorted(approval.roles), approval.quorum] for approval in rules.approvals]
    return wire.digest(["plan", base, revision, rules.policy, approvals, migrate])


def _approvals(report: PlanReport, round_: int) -> tuple[Approval, ...]:
    changes = [f"{change.kind} {change.name} is {change.change}" for change in report.differences]
    more = len(changes) - MAX_SHOWN_CHANGES
    covers = {
        "base": report.base,
        "revision": report.revision,
        "classes": list(report.classes),
        "breaking": report.breaking,
        "changes": changes[:MAX_SHOWN_CHANGES] + ([f"and {more} more"] if more > 0 else []),
    }
    return tuple(
        Approval(
            id=ids.derive("appr", report.digest, required.name, round_),
            run=report.digest,
            path=required.name,
            policy=report.policy,
            subject=report.digest,
            covers=wire.dumps({**covers, "because": list(required.because)}),
            amount=None,
            roles=required.roles,
            quorum=required.quorum,
            requester=report.requester,
            expires=report.expires,
            created_at=report.created_at,
        )
        for required in report.approvals
    )


async def approvals_of(views: Views, plan: Plan) -> list[Approval]:
    """Return the approvals that belong to an open plan."""
    rows, _ = await views.approvals(ListFilter(run=plan.digest, limit=200))
    return [row for row in rows if row.id in plan.approvals]


async def time_zones(store: Store) -> Mapping[str, str]:
    """Return the time zones of the recorded legal entities, by entity id."""
    heads: Sequence[Any] = await store.heads("legal_entity")
    return {head.key: head.state["zone"] for head in heads if isinstance(head.state.get("zone"), str)}


def plain_differences(differences: list[DocumentChange]) -> list[DocumentChange]:
    """Return the differences with JSON values only, as a stored report has them."""
    return msgspec.json.decode(write_json(differences), type=list[DocumentChange])
