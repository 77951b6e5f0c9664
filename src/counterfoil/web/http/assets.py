"""The pages' style sheet, script and logo. Each address holds the content's digest, so browsers may cache it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from litestar import get
from litestar.params import FromPath, FromQuery
from litestar.response import Response

from counterfoil.web.http.permissions import Open
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import requires

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@cache
def files() -> dict[str, tuple[bytes, str, str]]:
    """Return content, media type and digest of each file, by name."""
    assets = {}
    for entry in resources.files("counterfoil.web").joinpath("static").iterdir():
        media = _MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if media is not None:
            content = entry.read_bytes()
            assets[entry.name] = (content, media, hashlib.sha256(content).hexdigest()[:16])
    return assets


def address(name: FromPath[str]) -> str:
    """Return the address of a file; it changes with the content."""
    return f"/static/{name}?v={files()[name][2]}"


@get("/static/{name:str}", opt=requires(Open.PUBLIC), include_in_schema=False, sync_to_thread=False)
def serve(name: FromPath[str], v: FromQuery[str] = "") -> Response[bytes]:
    if name not in files():
        raise Problem(404, f"There is no file {name[:100]}.")
    content, media, digest = files()[name]
    caching = "public, max-age=31536000, immutable" if v == digest else "public, max-age=300"
    return Response(content, media_type=media, headers={"cache-control": caching, "etag": f'"{digest}"'})
