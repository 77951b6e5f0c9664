"""Decisions on several Cases or approvals at once: first one page with the total, then the result of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import post
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.case import Choice
from counterfoil.core.case_choices import LABELS, choice_effect
from counterfoil.core.plural import counted
from counterfoil.web.api import shapes
from counterfoil.web.api.bulk import MAX_BULK_ROWS, BulkResult, decide_all, resolve_all
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.queries import with_votes
from counterfoil.web.api.statements import sums_of
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages import filters
from counterfoil.web.pages.forms import ask_again, is_confirmed, is_taken_back, posted_form
from counterfoil.web.pages.rendering import redirect, render_page, safe_path

MAX_FORM_FIELDS = MAX_BULK_ROWS + 10
"""A field for each row, and those of the decision."""
ROW = "row."
"""Prefix of the fields that select rows: the id follows, and the value of an approval is its subject."""
MAX_NAMED_CALLS = 10
"""Calls to take back that the page names."""
MAX_NAMED_ROWS = 12


@post("/cases/resolutions", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def resolve_cases(request: WebRequest) -> Response[Any]:
    """Resolve the selected Cases by one choice, after a page with their total."""
    identity, form = await posted_form(request, MAX_FORM_FIELDS)
    app, back = application(request), safe_path(form.get("back", "/cases"))
    if is_taken_back(form):
        return redirect(back)
    ids = list(_selected(form))
    if form.get("choice") not in set(Choice):
        raise Problem(422, "Choose how to resolve the Cases.", field="choice")
    choice, note = Choice(form["choice"]), form.get("note", "")
    cases = await _cases(app, ids, choice)
    if not is_confirmed(form):
        if not note.strip():
            raise Problem(422, "Enter a note: later readers of the Cases need the reason.", field="note")
        cases = {id_: case for id_, case in cases.items() if case.state == "open"}
        if not cases:
            raise Problem(409, "These Cases are already resolved. Nothing was changed.", kind="closed")
        total = _total([case.exposure for case in cases.values()])
        facts = {
            "at stake": filters.moneys(total),
            "Cases": _named(list(map(_case_name, cases.values()))),
            "reason": note,
        }
        return await ask_again(
            request,
            form,
            title=f"{LABELS[choice]}: {counted(len(cases), 'Case')}?",
            effect=choice_effect(choice, filters.sums(total), _calls(list(cases.values()))),
            facts=facts,
            yes=f"Yes, {choice} all {len(cases)}" if len(cases) > 1 else f"Yes, {choice}",
        )
    result = await resolve_all(app, ids, identity.person.id, choice, note)
    names = {id_: _case_name(case) for id_, case in cases.items()}
    return await _result_page(request, result, names, "Case", "/cases/{}", back)


@post("/approvals/decisions", opt=requires(Permission.APPROVALS_OWN_DECIDE), include_in_schema=False)
async def decide_approvals(request: WebRequest) -> Response[Any]:
    """Approve or reject the selected approvals, after a page with their total."""
    identity, form = await posted_form(request, MAX_FORM_FIELDS)
    app, back = application(request), safe_path(form.get("back", "/approvals"))
    if is_taken_back(form):
        return redirect(back)
    if form.get("decision") not in ("approve", "reject"):
        raise Problem(422, "Choose approve or reject.", field="decision")
    approve, comment = form["decision"] == "approve", form.get("comment", "")
    subjects = _selected(form)
    rows = [
        row for id_ in list(subjects)[:MAX_BULK_ROWS] if (row := await app.store.approval(id_)) is not None
    ]
    named = {row.id: row for row in await with_votes(app, rows)}
    if not is_confirmed(form):
        if not subjects:
            raise Problem(422, "Select the approvals to decide on.", field="ids")
        if not approve and not comment.strip():
            raise Problem(422, "Enter a comment: it stays with each decision.", field="comment")
        named = {id_: row for id_, row in named.items() if row.state == "open"}
        if not named:
            raise Problem(409, "These approvals are already decided. Nothing was changed.", kind="closed")
        total = _total([[row.amount] for row in named.values() if row.amount is not None])
        number = counted(len(named), "approval")
        verb = "Approve" if approve else "Reject"
        facts = {"for": _named([_approval_name(row) for row in named.values()]), "comment": comment}
        return await ask_again(
            request,
            form,
            title=f"{verb} {number}?",
            effect=f"{verb} {number} over {filters.sums(total)} together." if total else f"{verb} {number}.",
            facts=facts,
            yes=f"Yes, {verb.lower()} {'all ' if len(named) > 1 else ''}{len(named)}",
        )
    result = await decide_all(app, subjects, identity.person.id, approve, comment)
    names = {id_: _approval_name(row) for id_, row in named.items()}
    return await _result_page(request, result, names, "approval", "/approvals/{}", back)


async def _cases(app: Application, ids: Sequence[str], choice: Choice) -> dict[str, shapes.CaseShape]:
    """Return the Cases of a form. Raises Problem 422 for none, and for a choice that one of them does not offer."""
    rows = [row for id_ in ids[:MAX_BULK_ROWS] if (row := await app.store.case(id_)) is not None]
    if not rows:
        raise Problem(422, "Select the Cases to decide on.", field="ids")
    cases = {case.id: case for case in await case_shapes(app, rows)}
    for case in cases.values():
        if case.state == "open" and choice not in case.choices:
            raise Problem(
                422, f"{_case_name(case)} does not offer this choice. Leave it out.", field="choice"
            )
    return cases


def _selected(form: Mapping[str, str]) -> dict[str, str]:
    """Return the selected rows by id."""
    return {name.removeprefix(ROW): value for name, value in form.items() if name.startswith(ROW)}


def _calls(cases: Sequence[shapes.CaseShape]) -> list[str]:
    """Return the calls that an undo takes back, the first of them by name."""
    calls = list(dict.fromkeys(text for case in cases for text in case.confirmed))
    more = len(calls) - MAX_NAMED_CALLS
    return [*calls[:MAX_NAMED_CALLS], *([f"and {more} more"] if more > 0 else [])]


def _total(amounts: Sequence[Sequence[shapes.Amount]]) -> list[shapes.Amount]:
    """Return the sum of each currency."""
    sums: dict[str, int] = {}
    for amount in (amount for each in amounts for amount in each):
        sums[amount.currency] = sums.get(amount.currency, 0) + amount.minor
    return sums_of(sums)


def _case_name(case: shapes.CaseShape) -> str:
    names = [text for text in (case.customer, case.name or case.key or "") if text]
    return ", ".join(dict.fromkeys(names)) or case.summary


def _approval_name(row: shapes.ApprovalShape) -> str:
    money = f"{row.amount.amount} {row.amount.currency}" if row.amount is not None else ""
    return " ".join(text for text in (row.about.get("customer") or filters.words(row.policy), money) if text)


def _named(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED_ROWS
    return ", ".join(names[:MAX_NAMED_ROWS]) + (f" and {more} more" if more > 0 else "")


async def _result_page(
    request: WebRequest, result: BulkResult, names: Mapping[str, str], what: str, address: str, back: str
) -> Response[Any]:
    """Show the result of each decision."""
    rows = [
        {
            "name": names.get(line.id, line.id),
            "verdict": line.verdict,
            "detail": line.detail,
            "href": address.format(line.id),
        }
        for line in result.items
    ]
    rows.sort(key=lambda row: row["verdict"] != "refused")
    title = f"{counted(result.done, what)} decided" + (
        f", {result.refused} refused" if result.refused else ""
    )
    return await render_page(request, "bulk.html", title=title, rows=rows, back=back)


ROUTES = [resolve_cases, decide_approvals]
