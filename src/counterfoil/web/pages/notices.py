"""The page of a person's notices, and its forms that mark them as read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from litestar import get, post
from litestar.response import Response

from counterfoil.web.api.notices import NoticeState, NoticeStateText, mark_read, notice_list
from counterfoil.web.api.queries import Cursor
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, caller, requires
from counterfoil.web.pages.forms import posted_form
from counterfoil.web.pages.rendering import redirect, render_page

PAGE_ROWS = 50


@get("/notices", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def notices_page(
    request: WebRequest, in_state: NoticeStateText = NoticeState.UNREAD, cursor: Cursor = None
) -> Response[Any]:
    is_all = in_state == NoticeState.ALL
    notices = await notice_list(request, caller(request), not is_all, PAGE_ROWS, cursor)
    return await render_page(request, "notices.html", notices=notices, is_all=is_all)


@post("/notices/read", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def read_notices_form(request: WebRequest) -> Response[Any]:
    """Mark one notice as read, or all that the page had."""
    identity, form = await posted_form(request)
    try:
        until = datetime.fromisoformat(form.get("until", ""))
    except ValueError:
        raise Problem(422, "The form has no time. Load the page again.", field="until") from None
    await mark_read(request, identity, [form["id"]] if form.get("id") else None, until)
    return redirect("/notices?note=read" + ("&state=all" if form.get("state") == NoticeState.ALL else ""))


ROUTES = [notices_page, read_notices_form]
