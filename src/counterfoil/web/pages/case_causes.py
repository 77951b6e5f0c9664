"""Cases grouped by cause: how many, the money of each currency, and the Cases of each group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar.response import Response
from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.case_reasons import CATALOGUE
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api.case_lists import cause_list
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.shapes import CaseShape
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, caller
from counterfoil.web.pages.rendering import render_page

MAX_CAUSES = 20
"""Groups on the page; the filters lead to the others."""
MAX_GROUP_ROWS = 20
"""Rows of a group on the page with several groups."""
MAX_CAUSE_ROWS = 200
"""Rows on the page of one cause."""


async def show_causes(
    request: WebRequest, page: ListFilter, search: dict[str, str], state: str
) -> Response[Any]:
    """Show the Cases that a filter selects, grouped by cause."""
    app = application(request)
    now = await app.now()
    causes = await app.views.causes(page)
    listed = cause_list(causes, now)
    limit = MAX_CAUSE_ROWS if page.cause is not None else MAX_GROUP_ROWS
    groups = []
    for shape in listed.items[:MAX_CAUSES]:
        of_group = replace(page, cause=shape.cause, reason=shape.reason, limit=limit)
        rows, _ = await app.views.cases(of_group)
        cases = await case_shapes(app, rows)
        groups.append({"cause": shape, "cases": cases, "choices": _common_choices(caller(request), cases)})
    return await render_page(
        request, "causes.html", groups=groups, causes=listed, state=state, search=search, group="cause",
        **await filter_choices(app),
    )  # fmt: skip


def _common_choices(identity: Identity, cases: Sequence[CaseShape]) -> list[str]:
    """Return the choices that every open Case offers; none for a person who may not decide all of them."""
    waiting = [case for case in cases if case.state == "open"]
    if not waiting or Permission.CASES_OWN_RESOLVE not in identity.may:
        return []
    owners = {case.owner for case in waiting}
    if owners - set(identity.person.roles) and Permission.CASES_ANY_RESOLVE not in identity.may:
        return []
    return [choice for choice in waiting[0].choices if all(choice in case.choices for case in waiting)]


async def filter_choices(app: Application) -> dict[str, Any]:
    """Return what the filters of Cases offer: roles that own, reasons, and persons."""
    persons = [person for person in await app.store.persons() if person.active]
    return {
        "roles": sorted(app.model.roles),
        "reasons": sorted(CATALOGUE),
        "people": sorted(persons, key=lambda person: (person.name, person.id)),
    }
