"""The overview: open Cases, approvals to decide, counterfoils, unmatched items and Runs in numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import get
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.entity_scope import EntityScope
from counterfoil.web.api.health import system_health
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.approvals import MAX_OVERVIEW_ROWS, open_for
from counterfoil.web.pages.cases import open_cases
from counterfoil.web.pages.foils import exposures, unmatched_sums
from counterfoil.web.pages.rendering import render_page

_COUNTED = {
    "approval": Permission.APPROVALS_ANY_READ,
    "case": Permission.CASES_ANY_READ,
    "run": Permission.RUNS_ANY_READ,
}
"""Tables with figures on the page, and the permission to read their rows."""


@get("/", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def overview(request: WebRequest) -> Response[Any]:
    app, identity = application(request), caller(request)

    def part(permission: Permission, read: Callable[[Application], Awaitable[Any]]) -> Awaitable[Any]:
        """Return what the person sees of a part: of the legal entities for which they have its permission."""
        return read(application(request, permission)) if permission in identity.may else _none()

    counts, health, cases, approvals, foils, unmatched = await asyncio.gather(
        _counts(request),
        system_health(app),
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


async def _counts(request: WebRequest) -> dict[str, int]:
    """Return the counts of rows by table and state, of each table within the entities whose rows the person reads."""
    counts: dict[str, int] = {}
    by_scope: dict[EntityScope, dict[str, int]] = {}
    for table, permission in _COUNTED.items():
        app = application(request, permission)
        if app.scope not in by_scope:
            by_scope[app.scope] = await app.views.counts()
        of_scope = by_scope[app.scope]
        counts |= {name: count for name, count in of_scope.items() if name.startswith(f"{table}.")}
    return counts


async def _none() -> None:
    return None


ROUTES = [overview]
