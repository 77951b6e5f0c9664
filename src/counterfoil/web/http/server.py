"""The ASGI application (routes, guard, problems, limits), and the uvicorn settings that serve it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.response import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from counterfoil.application import Application
from counterfoil.web.api import description
from counterfoil.web.http import assets
from counterfoil.web.http.identity import Passwords
from counterfoil.web.http.limits import Asgi, RequestLimits
from counterfoil.web.http.problems import problem_response
from counterfoil.web.http.request import WebRequest, guard
from counterfoil.web.pages import approvals, cases, catalog, foils, matches, overview, runs, sign_in
from counterfoil.web.pages.rendering import PageTemplates, error_page, is_page

PAGE_ROUTES: list[Any] = [
    *sign_in.ROUTES,
    *overview.ROUTES,
    *runs.ROUTES,
    *approvals.ROUTES,
    *cases.ROUTES,
    *foils.ROUTES,
    *matches.ROUTES,
    *catalog.ROUTES,
]
HEAD_SECONDS = 15.0
"""Timeout for the first request head of a connection."""


def build(app: Application, passwords: Passwords | None = None) -> Asgi:
    """Build the ASGI application over a running company. `passwords` lets tests hash cheaply."""
    return RequestLimits(routes(app, passwords))


def routes(app: Application, passwords: Passwords | None = None) -> Litestar:
    """Build the application without the limits."""
    return Litestar(
        route_handlers=[*description.API_ROUTES, *description.ROUTES, assets.serve, *PAGE_ROUTES],
        guards=[guard],
        exception_handlers={Exception: _error_response},
        state=State(
            {"counterfoil": app, "passwords": passwords or Passwords(), "templates": PageTemplates()}
        ),
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
        debug=False,
    )


def _error_response(request: WebRequest, error: Exception) -> Response[Any]:
    """Return an error page to a browser, and a problem document to any other caller."""
    if is_page(request):
        return error_page(request, error)
    return problem_response(request.url.path, error)


class _HeadTimeout(H11Protocol):
    """Closes a connection whose first request head does not arrive: uvicorn would wait without limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _close_if_idle(self) -> None:
        if self.cycle is None:
            self.transport.close()


def config(asgi: Asgi, host: str = "127.0.0.1", port: int = 8080) -> uvicorn.Config:
    """Return the uvicorn settings: one process, bounded heads, no server banner, no access log."""
    return uvicorn.Config(
        asgi,
        host=host,
        port=port,
        http=_HeadTimeout,
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
    """Return a bound socket; port 0 chooses a free port. Raises OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # An explicit TCP protocol number, because asyncio sets TCP_NODELAY for no other socket.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
