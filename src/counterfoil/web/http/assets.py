"""Our own style sheet, script and mark, served with their digest so that browsers may keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from litestar import get
from litestar.params import FromPath, FromQuery
from litestar.response import Response

from counterfoil.web.http.access import requires
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.problems import Problem

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@cache
def files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> content, media type, digest."""
    found = {}
    for entry in resources.files("counterfoil.web").joinpath("static").iterdir():
        media = _TYPES.get(entry.name.rpartition(".")[2])
        if media is not None:
            content = entry.read_bytes()
            found[entry.name] = (content, media, hashlib.sha256(content).hexdigest()[:16])
    return found


def address(name: FromPath[str]) -> str:
    """Where a page asks for a file; another content has another address."""
    return f"/static/{name}?v={files()[name][2]}"


@get("/static/{name:str}", opt=requires(Open.PUBLIC), include_in_schema=False, sync_to_thread=False)
def serve(name: FromPath[str], v: FromQuery[str] = "") -> Response[bytes]:
    if name not in files():
        raise Problem(404, f"There is no file {name[:100]}.")
    content, media, digest = files()[name]
    kept = "public, max-age=31536000, immutable" if v == digest else "public, max-age=300"
    return Response(content, media_type=media, headers={"cache-control": kept, "etag": f'"{digest}"'})
