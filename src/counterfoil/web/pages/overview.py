"""The overview: open Cases, approvals to decide, counterfoils, unmatched items and Runs in numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import get
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.approvals import MAX_OVERVIEW_ROWS, open_for
from counterfoil.web.pages.cases import open_cases
from counterfoil.web.pages.foils import exposures, unmatched_sums
from counterfoil.web.pages.rendering import render_page


@get("/", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def overview(request: WebRequest) -> Response[Any]:
    app, identity = application(request), caller(request)

    def part(permission: Permission, read: Callable[[Application], Awaitable[Any]]) -> Awaitable[Any]:
        """Return what the person sees of a part: of the legal entities for which they have its permission."""
        return read(application(request, permission)) if permission in identity.may else _none()

    counts, health, cases, approvals, foils, unmatched = await asyncio.gather(
        app.views.counts(),
        app.health(),
        part(Permission.CASES_ANY_READ, lambda visible: open_cases(visible, identity)),
        part(Permission.APPROVALS_ANY_READ, lambda visible: open_for(visible, identity)),
        part(Permission.FOILS_ANY_READ, exposures),
        part(Permission.FOILS_ANY_READ, unmatched_sums),
    )
    mine, others = cases or ([], [])
    now = await app.now()
    return await render_page(
        request,
        "overview.html",
        counts=counts,
        health=health,
        cases=[*mine, *others][:6],
        mine=mine,
        open_cases=counts.get("case.open", 0),
        overdue=sum(case.deadline < now for case in [*mine, *others]),
        approvals=approvals or [],
        max_rows=MAX_OVERVIEW_ROWS,
        foils=foils or {},
        unmatched=unmatched,
    )


async def _none() -> None:
    return None


ROUTES = [overview]
