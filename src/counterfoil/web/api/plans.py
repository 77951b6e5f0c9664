"""Plans over HTTP: the impact of a proposed model, and the approvals that it needs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParameter

from counterfoil.application import Application
from counterfoil.change.plan import REPLAY_DAYS, approvals_of
from counterfoil.change.plan_report import PlanReport, StartupReport, read_report
from counterfoil.core.errors import Misconfigured
from counterfoil.core.release import Plan
from counterfoil.core.wire import WireRefused, read_json
from counterfoil.model import Model
from counterfoil.web.api import shapes
from counterfoil.web.api.queries import DIGEST, with_votes
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    WebRequest,
    application,
    company_application,
    requires,
    trusted_caller,
)


class PlanDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A stored plan in its latest form, with its state."""

    digest: str
    state: str
    round: int
    plan: PlanReport
    approvals: list[shapes.ApprovalShape]


class StartupPlanDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that a starting process applied by itself."""

    digest: str
    state: str
    round: int
    plan: StartupReport
    approvals: list[shapes.ApprovalShape]


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. `plan` is null if nothing would change."""

    changes: bool
    plan: PlanReport | None
    approvals: list[shapes.ApprovalShape]


@post(
    "/v1/plans",
    opt=requires(
        Permission.RELEASES_ANY_PLAN,
        RequestBody(
            JSON,
            None,
            "A model in canonical form, as `counterfoil plan` derives it from a folder; empty with `to`.",
        ),
    ),
    status_code=200,
    tags=["releases"],
    summary="Plan a change and return its impact",
)
async def plan(
    request: WebRequest,
    days: Annotated[
        int, QueryParameter(ge=0, le=366, description="Days of recorded traffic to replay.")
    ] = REPLAY_DAYS,
    migrate: Annotated[
        bool, QueryParameter(description="Move the Runs that can be moved to the new Release.")
    ] = False,
    to: Annotated[
        str | None, QueryParameter(max_length=64, description="A former Release to roll back to.")
    ] = None,
) -> PlanAnswer:
    app, person = company_application(request), trusted_caller(request).person.id
    model = await _former_model(app, to) if to else _posted_model(await request.body())
    report = await app.changes.planner.plan(model, person, days, migrate)
    if not report.changes:
        return PlanAnswer(changes=False, plan=None, approvals=[])
    stored = await app.store.plan(report.digest)
    return PlanAnswer(
        changes=True,
        plan=PlanReport.from_json(report.to_json()),
        approvals=[] if stored is None else await plan_approvals(app, stored),
    )


def _posted_model(body: bytes) -> Model:
    """Read the posted model. The bytes are untrusted: `read_json` bounds them before they are read as documents."""
    read_json(body)
    try:
        return Model.from_json(body)
    except (Misconfigured, WireRefused) as error:
        raise Problem(422, f"{error}.") from None


async def _former_model(app: Application, digest: str) -> Model:
    if await app.store.release_step(digest) is None:
        raise Problem(
            404, f"Release {digest[:64]} was never active. `counterfoil releases` lists the Releases."
        )
    return await app.changes.model(digest)


async def plan_approvals(app: Application, stored: Plan) -> list[shapes.ApprovalShape]:
    """Return the approvals of a plan with their votes."""
    return await with_votes(app, await approvals_of(app.views, stored))


@get(
    "/v1/plans/{digest:str}",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["releases"],
    summary="Get a plan",
)
async def get_plan(request: WebRequest, digest: FromPath[str]) -> PlanDetail | StartupPlanDetail:
    app = application(request)
    stored = await app.store.plan(digest) if DIGEST.fullmatch(digest) else None
    if stored is None:
        raise Problem(404, f"There is no plan {digest[:64]}. `counterfoil plan` creates one.")
    report, approvals = read_report(stored), await plan_approvals(app, stored)
    digest, state, round_ = stored.digest, str(stored.state), stored.round
    if isinstance(report, StartupReport):
        return StartupPlanDetail(digest=digest, state=state, round=round_, plan=report, approvals=approvals)
    return PlanDetail(digest=digest, state=state, round=round_, plan=report, approvals=approvals)


ROUTES = [plan, get_plan]
