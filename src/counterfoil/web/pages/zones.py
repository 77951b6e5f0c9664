"""Time zone of the pages: that of the person in the people file; else a cookie, set here or by the first sign-in.

The cookie belongs to the browser: a person without a zone on file may work in two offices. Times stay UTC everywhere else.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.params import QueryParameter
from litestar.response import Response

from counterfoil.core.zones import zone_named, zone_names
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.request import WebRequest, requires
from counterfoil.web.pages.forms import posted_form
from counterfoil.web.pages.rendering import ZONE_COOKIE, redirect, render_page, safe_path

YEAR_SECONDS = 365 * 24 * 3600
Back = Annotated[str | None, QueryParameter(max_length=500, description="The page to return to.")]


def zone_cookie(request: WebRequest, name: str) -> Cookie | None:
    """Return the cookie for a zone; None if there is no such zone."""
    if name not in zone_names():
        return None
    return Cookie(
        key=ZONE_COOKIE, value=name, path="/", httponly=True, samesite="lax", max_age=YEAR_SECONDS,
        secure=request.url.scheme == "https",
    )  # fmt: skip


@get("/zone", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def zone_page(request: WebRequest, back: Back = None) -> Response[Any]:
    return await _show(request, "", safe_path(back or "/"))


@post("/zone", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def set_zone(request: WebRequest) -> Response[Any]:
    _, form = await posted_form(request)
    name, back = form.get("zone", "").strip(), safe_path(form.get("back", "/"))
    cookie = zone_cookie(request, zone_named(name) or name)
    return redirect(back, [cookie]) if cookie is not None else await _show(request, name, back)


async def _show(request: WebRequest, unknown: str, back: str) -> Response[Any]:
    return await render_page(
        request, "zone.html", 422 if unknown else 200, zones=zone_names(), unknown=unknown, back=back
    )  # fmt: skip


ROUTES = [zone_page, set_zone]
