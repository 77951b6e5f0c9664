"""Releases over HTTP: their history, the apply of a plan, and the migration of Runs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParameter

from counterfoil.application import Application
from counterfoil.change.apply import ApplyResult
from counterfoil.change.difference import DocumentChange
from counterfoil.change.migrate import RunMove
from counterfoil.core.release import ReleaseStep
from counterfoil.web.api import shapes
from counterfoil.web.api.plans import plan_approvals
from counterfoil.web.api.queries import DIGEST, Limit, invalid_cursor
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    WebRequest,
    application,
    company_application,
    decode_json,
    requires,
    trusted_caller,
)

MAX_REASON_CHARS = 2000


class ReleaseShape(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a Release came into force. If `up` published it from a folder, `plan` is null and `requester` is empty."""

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
    """The history, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[ReleaseShape]
    next: str | None


class ReleaseDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A Release, at the latest time that it came into force."""

    release: ReleaseShape
    documents: int
    differences: list[DocumentChange]
    """From its base, as in a plan."""
    approvals: list[shapes.ApprovalShape]


class ApplyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plan: str
    reason: str = ""
    emergency: bool = False
    """Roll back to a former Release without waiting for approvals, for roles that the policy names."""


class MigrationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str | None = None
    """A Release; by default the active one."""
    workflow: str | None = None
    run: str | None = None
    apply: bool = False
    """If false, no Run is moved: the response says what would happen."""


class MigrationResponse(msgspec.Struct, frozen=True):
    items: list[RunMove]


@post(
    "/v1/releases",
    opt=requires(Permission.RELEASES_ANY_APPLY, RequestBody(JSON, ApplyRequest, component="Application")),
    status_code=200,
    tags=["releases"],
    summary="Apply a plan",
)
async def apply(request: WebRequest) -> ApplyResult:
    app, person = company_application(request), trusted_caller(request).person.id
    change = decode_json(await request.body(), ApplyRequest)
    return await app.changes.applier.apply(
        change.plan, person, change.reason[:MAX_REASON_CHARS], change.emergency
    )


@get(
    "/v1/releases",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["releases"],
    summary="List the history of Releases",
)
async def list_releases(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Annotated[
        str | None, QueryParameter(max_length=20, description="`next` of the previous page.")
    ] = None,
) -> ReleaseList:
    store = application(request).store
    if cursor and not re.fullmatch(r"\d{1,18}", cursor, re.ASCII):
        raise invalid_cursor()
    steps = await store.release_steps(limit + 1, int(cursor) if cursor else None)
    newest = await store.release_steps(1)
    items = [release_shape(step, bool(newest) and step.no == newest[0].no) for step in steps[:limit]]
    return ReleaseList(items=items, next=str(items[-1].number) if len(steps) > limit else None)


def release_shape(step: ReleaseStep, present: bool) -> ReleaseShape:
    return shapes.copy_to(ReleaseShape, step, number=step.no, present=present)


@get(
    "/v1/releases/{digest:str}",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["releases"],
    summary="Get one Release",
)
async def get_release(request: WebRequest, digest: FromPath[str]) -> ReleaseDetail:
    app = application(request)
    step = await app.store.release_step(digest) if DIGEST.fullmatch(digest) else None
    if step is None:
        raise Problem(
            404, f"Release {digest[:64]} was never active. `counterfoil releases` lists the Releases."
        )
    model = await app.changes.model(digest)
    return ReleaseDetail(
        release=release_shape(step, await app.store.active_release() == digest),
        documents=len(model.documents),
        differences=await app.changes.planner.differences(step),
        approvals=await approvals_of_step(app, step),
    )


async def approvals_of_step(app: Application, step: ReleaseStep) -> list[shapes.ApprovalShape]:
    """Return the approvals of the plan that activated a Release, with their votes."""
    stored = await app.store.plan(step.plan) if step.plan else None
    return [] if stored is None else await plan_approvals(app, stored)


@post(
    "/v1/migrations",
    opt=requires(Permission.RUNS_ANY_MIGRATE, RequestBody(JSON, MigrationRequest, component="Migration")),
    status_code=200,
    tags=["releases"],
    summary="Move Runs to a Release, or preview the move",
)
async def migrate(request: WebRequest) -> MigrationResponse:
    app, person = company_application(request), trusted_caller(request).person.id
    migration = decode_json(await request.body(), MigrationRequest)
    mover = app.changes.mover
    if migration.apply:
        return MigrationResponse(await mover.move(person, migration.to, migration.workflow, migration.run))
    return MigrationResponse(await mover.verdicts(migration.to, migration.workflow, migration.run))


ROUTES = [apply, list_releases, get_release, migrate]
