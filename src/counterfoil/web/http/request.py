"""A request as handlers see it: its route's requirement, its caller, and its body behind the CSRF and type checks.

Each route declares its requirement, and one guard checks the caller before the handler runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec
from litestar import Request
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.response import Response
from litestar.response.base import ASGIResponse

from counterfoil.application import Application, seen_by
from counterfoil.core.fault_text import fault_text
from counterfoil.core.finding import did_you_mean
from counterfoil.core.http_headers import SEVERAL_VALUES
from counterfoil.core.personal_texts import PersonalTexts
from counterfoil.core.wire import read_json
from counterfoil.rules.personal_mask import PersonalMask
from counterfoil.web.http.identity import Connection, Identity, check_same_origin, identify
from counterfoil.web.http.permissions import Open, Permission, Requirement, personal_rights, scope_of
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.refusals import changes_something, record

JSON = "application/json"
REQUIRES = "requires"
BODY = "body"
NOTE = "note"
"""Query parameter of every page: the key of the message after an action."""
ALSO = "also"
MASKED_TEXTS = "masked_texts"
WebRequest = Request[Any, Any, Any]
S = TypeVar("S", bound=msgspec.Struct)


class RequestBody(NamedTuple):
    """Request body of a route for the OpenAPI description: handlers read raw bytes, which no framework sees into."""

    media_type: str
    schema: type[msgspec.Struct] | None = None
    description: str = ""
    component: str = ""
    """Name of the schema component; empty for the name of the class."""


def requires(
    requirement: Requirement, body: RequestBody | None = None, also: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Return the `opt` of a route: its requirement, its request body, and its further statuses.

    `also` gives the meaning of each status that carries the same document as the success of the route.
    """
    return {REQUIRES: requirement, ALSO: also or {}} | ({} if body is None else {BODY: body})


def whole_application(connection: Connection) -> Application:
    """Return the engine with the rows of every legal entity."""
    app: Application = connection.app.state.counterfoil
    return app


def application(connection: Connection, permission: Permission | None = None) -> Application:
    """Return the engine as the caller sees it: the rows of the legal entities for which they have a permission,
    without personal data that they may not read.

    The permission is that of the route. A route for any signed-in person names one for each part that it shows.
    """
    app = whole_application(connection)
    identity: Identity | None = connection.scope.get("user")
    texts = masked_texts(connection)
    if identity is None:
        return seen_by(app.scope, app, PersonalMask(app.model, {}, app.scope, texts))
    needed = permission or connection.route_handler.opt.get(REQUIRES)
    scope = scope_of(identity.person, app.model, needed if isinstance(needed, Permission) else None)
    rights = personal_rights(identity.person, app.model)
    return seen_by(scope, app, PersonalMask(app.model, rights, scope, texts))


def masked_texts(connection: Connection) -> PersonalTexts:
    """Return the personal texts that were masked for this request, which its answer has nowhere."""
    texts: PersonalTexts | None = connection.state.get(MASKED_TEXTS)
    if texts is None:
        texts = PersonalTexts([value for _, value in connection.query_params.multi_items()])
        connection.state[MASKED_TEXTS] = texts
    return texts


class MaskedResponse(Response[Any]):
    """The answer to a request, whose texts have no personal data that was masked for the caller."""

    def to_asgi_response(self, app: Any, request: WebRequest, **how: Any) -> ASGIResponse:
        self.content = masked_texts(request).replace_all(self.content)
        return super().to_asgi_response(app, request, **how)


def company_application(connection: Connection) -> Application:
    """Return the engine to a caller who acts for every legal entity. Raises Problem 403 for others."""
    app = application(connection)
    if not app.scope.everything:
        names = ", ".join(sorted(app.scope.names or ())) or "none"
        raise Problem(403, f"A change of governance concerns every legal entity. You act for: {names}.")
    return app


def headers_by_name(request: WebRequest) -> dict[str, str]:
    """Return the headers by lower-case name. Different values of one header are joined by SEVERAL_VALUES."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        former = headers.setdefault(name.lower(), value)
        if value not in former.split(SEVERAL_VALUES):
            headers[name.lower()] = f"{former}{SEVERAL_VALUES}{value}"
    return headers


def caller(connection: Connection) -> Identity:
    """Return the identity that the guard accepted. Raises Problem 401 on routes that need no sign-in."""
    identity: Identity | None = connection.scope.get("user")
    if identity is None:
        raise Problem(401, "Sign in or send a bearer token.", headers={"www-authenticate": "Bearer"})
    return identity


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse a caller without the route's permission. A route without a requirement is refused to every caller."""
    requirement = handler.opt.get(REQUIRES)
    if requirement is Open.SIGNATURE:
        return
    if requirement is Open.PUBLIC:
        check_query(connection, handler)
        return
    identity = await identify(whole_application(connection), connection)
    if identity is None:
        raise Problem(
            401,
            "Sign in, or send `Authorization: Bearer` with a token.",
            headers={"www-authenticate": 'Bearer realm="counterfoil"'},
        )
    connection.scope["user"] = identity
    if requirement is not Open.SIGNED_IN and requirement not in identity.may:
        if changes_something(connection):
            await record(connection, "permission", permission=str(requirement))
        roles = ", ".join(identity.person.roles) or "none"
        raise Problem(
            403,
            f"You need the permission {requirement}. {identity.person.id} has the roles {roles}. "
            "The role files in the governance folder list the permissions of each role.",
        )
    check_query(connection, handler)


def check_query(connection: Connection, handler: BaseRouteHandler) -> None:
    """Raise Problem 400 for a query parameter that the route does not have, and for a value outside of its closed set.

    A filter that is ignored, or that fits no row by a typing error, would look as if all were well. Webhooks are
    exempt: their senders may append parameters of their own.
    """
    parameters = query_parameters(handler.fn)
    if not connection.url.path.startswith("/v1/"):
        parameters = parameters | {NOTE: ()}
    unknown = sorted({name for name in connection.query_params if name not in parameters})
    if unknown:
        names = ", ".join(sorted(parameters.keys() - {NOTE})) or "none"
        fix = did_you_mean(unknown[0], parameters)
        raise Problem(
            400,
            f"Unknown query parameter {', '.join(repr(name[:50]) for name in unknown[:5])}. "
            + (f"{fix[0].upper()}{fix[1:]} " if fix else "")
            + f"This address has: {names}.",
        )
    for name, value in connection.query_params.multi_items():
        words = parameters[name]
        if value and words and value not in words:
            fix = did_you_mean(value, words, f"it is one of {', '.join(words)}.")
            raise Problem(400, f"`{name}` cannot be {value[:100]!r}; {fix}")


@cache
def query_parameters(handler: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """Return a handler's query parameters, as callers write them, each with its closed set; empty for an open one."""
    hints = get_type_hints(handler, include_extras=True)
    return {
        part.name or name: tuple(map(str, part.enum or ()))
        for name, hint in hints.items()
        for part in getattr(hint, "__metadata__", ())
        if isinstance(part, QueryParameter)
    }


def trusted_caller(request: WebRequest) -> Identity:
    """Return the caller. Raises Problem 403 when a browser session does not send its CSRF token.

    Bearer tokens need none: no browser sends them by itself.
    """
    identity = caller(request)
    if identity.csrf:
        check_same_origin(request.headers, {}, identity)
    return identity


def require_json(request: WebRequest) -> None:
    """Raise Problem 415 unless the content type is application/json."""
    if media_type(request) != JSON:
        raise Problem(415, f"Send {JSON}.", headers={"accept-post": JSON})


def media_type(request: WebRequest) -> str:
    """Return the content type in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def decode_json(body: bytes, kind: type[S]) -> S:
    """Decode an untrusted body into a struct. Raises WireRefused, and Problem 422 for fields that do not fit."""
    try:
        decoded = msgspec.convert(read_json(body), kind)
    except msgspec.ValidationError as error:
        fault = fault_text(error)
        raise Problem(422, f"{fault[0].upper()}{fault[1:]}.") from None
    for name in decoded.__struct_fields__:
        text = getattr(decoded, name)
        if isinstance(text, str) and "\0" in text:
            raise Problem(422, f"`{name}` contains the character U+0000, which a database cannot store.")
    return decoded
