"""The page on which a person chooses what is mailed, and when."""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.response import Response

from counterfoil.core.notice_preferences import SendMode
from counterfoil.core.zones import zone_names
from counterfoil.web.api.notice_preferences import (
    PreferencesBody,
    preferences_of,
    preferences_shape,
    save_preferences,
)
from counterfoil.web.http.identity import check_same_origin, read_form
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, caller, requires
from counterfoil.web.pages.forms import FormEntry
from counterfoil.web.pages.rendering import redirect, render_page, zone_of

FORM = "preferences"
_TOPICS = {
    "approvals": "Approvals that wait for you",
    "cases": "New Cases, and Cases given to you",
    "deadlines": "Deadlines that come near",
}
_MODES = {SendMode.AT_ONCE: "at once", SendMode.DIGEST: "in the daily digest", SendMode.NEVER: "not by mail"}


@get("/notices/preferences", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def preferences_page(request: WebRequest) -> Response[Any]:
    return await _show(request, FormEntry(FORM, {}))


@post("/notices/preferences", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def save_preferences_form(request: WebRequest) -> Response[Any]:
    identity = caller(request)
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    check_same_origin(request.headers, form, identity)
    try:
        await save_preferences(request, identity.person, _change(form))
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        return await _show(request, FormEntry(FORM, form, problem.detail, problem.field, problem.status))
    return redirect("/notices/preferences?note=preferences")


def _change(form: dict[str, str]) -> PreferencesBody:
    """Return the change that a form asks for. Raises Problem 422."""
    try:
        modes = {topic: SendMode(form.get(topic, "")) for topic in _TOPICS}
    except ValueError:
        raise Problem(422, "Choose one of the three ways for each topic.", field="revision") from None
    try:
        revision = int(form.get("revision", ""))
    except ValueError:
        raise Problem(422, "The form is not complete. Load the page again.", field="revision") from None
    return PreferencesBody(
        approvals=modes["approvals"],
        cases=modes["cases"],
        deadlines=modes["deadlines"],
        quiet_from=form.get("quiet_from", ""),
        quiet_until=form.get("quiet_until", ""),
        digest_at=form.get("digest_at", ""),
        zone=form.get("zone", ""),
        revision=revision,
    )


async def _show(request: WebRequest, entry: FormEntry) -> Response[Any]:
    person = caller(request).person
    chosen = await preferences_of(request, person, str(zone_of(request)))
    return await render_page(
        request,
        "notice_preferences.html",
        entry.status,
        chosen=preferences_shape(request, person, chosen),
        topics=_TOPICS,
        modes=_MODES,
        zones=zone_names(),
        entry=entry,
    )


ROUTES = [preferences_page, save_preferences_form]
