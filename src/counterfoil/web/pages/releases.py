"""The history of Releases, and the page of one Release with its changes."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.web.api.releases import approvals_of_step, release_shape
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest
from counterfoil.web.pages.rendering import render_page

ROWS = 50


@get("/releases", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def releases_page(request: WebRequest) -> Response[Any]:
    app = application(request)
    cursor = request.query_params.get("cursor", "")
    before = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 18 else None
    steps = await app.store.release_steps(ROWS + 1, before)
    rows = [release_shape(step, present=before is None and step is steps[0]) for step in steps[:ROWS]]
    after = str(rows[-1].number) if len(steps) > ROWS else None
    return await render_page(request, "releases.html", rows=rows, next=after, names=await person_names(app))


@get("/releases/{digest:str}", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def release_page(request: WebRequest, digest: FromPath[str]) -> Response[Any]:
    app = application(request)
    step = await app.store.release_step(digest)
    if step is None:
        raise Problem(404, f"Release {digest[:64]} was never active.")
    return await render_page(
        request,
        "release.html",
        release=release_shape(step, present=await app.store.active_release() == digest),
        differences=await app.changes.planner.differences(step),
        approvals=await approvals_of_step(app, step),
        names=await person_names(app),
    )


async def person_names(app: Application) -> dict[str, str]:
    """Return the names of persons by their ids."""
    return {person.id: person.name for person in await app.store.persons()}


ROUTES = [releases_page, release_page]
