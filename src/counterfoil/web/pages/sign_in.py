"""Signing in and out with a password; the session is a cookie."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.params import QueryParameter
from litestar.response import Response

from counterfoil.web.http.identity import COOKIE, SESSION, Passwords, check_same_origin, read_form
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.refusals import record
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages.forms import posted_form
from counterfoil.web.pages.rendering import ZONE_COOKIE, redirect, render_page, safe_path
from counterfoil.web.pages.zones import zone_cookie


@get("/sign-in", opt=requires(Open.PUBLIC), include_in_schema=False)
async def sign_in_page(
    request: WebRequest, next_: Annotated[str | None, QueryParameter(name="next")] = None
) -> Response[Any]:
    return await render_page(request, "sign_in.html", next=safe_path(next_ or "/"), email="", problem=None)


@post("/sign-in", opt=requires(Open.PUBLIC), include_in_schema=False)
async def sign_in(request: WebRequest) -> Response[Any]:
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    check_same_origin(request.headers, form, None)
    passwords: Passwords = request.app.state.passwords
    address = request.client.host if request.client else ""
    email, next_path = form.get("email", ""), safe_path(form.get("next", "/"))
    try:
        secret, _ = await passwords.sign_in(application(request), email, form.get("password", ""), address)
    except Problem as problem:
        await record(request, "sign-in" if problem.status == 401 else "throttled")
        page = await render_page(
            request, "sign_in.html", problem.status, next=next_path, email=email[:200], problem=problem
        )
        page.headers.update(problem.headers)
        return page
    cookies = [_session_cookie(request, secret, round(SESSION.total_seconds()))]
    zone = zone_cookie(request, form.get("zone", ""))
    if zone is not None and ZONE_COOKIE not in request.cookies:
        cookies.append(zone)
    return redirect(next_path, cookies)


@post("/sign-out", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def sign_out(request: WebRequest) -> Response[Any]:
    identity, _ = await posted_form(request)
    session = request.cookies.get(COOKIE, "")
    passwords: Passwords = request.app.state.passwords
    await passwords.sign_out(application(request), session, identity.person.id)
    return redirect("/sign-in?note=signed-out", [_session_cookie(request, "", 0)])


def _session_cookie(request: WebRequest, value: str, max_age: int) -> Cookie:
    return Cookie(
        key=COOKIE, value=value, path="/", httponly=True, samesite="strict", max_age=max_age,
        secure=request.url.scheme == "https",
    )  # fmt: skip


ROUTES = [sign_in_page, sign_in, sign_out]
