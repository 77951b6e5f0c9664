"""The ASGI application (routes, guard, problems, limits), and the uvicorn settings that serve it."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.web.api import description
from counterfoil.web.http import assets
from counterfoil.web.http.connections import ConnectionLimits, bounded
from counterfoil.web.http.identity import Passwords
from counterfoil.web.http.limits import Asgi, RequestLimits
from counterfoil.web.http.problems import problem_of, problem_response
from counterfoil.web.http.proxies import ProxyHeaders, PublicAddress
from counterfoil.web.http.refusals import StrangerLimit, record_error
from counterfoil.web.http.request import MaskedResponse, WebRequest, guard, masked_texts
from counterfoil.web.pages import (
    approvals,
    bulk,
    case_edits,
    cases,
    catalog,
    customers,
    delegations,
    foils,
    matches,
    notice_preferences,
    notices,
    overview,
    plans,
    reconciliations,
    runs,
    search,
    sign_in,
    zones,
)
from counterfoil.web.pages.rendering import PageTemplates, error_page, is_page

PAGE_ROUTES: list[Any] = [
    *sign_in.ROUTES,
    *zones.ROUTES,
    *overview.ROUTES,
    *runs.ROUTES,
    *approvals.ROUTES,
    *cases.ROUTES,
    *bulk.ROUTES,
    *case_edits.ROUTES,
    *delegations.ROUTES,
    *foils.ROUTES,
    *matches.ROUTES,
    *reconciliations.ROUTES,
    *catalog.ROUTES,
    *plans.ROUTES,
    *notices.ROUTES,
    *notice_preferences.ROUTES,
    *search.ROUTES,
    *customers.ROUTES,
]


def build(app: Application, passwords: Passwords | None = None, public: PublicAddress | None = None) -> Asgi:
    """Build the ASGI application over a running company. `passwords` lets tests hash cheaply."""
    return ProxyHeaders(RequestLimits(routes(app, passwords)), public or PublicAddress())


def routes(app: Application, passwords: Passwords | None = None) -> Litestar:
    """Build the application without the limits."""
    return Litestar(
        route_handlers=[*description.API_ROUTES, *description.ROUTES, assets.serve, *PAGE_ROUTES],
        guards=[guard],
        response_class=MaskedResponse,
        exception_handlers={Exception: _error_response},
        after_exception=[record_error],
        state=state_of(app, passwords),
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
        debug=False,
    )


def state_of(app: Application, passwords: Passwords | None = None) -> State:
    """Return what the routes read of a company."""
    return State(
        {
            "counterfoil": app,
            "passwords": passwords or Passwords(),
            "templates": PageTemplates(),
            "strangers": StrangerLimit(),
        }
    )


def _error_response(request: WebRequest, error: Exception) -> Response[Any]:
    """Return an error page to a browser, and a problem document to any other caller."""
    problem = problem_of(error)
    problem.detail = masked_texts(request).replace(problem.detail)
    problem.more = masked_texts(request).replace_all(problem.more)
    if is_page(request):
        return error_page(request, problem)
    return problem_response(request.url.path, problem)


def config(
    asgi: Asgi, host: str = "127.0.0.1", port: int = 8080, limits: ConnectionLimits | None = None
) -> uvicorn.Config:
    """Return the uvicorn settings: one process, bounded connections, no server banner, no access log."""
    limits = limits or ConnectionLimits()
    return uvicorn.Config(
        asgi,
        host=host,
        port=port,
        http=bounded(limits),  # type: ignore[arg-type]  # a factory, as uvicorn calls it
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=64 * 1024,
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
