"""Refusals as RFC 9457 problem documents: what happened, to which id, and what the caller can do."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.connection import Request
from litestar.exceptions import HTTPException
from litestar.response import Response

from counterfoil.connectors.signature import SignatureRefused
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.wire import WireRefused

PROBLEM_JSON = "application/problem+json"
TYPE = "urn:counterfoil:problem:"
log = logging.getLogger("counterfoil.web")

_TITLES = {
    400: ("bad-request", "The request cannot be read"),
    401: ("not-signed-in", "Not signed in"),
    403: ("not-allowed", "Not allowed"),
    404: ("not-found", "There is nothing here"),
    405: ("method", "This address does not take that method"),
    408: ("too-slow", "The request came too slowly"),
    409: ("conflict", "The state has changed"),
    413: ("too-large", "The body is too large"),
    415: ("media-type", "The content type is not taken here"),
    422: ("invalid", "The request was understood and is not acceptable"),
    429: ("too-many", "Too many attempts"),
    431: ("headers-too-large", "The header fields are too large"),
    500: ("internal", "Something is wrong on our side"),
    503: ("try-again", "Not now"),
}
_BY_CLASS = {
    ErrorClass.INVALID: 422,
    ErrorClass.NOT_FOUND: 404,
    ErrorClass.CONFLICT: 409,
    ErrorClass.ALREADY_DONE: 409,
    ErrorClass.UNAUTHORIZED: 401,
    ErrorClass.THROTTLED: 429,
}


class Problem(Exception):
    """A refusal that is sent as it is. `kind` is the last part of the document's `type`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        title: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        known, name = _TITLES.get(status, (f"status-{status}", "Refused"))
        self.status = status
        self.detail = detail
        self.kind = kind or known
        self.title = title or name
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        """Further members of the document."""

    def document(self, instance: str) -> dict[str, Any]:
        return {
            "type": TYPE + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            **self.more,
        }

    def body(self, instance: str) -> bytes:
        return msgspec.json.encode(self.document(instance))


def problem_of(error: Exception) -> Problem:
    """The problem that an exception is to its caller. What is our own fault is logged and shows nothing inside."""
    match error:
        case Problem():
            return error
        case SignatureRefused():
            return Problem(
                401, str(error), kind=error.code.replace("_", "-"), title="The signature is not good"
            )
        case WireRefused():
            return Problem(400, str(error), kind="unreadable", title="The body cannot be read")
        case Refused():
            return Problem(_BY_CLASS.get(error.error_class, 422), str(error))
        case TryAgain():
            after = 1 if error.after is None else max(1, round(error.after))
            return Problem(503, str(error), headers={"retry-after": str(after)})
        case HTTPException():
            return _http(error)
    incident = secrets.token_hex(4)
    kind = "misconfigured" if isinstance(error, Misconfigured) else "internal"
    log.error("incident %s", incident, exc_info=error)
    where = "A setting must be changed" if kind == "misconfigured" else "This should not have happened"
    return Problem(500, f"{where}; the server's log has it as incident {incident}.", kind=kind)


def _http(error: HTTPException) -> Problem:
    status = error.status_code
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == 404:
        return Problem(404, "No route or object has this address; /openapi.json lists the routes.")
    if status == 405:
        return Problem(405, f"Allowed: {headers.get('allow', 'see /openapi.json')}.", headers=headers)
    if status >= 500:
        log.error("HTTP %d", status, exc_info=error)
        return Problem(status, "The server's log says more.")
    extra = error.extra if isinstance(error.extra, list) else []
    parts = [f"{e.get('key', '')}: {e.get('message', '')}" for e in extra if isinstance(e, dict)]
    return Problem(status, "; ".join(parts) or error.detail or "Refused.", headers=headers)


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to an API call that failed."""
    problem = problem_of(error)
    return Response(
        problem.body(request.url.path),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=problem.headers,
    )
