"""Reading a request: the caller behind its CSRF check, and JSON bodies behind their content-type check."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Request

from counterfoil.core.wire import read_json
from counterfoil.web.http.access import caller
from counterfoil.web.http.identity import Identity, check_same_origin
from counterfoil.web.http.problems import Problem

JSON = "application/json"
WebRequest = Request[Any, Any, Any]
S = TypeVar("S", bound=msgspec.Struct)


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
        return msgspec.convert(read_json(body), kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}.") from None
