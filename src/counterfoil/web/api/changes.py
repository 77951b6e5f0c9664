"""The path of a change over HTTP: plans, Releases and their history, and Runs that are moved."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, QueryParameter

from counterfoil.change.apply import ApplyResult
from counterfoil.change.migrate import RunMove
from counterfoil.change.plan import DAYS, approvals_of, encode
from counterfoil.core.errors import Misconfigured
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.wire import WireRefused, read_json
from counterfoil.model import Model
from counterfoil.web.api import shapes
from counterfoil.web.http.access import application, caller, requires
from counterfoil.web.http.identity import check_same_origin
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import Problem

Asked = Request[Any, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Rows on one page.")]
Digest = Annotated[str | None, QueryParameter(max_length=64)]
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ReleaseShape(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a Release came into force. Of a folder that `up` published, `plan` is null and nobody asked."""

    number: int
    digest: str
    present: bool
    base: str | None
    plan: str | None
    at: datetime
    requester: str
    applied_by: str
    approvers: list[str]
    reason: str
    emergency: bool


class ReleaseList(msgspec.Struct, frozen=True, kw_only=True):
    """The history, newest first. `next` is the cursor of the page after, null at the end."""

    items: list[ReleaseShape]
    next: str | None


class ReleaseDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A Release, the last time that it came into force."""

    release: ReleaseShape
    documents: int
    differences: list[dict[str, Any]]
    """To its base, as in a plan."""
    approvals: list[shapes.ApprovalShape]


class PlanDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as it was made last, and what became of it."""

    digest: str
    state: str
    round: int
    plan: dict[str, Any]
    approvals: list[shapes.ApprovalShape]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. `plan` is null where nothing would change."""

    changes: bool
    plan: dict[str, Any] | None
    approvals: list[shapes.ApprovalShape]


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plan: str
    reason: str = ""
    emergency: bool = False
    """Put a former Release back without waiting for approvals: for roles that the policy names."""


class Migration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str | None = None
    """A Release; by default the one in force."""
    workflow: str | None = None
    run: str | None = None
    apply: bool = False
    """Without it, nothing is moved: the answer says what would be."""


class Migrated(msgspec.Struct, frozen=True):
    items: list[RunMove]


BODIES: dict[tuple[str, str], tuple[str, type[msgspec.Struct] | None, str]] = {
    ("/v1/plans", "post"): (
        "application/json",
        None,
        "A model in canonical form, as `counterfoil plan` makes it of a folder; empty with `to`.",
    ),
    ("/v1/releases", "post"): ("application/json", Application, ""),
    ("/v1/migrations", "post"): ("application/json", Migration, ""),
}


def _browser(request: Asked) -> str:
    """Who asks. A browser's session needs its CSRF token."""
    identity = caller(request)
    if identity.csrf:
        check_same_origin(request.headers, {}, identity)
    return identity.person.id


# ------------------------------------------------------------------ plans


@post(
    "/v1/plans",
    opt=requires(Permission.RELEASES_ANY_PLAN),
    status_code=200,
    tags=["releases"],
    summary="What a change would mean",
)
async def plan(
    request: Asked,
    days: Annotated[int, QueryParameter(ge=0, le=366, description="Traffic to replay.")] = DAYS,
    migrate: Annotated[bool, QueryParameter(description="Move Runs with it.")] = False,
    to: Annotated[str | None, QueryParameter(max_length=64, description="A Release to put back.")] = None,
) -> Planned:
    app, person = application(request), _browser(request)
    model = await _former(app, to) if to else _model(await request.body())
    report = await app.changes.planner.plan(model, person, days, migrate)
    if not report.changes:
        return Planned(changes=False, plan=None, approvals=[])
    kept = await app.store.plan(report.digest)
    return Planned(
        changes=True,
        plan=msgspec.json.decode(encode(report)),
        approvals=[] if kept is None else await _approvals(app, kept),
    )


def _model(body: bytes) -> Model:
    """The posted model. The bytes are untrusted: bounded first, read as documents after."""
    read_json(body)
    try:
        return Model.from_json(body)
    except (Misconfigured, WireRefused) as error:
        raise Problem(422, f"{error}.") from None


async def _former(app: App, digest: str) -> Model:
    if await app.store.release_step(digest) is None:
        raise Problem(404, f"{digest[:64]} was never in force; `counterfoil releases` lists those that were.")
    return await app.changes.models(digest)


async def _approvals(app: App, kept: Plan) -> list[shapes.ApprovalShape]:
    rows = await approvals_of(app.views, kept)
    votes = await app.store.votes([row.id for row in rows])
    return [shapes.approval_shape(row, votes[row.id]) for row in rows]


@get(
    "/v1/plans/{digest:str}", opt=requires(Permission.RELEASES_ANY_READ), tags=["releases"], summary="A plan"
)
async def get_plan(request: Asked, digest: FromPath[str]) -> PlanDetail:
    app = application(request)
    kept = await app.store.plan(digest) if _DIGEST.fullmatch(digest) else None
    if kept is None:
        raise Problem(404, f"There is no plan {digest[:64]}; `counterfoil plan` makes one.")
    return PlanDetail(
        digest=kept.digest,
        state=str(kept.state),
        round=kept.round,
        plan=msgspec.json.decode(kept.body),
        approvals=await _approvals(app, kept),
    )


# ------------------------------------------------------------------ releases


@post(
    "/v1/releases",
    opt=requires(Permission.RELEASES_ANY_APPLY),
    status_code=200,
    tags=["releases"],
    summary="Apply a plan",
)
async def apply(request: Asked) -> ApplyResult:
    app, person = application(request), _browser(request)
    asked = _read(await request.body(), Application)
    return await app.changes.applier.apply(asked.plan, person, asked.reason[:2000], asked.emergency)


@get("/v1/releases", opt=requires(Permission.RELEASES_ANY_READ), tags=["releases"], summary="The history")
async def list_releases(
    request: Asked,
    limit: Limit = 50,
    cursor: Annotated[
        str | None, QueryParameter(max_length=20, description="`next` of the page before.")
    ] = None,
) -> ReleaseList:
    store = application(request).store
    if cursor and not re.fullmatch(r"\d{1,18}", cursor, re.ASCII):
        raise Problem(400, "The cursor is not one that a page gave: take `next` as it is.", kind="cursor")
    steps = await store.release_steps(limit + 1, int(cursor) if cursor else None)
    newest = await store.release_steps(1)
    shown = [release_shape(step, bool(newest) and step.no == newest[0].no) for step in steps[:limit]]
    return ReleaseList(items=shown, next=str(shown[-1].number) if len(steps) > limit else None)


def release_shape(step: ReleaseStep, present: bool) -> ReleaseShape:
    return ReleaseShape(
        number=step.no,
        digest=step.digest,
        present=present,
        base=step.base,
        plan=step.plan,
        at=step.at,
        requester=step.requester,
        applied_by=step.applied_by,
        approvers=list(step.approvers),
        reason=step.reason,
        emergency=step.emergency,
    )


@get(
    "/v1/releases/{digest:str}",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["releases"],
    summary="One Release",
)
async def get_release(request: Asked, digest: FromPath[str]) -> ReleaseDetail:
    app = application(request)
    step = await app.store.release_step(digest) if _DIGEST.fullmatch(digest) else None
    if step is None:
        raise Problem(404, f"{digest[:64]} was never in force; `counterfoil releases` lists those that were.")
    model = await app.changes.models(digest)
    differences = await app.changes.planner.differences(step)
    return ReleaseDetail(
        release=release_shape(step, await app.store.in_force() == digest),
        documents=len(model.documents),
        differences=differences,
        approvals=await approvals_of_step(app, step),
    )


async def approvals_of_step(app: App, step: ReleaseStep) -> list[shapes.ApprovalShape]:
    """The approvals of the plan that brought a Release into force, with their votes."""
    kept = await app.store.plan(step.plan) if step.plan else None
    return [] if kept is None else await _approvals(app, kept)


# ------------------------------------------------------------------ runs


@post(
    "/v1/migrations",
    opt=requires(Permission.RUNS_ANY_MIGRATE),
    status_code=200,
    tags=["releases"],
    summary="Move Runs to a Release, or say what would become of them",
)
async def migrate(request: Asked) -> Migrated:
    app, person = application(request), _browser(request)
    asked = _read(await request.body(), Migration)
    mover = app.changes.mover
    if asked.apply:
        return Migrated(await mover.move(person, asked.to, asked.workflow, asked.run))
    return Migrated(await mover.verdicts(asked.to, asked.workflow, asked.run))


def _read(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(read_json(body), kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}.") from None


ROUTES = [plan, get_plan, apply, list_releases, get_release, migrate]
