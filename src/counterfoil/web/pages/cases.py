"""The page of Cases: the exceptions of the person's roles first, and their resolution."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.case import CaseState, Choice
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.decisions import MAX_NOTE_CHARS, resolution_result
from counterfoil.web.api.queries import Cursor, list_filter
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages import filters
from counterfoil.web.pages.rendering import posted_form, redirect, render_page, safe_path

ListedState = Annotated[str | None, QueryParameter(name="state", enum=[*CaseState, "all"])]


def case_row(identity: Identity, case: shapes.CaseShape) -> dict[str, Any]:
    """Return a Case with the reason why this person may not resolve it."""
    owner = case.owner in identity.person.roles
    reason = ""
    if case.state != "open":
        reason = f"Resolved by {case.resolved_by}."
    elif not owner and Permission.CASES_ANY_RESOLVE not in identity.may:
        reason = f"Owned by {filters.words(case.owner)}."
    elif Permission.CASES_OWN_RESOLVE not in identity.may:
        reason = f"Your roles do not include the permission {Permission.CASES_OWN_RESOLVE}."
    return {"case": case, "reason": reason, "mine": owner and case.state == "open"}


async def open_cases(
    app: Application, identity: Identity
) -> tuple[list[shapes.CaseShape], list[shapes.CaseShape]]:
    """Return the open Cases that the person's roles own, and the others, each by deadline."""
    mine: dict[str, shapes.CaseShape] = {}
    for role in identity.person.roles:
        rows, _ = await app.views.cases(ListFilter(state="open", owner=role, limit=200))
        mine.update({row.case.id: shapes.case_shape(row) for row in rows})
    rows, _ = await app.views.cases(ListFilter(state="open", limit=200))
    others = [shapes.case_shape(row) for row in rows if row.case.id not in mine]
    return (
        sorted(mine.values(), key=lambda c: (c.deadline, c.id)),
        sorted(others, key=lambda c: (c.deadline, c.id)),
    )


@get("/cases", opt=requires(Permission.CASES_ANY_READ), include_in_schema=False)
async def cases_page(
    request: WebRequest, cursor: Cursor = None, in_state: ListedState = "open"
) -> Response[Any]:
    """Show the person's own Cases by deadline, then the others, newest first."""
    app, identity, state = application(request), caller(request), in_state or "all"
    page = list_filter(50, cursor, state="" if state == "all" else state)
    cases, after = await app.views.cases(page)
    rows = {case.case.id: case_row(identity, shapes.case_shape(case)) for case in cases}
    if page.cursor is None and state == "open":
        mine, _ = await open_cases(app, identity)
        rows = {case.id: case_row(identity, case) for case in mine} | rows
    ordered = sorted(rows.values(), key=lambda row: not row["mine"])
    return await render_page(request, "cases.html", rows=ordered, next=after, state=state)


@post("/cases/{case_id:str}", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def resolve_case(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    identity, form = await posted_form(request)
    if form.get("choice") not in set(Choice):
        raise Problem(422, "Choose how to resolve the Case.")
    note = form.get("note", "").strip()[:MAX_NOTE_CHARS]
    if not note:
        raise Problem(422, "Enter a note: later readers of the Case need the reason.")
    verdict = await application(request).resolve_case(
        case_id, identity.person.id, Choice(form["choice"]), note
    )
    note_key = resolution_result(verdict, case_id, identity.person.id)
    return redirect(f"{safe_path(form.get('back', '/cases'))}?note={note_key}")


ROUTES = [cases_page, resolve_case]
