"""One registration of all routes for the companies of a process: it takes 150 ms, and a request finds its company itself.

What begins and ends with a server (the lifespan and its queue of events) is each company's own.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from litestar import Litestar
from litestar.events import SimpleEventEmitter

from counterfoil.web.http import server
from counterfoil.web.http.identity import Passwords
from tests.patching import replace_attribute

_routes = server.routes


def share_routes() -> None:
    """Let the companies that this process serves from now on share their routes."""
    replace_attribute(server, "routes", copied_routes)


@functools.cache
def registered() -> Litestar:
    """Return the routes of this process, without a company."""
    no_company: Any = None
    return _routes(no_company)


def copied_routes(app: Any, passwords: Passwords | None = None) -> Litestar:
    routes = copy.copy(registered())
    routes.state = server.state_of(app, passwords)
    routes.event_emitter = SimpleEventEmitter(listeners=[])
    routes.asgi_router = copy.copy(routes.asgi_router)
    routes.asgi_router.app = routes
    return routes
