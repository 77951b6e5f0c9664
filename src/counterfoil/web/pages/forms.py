"""Forms that our own pages send."""

from __future__ import annotations

from counterfoil.web.http.access import caller
from counterfoil.web.http.identity import Identity, check_same_origin, read_form
from counterfoil.web.http.request import WebRequest


async def posted_form(request: WebRequest) -> tuple[Identity, dict[str, str]]:
    """Return the caller and the fields of a form from our own pages. Raises Problem."""
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    identity = caller(request)
    check_same_origin(request.headers, form, identity)
    return identity, form


def safe_path(path: str) -> str:
    """Return a path on this site for a redirect; `/` for any other address."""
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if own and "\\" not in path else "/"


def query_text(request: WebRequest, *names: str) -> dict[str, str]:
    """Return query parameters as filter texts; empty for an absent one."""
    return {name: request.query_params.get(name, "").strip() for name in names}
