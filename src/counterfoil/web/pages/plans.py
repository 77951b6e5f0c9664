"""The page of a plan: what would change, what the replay of recorded traffic shows, and who must approve."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.change.plan_report import PlanReport, read_report
from counterfoil.change.plan_words import impact_lines
from counterfoil.web.api.plans import plan_approvals
from counterfoil.web.api.queries import DIGEST
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.approvals import approval_rows
from counterfoil.web.pages.catalog import person_names
from counterfoil.web.pages.rendering import render_page


@get("/plans/{digest:str}", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def plan_page(request: WebRequest, digest: FromPath[str]) -> Response[Any]:
    app = application(request)
    stored = await app.store.plan(digest) if DIGEST.fullmatch(digest) else None
    report = None if stored is None else read_report(stored)
    if stored is None or not isinstance(report, PlanReport):
        raise Problem(404, f"There is no plan {digest[:64]} with a page. `counterfoil plan` creates one.")
    approvals = await approval_rows(app, caller(request), await plan_approvals(app, stored))
    return await render_page(
        request, "plan.html", plan=report, state=str(stored.state), impact=list(impact_lines(report.impact)),
        approvals=approvals, names=await person_names(app),
    )  # fmt: skip


ROUTES = [plan_page]
