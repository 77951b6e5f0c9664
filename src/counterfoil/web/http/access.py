"""Every route declares what it asks of its caller, and one guard holds it to that before its handler runs."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from counterfoil.web.http.identity import Identity, identify
from counterfoil.web.http.permissions import Open, Permission, Requirement
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import Problem

REQUIRES = "requires"
Connection = ASGIConnection[Any, Any, Any, Any]


def requires(requirement: Requirement) -> dict[str, Any]:
    """What a route passes as `opt`."""
    return {REQUIRES: requirement}


def application(connection: Connection) -> App:
    app: App = connection.app.state.counterfoil
    return app


def caller(connection: Connection) -> Identity:
    """The identity that the guard let through. Raises Problem 401 on routes that ask for nobody."""
    identity: Identity | None = connection.scope.get("user")
    if identity is None:
        raise Problem(401, "Sign in or send a bearer token.", headers={"www-authenticate": "Bearer"})
    return identity


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse a caller who may not; a route that declares nothing is refused to everybody."""
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
            f"This needs the permission {requirement}; {identity.person.id} has the roles {roles}. "
            "A role's permissions stand in its file in the governance folder.",
        )
