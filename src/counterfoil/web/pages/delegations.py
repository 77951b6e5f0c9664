"""The page of a person's absence: who decides approvals meanwhile, and for whom this person decides."""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.web.api.delegations import DelegationRequest, delegate, delegations_of, end
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.case_edits import local_time
from counterfoil.web.pages.forms import FormEntry, answer_form
from counterfoil.web.pages.rendering import redirect, render_page, zone_of

NEW = "new"
"""Id of the form of a new delegation."""


@get("/delegations", opt=requires(Permission.APPROVALS_OWN_DECIDE), include_in_schema=False)
async def delegations_page(request: WebRequest) -> Response[Any]:
    return await _show(request, FormEntry(NEW, {}))


@post("/delegations", opt=requires(Permission.APPROVALS_OWN_DECIDE), include_in_schema=False)
async def make_delegation(request: WebRequest) -> Response[Any]:
    """Let another person decide until a time of the person's zone."""

    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        zone = zone_of(request)
        since = form.get("since", "")
        new = DelegationRequest(
            receiver=form.get("receiver", ""),
            since=local_time(since, zone, "since") if since else None,
            until=local_time(form.get("until", ""), zone),
            up_to=form.get("up_to", ""),
            reason=form.get("reason", ""),
        )
        await delegate(application(request), identity.person.id, new)
        return redirect("/delegations?note=delegated")

    return await _answer(request, NEW, act)


@post(
    "/delegations/{delegation_id:str}/end",
    opt=requires(Permission.APPROVALS_OWN_DECIDE),
    include_in_schema=False,
)
async def end_delegation(request: WebRequest, delegation_id: FromPath[str]) -> Response[Any]:
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        del form
        await end(application(request), delegation_id, identity.person.id)
        return redirect("/delegations?note=delegation-ended")

    return await _answer(request, delegation_id, act)


async def _answer(request: WebRequest, id_: str, act: Any) -> Response[Any]:
    return await answer_form(
        request, id_, Permission.APPROVALS_OWN_DECIDE, act, lambda entry: _show(request, entry)
    )


async def _show(request: WebRequest, entry: FormEntry) -> Response[Any]:
    app, person = application(request), caller(request).person
    rows = await delegations_of(app, person.id)
    others = [p for p in await app.store.persons() if p.active and p.id != person.id]
    return await render_page(
        request,
        "delegations.html",
        entry.status,
        given=[row for row in rows if row.giver == person.id],
        received=[row for row in rows if row.receiver == person.id],
        others=sorted(others, key=lambda p: (p.name, p.id)),
        entry=entry,
    )


ROUTES = [delegations_page, make_delegation, end_delegation]
