"""Access control: each route declares its requirement, and one guard checks the caller before the handler runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from litestar.handlers.base import BaseRouteHandler

from counterfoil.application import Application
from counterfoil.web.http.identity import Connection, Identity, identify
from counterfoil.web.http.permissions import Open, Permission, Requirement
from counterfoil.web.http.problems import Problem

REQUIRES = "requires"
BODY = "body"


class RequestBody(NamedTuple):
    """Request body of a route for the OpenAPI description: handlers read raw bytes, which no framework sees into."""

    media_type: str
    schema: type[msgspec.Struct] | None = None
    description: str = ""
    component: str = ""
    """Name of the schema component; empty for the name of the class."""


def requires(requirement: Requirement, body: RequestBody | None = None) -> dict[str, Any]:
    """Return the `opt` of a route: its requirement, and its request body where it has one."""
    return {REQUIRES: requirement} | ({} if body is None else {BODY: body})


def application(connection: Connection) -> Application:
    app: Application = connection.app.state.counterfoil
    return app


def caller(connection: Connection) -> Identity:
    """Return the identity that the guard accepted. Raises Problem 401 on routes that need no sign-in."""
    identity: Identity | None = connection.scope.get("user")
    if identity is None:
        raise Problem(401, "Sign in or send a bearer token.", headers={"www-authenticate": "Bearer"})
    return identity


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse a caller without the route's permission. A route without a requirement is refused to every caller."""
    requirement = handler.opt.get(REQUIRES)
    if requirement in (Open.PUBLIC, Open.SIGNATURE):
        return
    identity = await identify(application(connection), connection)
    if identity is None:
        raise Problem(
            401,
            "Sign in, or send `Authorization: Bearer` with a token.",
            headers={"www-authenticate": 'Bearer realm="counterfoil"'},
        )
    connection.scope["user"] = identity
    if requirement is Open.SIGNED_IN:
        return
    if not isinstance(requirement, Permission) or requirement not in identity.may:
        roles = ", ".join(identity.person.roles) or "none"
        raise Problem(
            403,
            f"You need the permission {requirement}. {identity.person.id} has the roles {roles}. "
            "The role files in the governance folder list the permissions of each role.",
        )
