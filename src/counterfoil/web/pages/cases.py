"""The page of Cases: those of the person's roles first, and their resolution."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.case_choices import LABELS, asks_again, choice_effect
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.case_edits import comments_of
from counterfoil.web.api.case_lists import AssigneeText, Snoozed, SnoozedText, with_work
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.decisions import MAX_NOTE_CHARS, resolution_result
from counterfoil.web.api.queries import CaseSort, Cursor, Text, list_filter, of_entity, sorted_by
from counterfoil.web.api.statements import statement_of
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages import filters
from counterfoil.web.pages.case_causes import filter_choices, show_causes
from counterfoil.web.pages.forms import FormEntry, answer_form, ask_again, is_confirmed, is_taken_back
from counterfoil.web.pages.rendering import redirect, render_page, safe_path, search_texts

GroupText = Annotated[str | None, QueryParameter(name="group", enum=["cause"])]
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
    now = await app.now()
    mine: dict[str, shapes.CaseShape] = {}
    for role in identity.person.roles:
        rows, _ = await app.views.cases(ListFilter(state="open", owner=role, awake_at=now, limit=200))
        mine.update({case.id: case for case in await case_shapes(app, rows)})
    rows, _ = await app.views.cases(ListFilter(state="open", awake_at=now, limit=200))
    others = await case_shapes(app, [row for row in rows if row.case.id not in mine])
    return (
        sorted(mine.values(), key=lambda c: (c.deadline, c.id)),
        sorted(others, key=lambda c: (c.deadline, c.id)),
    )


@get("/cases", opt=requires(Permission.CASES_ANY_READ), include_in_schema=False)
async def cases_page(
    request: WebRequest,
    cursor: Cursor = None,
    in_state: ListedState = "open",
    owner: Text = None,
    entity: Text = None,
    reason: Text = None,
    cause: Text = None,
    in_assignee: AssigneeText = None,
    tag: Text = None,
    in_snoozed: SnoozedText = Snoozed.NO,
    group: GroupText = None,
    sort: CaseSort = None,
) -> Response[Any]:
    """Show the person's own Cases by deadline, then the others, newest first; or all of them grouped by cause."""
    app, identity, state = application(request), caller(request), in_state or "all"
    search = search_texts(
        owner=owner, entity=entity, reason=reason, cause=cause, assignee=in_assignee, tag=tag,
        snoozed="" if in_snoozed == Snoozed.NO else in_snoozed,
    )  # fmt: skip
    page = list_filter(
        50, cursor, state="" if state == "all" else state, owner=owner, reason=reason, cause=cause, tag=tag
    )
    assignee = identity.person.id if in_assignee == "me" else in_assignee
    page = with_work(page, assignee, in_snoozed, await app.now())
    page = sorted_by(of_entity(app, page, entity), sort)
    if group:
        return await show_causes(request, page, search, state)
    cases, after = await app.views.cases(page)
    rows = {case.id: case_row(identity, case) for case in await case_shapes(app, cases)}
    if page.cursor is None and state == "open" and not any((*search.values(), sort)):
        mine, _ = await open_cases(app, identity)
        rows = {case.id: case_row(identity, case) for case in mine} | rows
    listed = search | {"state": "" if state == "all" else state, "assignee": assignee or ""}
    ordered = list(rows.values()) if sort else sorted(rows.values(), key=lambda row: not row["mine"])
    return await render_page(
        request, "cases.html", rows=ordered, next=after, state=state, search=search, group="", sort=sort or "",
        filters=listed, statement=await statement_of(request, app, "case_", page, listed),
        **await filter_choices(app),
    )  # fmt: skip


@get("/cases/{case_id:str}", opt=requires(Permission.CASES_ANY_READ), include_in_schema=False)
async def case_page(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    return await show_case(request, FormEntry(case_id, {}))


@post("/cases/{case_id:str}", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def resolve_case(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    """Resolve a Case. A choice that may give money away is shown with its effect first, and sent a second time."""

    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        if is_taken_back(form):
            return await show_case(request, FormEntry(case_id, form))
        if form.get("choice") not in set(Choice):
            raise Problem(422, "Choose how to resolve the Case.", field="choice")
        choice, note = Choice(form["choice"]), form.get("note", "").strip()[:MAX_NOTE_CHARS]
        if not note:
            raise Problem(422, "Enter a note: later readers of the Case need the reason.", field="note")
        app = application(request)
        row = await app.store.case(case_id)
        if row is not None and not is_confirmed(form) and _asks_again(row.case, choice):
            return await _ask_again(request, form, (await case_shapes(app, [row]))[0], choice)
        verdict = await app.resolve_case(case_id, identity.person.id, choice, note)
        note_key = resolution_result(verdict, case_id, identity.person.id)
        return redirect(f"{safe_path(form.get('back', '/cases'))}?note={note_key}")

    return await answer_form(
        request, case_id, Permission.CASES_ANY_READ, act, lambda entry: show_case(request, entry)
    )


async def show_case(request: WebRequest, entry: FormEntry) -> Response[Any]:
    """Show one Case, with a form that was refused or taken back."""
    app = application(request)
    row = await app.store.case(entry.id)
    if row is None:
        raise Problem(404, f"There is no Case {entry.id[:100]}.")
    back = safe_path(entry.values.get("back", "/cases"))
    identity = caller(request)
    named = case_row(identity, (await case_shapes(app, [row]))[0])
    is_open = row.case.state is CaseState.OPEN
    comments = await comments_of(app, row.case.id, identity.person.id)
    return await render_page(
        request, "case.html", entry.status, row=named, back=back, entry=entry, comments=comments,
        persons=await app.assignable(row) if is_open else [],
    )  # fmt: skip


def _asks_again(case: Case, choice: Choice) -> bool:
    return case.state is CaseState.OPEN and choice in case.choices and asks_again(choice, bool(case.exposure))


async def _ask_again(
    request: WebRequest, form: dict[str, str], case: shapes.CaseShape, choice: Choice
) -> Response[Any]:
    facts = {
        "at stake": filters.moneys(case.exposure),
        "case": case.summary,
        "reason": form["note"],
    }
    return await ask_again(
        request, form, title=f"{LABELS[choice]}?", effect=choice_effect(choice, filters.sums(case.exposure), case.confirmed),
        facts=facts, yes=f"Yes, {choice}",
    )  # fmt: skip


ROUTES = [cases_page, case_page, resolve_case]
