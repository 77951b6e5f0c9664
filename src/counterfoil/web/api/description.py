"""Descriptions of the HTTP API: the OpenAPI document of the server and the company's operations, and AsyncAPI."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from litestar import Litestar, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.response import Response

from counterfoil import __version__
from counterfoil.model import Model
from counterfoil.web.api import (
    asyncapi,
    book_checkpoints,
    bulk,
    case_edits,
    case_lists,
    catalog,
    contracts,
    controls,
    customers,
    decisions,
    delegations,
    exports,
    find,
    health,
    intake,
    lists,
    matches,
    me,
    notice_preferences,
    notices,
    operations,
    operations_openapi,
    pairings,
    pairs,
    plans,
    releases,
    roll_forward,
    suggestions,
    sweeps,
)
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.problems import PROBLEM_JSON
from counterfoil.web.http.request import (
    ALSO,
    BODY,
    JSON,
    REQUIRES,
    RequestBody,
    WebRequest,
    application,
    requires,
)

API_ROUTES: list[Any] = [
    *intake.ROUTES,
    *decisions.ROUTES,
    *bulk.ROUTES,
    *case_edits.ROUTES,
    *delegations.ROUTES,
    *case_lists.ROUTES,
    *operations.ROUTES,
    *find.ROUTES,
    *notices.ROUTES,
    *notice_preferences.ROUTES,
    *customers.ROUTES,
    *lists.ROUTES,
    *exports.ROUTES,
    *matches.ROUTES,
    *suggestions.ROUTES,
    *pairings.ROUTES,
    *roll_forward.ROUTES,
    *sweeps.ROUTES,
    *book_checkpoints.ROUTES,
    *me.ROUTES,
    *catalog.ROUTES,
    *contracts.ROUTES,
    *controls.ROUTES,
    *pairs.ROUTES,
    *plans.ROUTES,
    *releases.ROUTES,
    *health.ROUTES,
]
"""Routes for programs, which /openapi.json describes."""
_SCHEMA_REF = "#/components/schemas/"
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


@get("/openapi.json", opt=requires(Open.PUBLIC), include_in_schema=False)
async def get_openapi(request: WebRequest) -> Response[bytes]:
    """Return the server's own API with the company's exposed operations."""
    return _document(request, "server", lambda model: operations_openapi.merged(description(), model))


@get("/v1/operations/openapi.json", opt=requires(Open.PUBLIC), include_in_schema=False)
async def get_operations(request: WebRequest) -> Response[bytes]:
    """Return only the company's exposed operations."""
    return _document(request, "operations", operations_openapi.document)


@get("/asyncapi.json", opt=requires(Open.PUBLIC), include_in_schema=False)
async def get_events(request: WebRequest) -> Response[bytes]:
    """Return the company's events."""
    return _document(request, "events", asyncapi.document)


_ENCODED: WeakKeyDictionary[Model, dict[str, bytes]] = WeakKeyDictionary()
"""Documents of each Release as JSON. Anybody may ask for them, so they are made once."""


def _document(request: WebRequest, name: str, build: Callable[[Model], dict[str, Any]]) -> Response[bytes]:
    model = application(request).model
    encoded = _ENCODED.setdefault(model, {})
    if name not in encoded:
        encoded[name] = msgspec.json.encode(build(model))
    return Response(encoded[name], media_type=JSON)


@cache
def description() -> dict[str, Any]:
    """Return the OpenAPI document of the server: routes with request bodies, permissions and problems."""
    app = _described()
    document = deepcopy(app.openapi_schema.to_schema())
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            options = _options(app, path, method)
            if BODY in options:
                operation["requestBody"] = _request_body(options[BODY], schemas)
            operation["x-permission"] = str(options[REQUIRES])
            if options[REQUIRES] not in (Open.PUBLIC, Open.SIGNATURE):
                operation["security"] = [{"bearer": []}]
            operation["responses"].pop("400", None)
            (success,) = operation["responses"].values()
            for status, meaning in options[ALSO].items():
                operation["responses"][str(status)] = {**success, "description": meaning}
            operation["responses"]["default"] = {
                "description": "A problem (RFC 9457).",
                "content": {PROBLEM_JSON: {"schema": {"$ref": f"{_SCHEMA_REF}Problem"}}},
            }
    return document


@cache
def _described() -> Litestar:
    """Build an application that is never served: the framework's own schema pages would load foreign scripts."""
    return Litestar(
        route_handlers=API_ROUTES,
        openapi_config=OpenAPIConfig(
            title="Counterfoil",
            version=__version__,
            description="Intake of deliveries and events, decisions, and the operators' view of each transaction.",
            use_handler_docstrings=True,
            components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        ),
        logging_config=None,
    )


def _options(app: Litestar, path: str, method: str) -> dict[str, Any]:
    """Return the `opt` of the handler behind a path."""
    for route in app.routes:
        if getattr(route, "path_format", "") == path:
            handler = getattr(route, "route_handler_map", {}).get(method.upper())
            handler = handler[0] if isinstance(handler, tuple) else handler
            if handler is not None:
                options: dict[str, Any] = handler.opt
                return options
    raise LookupError(f"no handler for {method} {path}")


def _request_body(body: RequestBody, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the request body of an operation. Adds its schema to the components."""
    content: dict[str, Any] = {}
    if body.schema is not None:
        _, parts = msgspec.json.schema_components([body.schema], ref_template=_SCHEMA_REF + "{name}")
        name = body.component or body.schema.__name__
        schemas[name] = parts.pop(body.schema.__name__) | {"title": name}
        schemas.update(parts)
        content = {"schema": {"$ref": _SCHEMA_REF + name}}
    result: dict[str, Any] = {"required": True, "content": {body.media_type: content}}
    return result | ({"description": body.description} if body.description else {})


ROUTES = [get_openapi, get_operations, get_events]
