"""Forms beside a Case that decide nothing: assignee, comments, tags and snooze."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from litestar import post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.core.case_edits import AssignCase, CaseEdit
from counterfoil.web.api.case_edits import comment_edit, edit_case, snooze_edit, tags_edit
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages.cases import show_case
from counterfoil.web.pages.forms import answer_form
from counterfoil.web.pages.rendering import redirect, zone_of

Fields = dict[str, str]


@post("/cases/{case_id:str}/assignment", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def assign_case(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    """Give a Case to a person, or to no one."""

    def edit(form: Fields) -> CaseEdit:
        return AssignCase(form.get("assignee", ""), form.get("former", ""))

    return await _answer(request, case_id, edit, "assigned")


@post("/cases/{case_id:str}/comments", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def comment_on_case(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    return await _answer(request, case_id, lambda form: comment_edit(form.get("text", "")), "commented")


@post("/cases/{case_id:str}/tags", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def tag_case(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    """Add tags that are separated by commas, or remove one."""

    def edit(form: Fields) -> CaseEdit:
        names = [text for text in form.get("tags", "").split(",") if text.strip()]
        removed = [text for text in [form.get("remove", "")] if text]
        if not names and not removed:
            raise Problem(422, "Enter a tag, such as month-end.", field="tags")
        return tags_edit([] if removed else names, removed)

    return await _answer(request, case_id, edit, "tagged")


@post("/cases/{case_id:str}/snooze", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def snooze_case(request: WebRequest, case_id: FromPath[str]) -> Response[Any]:
    """Snooze a Case until a time of the person's zone, or end its snooze."""

    def edit(form: Fields) -> CaseEdit:
        if form.get("end"):
            return snooze_edit(None, "")
        return snooze_edit(local_time(form.get("until", ""), zone_of(request)), form.get("reason", ""))

    return await _answer(request, case_id, edit, "snoozed")


def local_time(text: str, zone: tzinfo, field: str = "until") -> datetime:
    """Return the time of a `datetime-local` field in a zone. Raises Problem 422."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(422, "Enter a date and time, such as 2026-12-01 18:00.", field=field) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


async def _answer(
    request: WebRequest, case_id: str, edit_of: Callable[[Fields], CaseEdit], note: str
) -> Response[Any]:
    """Record the edit of a form and go back to the Case, or show the Case with the refusal."""

    async def act(identity: Identity, form: Fields) -> Response[Any]:
        await edit_case(application(request), case_id, identity.person.id, edit_of(form))
        return redirect(f"/cases/{case_id}?note={note}")

    return await answer_form(
        request, case_id, Permission.CASES_ANY_READ, act, lambda entry: show_case(request, entry)
    )


ROUTES = [assign_case, comment_on_case, tag_case, snooze_case]
