"""RFC 9457 problem documents: what happened, to which document or id, and what the caller can do."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.exceptions import HTTPException
from litestar.response import Response

from counterfoil.connectors.signature import SignatureRefused
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.wire import WireRefused

PROBLEM_JSON = "application/problem+json"
TYPE = "urn:counterfoil:problem:"
log = logging.getLogger("counterfoil.web")

_TITLES = {
    400: ("bad-request", "Bad request"),
    401: ("not-signed-in", "Sign-in required"),
    403: ("not-allowed", "Permission missing"),
    404: ("not-found", "Not found"),
    405: ("method", "Method not allowed"),
    408: ("too-slow", "Request timeout"),
    409: ("conflict", "Conflict with the current state"),
    413: ("too-large", "Request body too large"),
    415: ("media-type", "Content type not supported"),
    422: ("invalid", "Invalid request"),
    429: ("too-many", "Too many requests"),
    431: ("headers-too-large", "Request headers too large"),
    500: ("internal", "Internal error"),
    503: ("try-again", "Temporarily unavailable"),
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
    """Refusal that the caller sees as it is. `kind` is the last part of the document's `type`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        title: str = "",
        field: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        default_kind, default_title = _TITLES.get(status, (f"status-{status}", "Refused"))
        self.status = status
        self.detail = detail
        self.kind = kind or default_kind
        self.title = title or default_title
        self.field = field
        """Field of a form that it is about."""
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        """More members of the document."""

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
    """Return the problem for an exception. An internal error is logged, and the problem names its incident only."""
    match error:
        case Problem():
            return error
        case SignatureRefused():
            return Problem(401, str(error), kind=error.code.replace("_", "-"), title="Invalid signature")
        case WireRefused():
            return Problem(400, str(error), kind="unreadable", title="Unreadable body")
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
    cause = "The server is misconfigured" if kind == "misconfigured" else "The server failed"
    return Problem(500, f"{cause}. Search the server's log for incident {incident}.", kind=kind)


def _http(error: HTTPException) -> Problem:
    status = error.status_code
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == 404:
        return Problem(404, "Nothing has this address. /openapi.json lists the routes.")
    if status == 405:
        return Problem(405, f"Allowed: {headers.get('allow', 'see /openapi.json')}.", headers=headers)
    if status >= 500:
        log.error("HTTP %d", status, exc_info=error)
        return Problem(status, "The server failed. Its log has the details.")
    extra = error.extra if isinstance(error.extra, list) else []
    parts = [f"{e.get('key', '')}: {e.get('message', '')}" for e in extra if isinstance(e, dict)]
    return Problem(status, "; ".join(parts) or error.detail or "Refused.", headers=headers)


def problem_response(path: str, error: Exception) -> Response[bytes]:
    """Return the response to a failed API call."""
    problem = problem_of(error)
    return Response(
        problem.body(path), status_code=problem.status, media_type=PROBLEM_JSON, headers=problem.headers
    )
