"""The ASGI application: routes, guard, problems, description, and the shield around them; and serving it."""

from __future__ import annotations

import asyncio
import socket
from copy import deepcopy
from functools import cache
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.response import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from counterfoil import __version__
from counterfoil.web.api import (
    asyncapi as asyncapi_document,
)
from counterfoil.web.api import (
    catalog,
    changes,
    contracts,
    controls,
    doors,
    health,
    lists,
    operations,
    usage,
)
from counterfoil.web.api import (
    operations_openapi as offered,
)
from counterfoil.web.http import assets
from counterfoil.web.http.access import REQUIRES, application, guard, requires
from counterfoil.web.http.identity import Passwords
from counterfoil.web.http.limits import Asgi, Shield
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import PROBLEM_JSON, problem_response
from counterfoil.web.pages import pages

_API: list[Any] = [
    *doors.ROUTES,
    *usage.ROUTES,
    *operations.ROUTES,
    *lists.ROUTES,
    *catalog.API,
    *contracts.ROUTES,
    *controls.API,
    *changes.ROUTES,
    *health.ROUTES,
]
"""What programs call, and what /openapi.json describes."""
HEAD_SECONDS = 15.0
"""A connection that has not brought one whole request head by then is closed."""


@get("/openapi.json", opt=requires(Open.PUBLIC), include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The server's own API, and the operations that the company offers."""
    return _json(offered.merged(description(), application(request).model))


@get("/v1/operations/openapi.json", opt=requires(Open.PUBLIC), include_in_schema=False)
async def operations_openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The operations that the company offers, alone."""
    return _json(offered.document(application(request).model))


@get("/asyncapi.json", opt=requires(Open.PUBLIC), include_in_schema=False)
async def asyncapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The company's events."""
    return _json(asyncapi_document.document(application(request).model))


def _json(document: dict[str, Any]) -> Response[bytes]:
    return Response(msgspec.json.encode(document), media_type="application/json")


def build(app: App, passwords: Passwords | None = None) -> Asgi:
    """The application over a running company. `passwords` lets tests hash cheaply."""
    return Shield(routes(app, passwords))


def routes(app: App, passwords: Passwords | None = None) -> Litestar:
    """The same without the shield."""
    return Litestar(
        route_handlers=[
            *_API,
            openapi,
            operations_openapi,
            asyncapi,
            assets.serve,
            *pages.ROUTES,
            *catalog.PAGES,
        ],
        guards=[guard],
        exception_handlers={Exception: _refused},
        state=State({"counterfoil": app, "passwords": passwords or Passwords(), "pages": pages.Pages()}),
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
        debug=False,
    )


def _refused(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Pages answer people, everything else answers programs."""
    if pages.is_page(request):
        return pages.refused(request, error)
    return problem_response(request, error)


@cache
def _described() -> Litestar:
    """The API alone, as an application that nobody serves: the framework's own schema pages load foreign scripts."""
    return Litestar(
        route_handlers=_API,
        openapi_config=OpenAPIConfig(
            title="Counterfoil",
            version=__version__,
            description="Doors for deliveries and events, and the operators' view of what became of them.",
            use_handler_docstrings=True,
            components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        ),
        logging_config=None,
    )


@cache
def description() -> dict[str, Any]:
    """The OpenAPI document, with the bodies that handlers read as raw bytes, permissions and problems."""
    app = _described()
    document = deepcopy(app.openapi_schema.to_schema())
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for (path, method), (media, kind, about) in (
        doors.BODIES | usage.BODIES | operations.BODIES | changes.BODIES
    ).items():
        content: dict[str, Any] = {}
        if kind is not None:
            _, found = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
            schemas.update(found)
            content = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}
        body = {"required": True, "content": {media: content}}
        document["paths"][path][method]["requestBody"] = body | ({"description": about} if about else {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            requirement = _requirement(app, path, method)
            operation["x-permission"] = requirement
            if requirement not in (Open.PUBLIC, Open.SIGNATURE):
                operation["security"] = [{"bearer": []}]
            operation["responses"].pop("400", None)
            operation["responses"]["default"] = {
                "description": "A problem (RFC 9457).",
                "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
    return document


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}


def _requirement(app: Litestar, path: str, method: str) -> str:
    for route in app.routes:
        if getattr(route, "path_format", "") == path:
            handler = getattr(route, "route_handler_map", {}).get(method.upper())
            found = handler[0] if isinstance(handler, tuple) else handler
            if found is not None:
                return str(found.opt[REQUIRES])
    return ""


class _Punctual(H11Protocol):
    """Closes a connection whose first request head does not arrive; uvicorn waits for it without end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _too_late(self) -> None:
        if self.cycle is None:
            self.transport.close()


def config(asgi: Asgi, host: str = "127.0.0.1", port: int = 8080) -> uvicorn.Config:
    """How we serve: one process, bounded heads, no server banner, no access log."""
    return uvicorn.Config(
        asgi,
        host=host,
        port=port,
        http=_Punctual,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=64 * 1024,
        limit_concurrency=1000,
    )


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises OSError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, because asyncio turns Nagle's delay off for no other socket.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
