"""What Roundup's answers mean. Its REST layer answers 400 to any exception that it did not expect, also to one
out of the middle of a commit: that one text is no proof of anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from counterfoil.connectors.http import retry_after
from counterfoil.connectors.sdk import Json, Rejected
from counterfoil.core.errors import CounterfoilError, ErrorClass, Refused, TryAgain
from counterfoil.core.wire import WireRefused, read_json

_UNEXPECTED = "An error occurred. Please check the server log"

_WAIT = re.compile(r"[Pp]lease wait:? (\d{1,6}) seconds", re.ASCII)

_CLASSES = {
    400: ErrorClass.INVALID,
    401: ErrorClass.UNAUTHORIZED,
    403: ErrorClass.UNAUTHORIZED,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.REFUSED,  # a detector's Reject
    406: ErrorClass.INVALID,
    409: ErrorClass.INVALID,  # a value of the wrong type
    412: ErrorClass.CONFLICT,
    413: ErrorClass.INVALID,
    415: ErrorClass.INVALID,
    429: ErrorClass.THROTTLED,
}


def data_of(body: bytes) -> dict[str, Json] | None:
    """The `data` object of a good answer, or None when it cannot be read as one."""
    try:
        document = read_json(body)
    except WireRefused:
        return None
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, dict) else None


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> Rejected | None:
    """The refusal that an answer proves, or None when it proves none. Header names are lower case."""
    message = _message(body)
    error_class = _CLASSES.get(status)
    if error_class is None or _UNEXPECTED in message:
        return None
    wait = retry_after(headers, datetime.now(UTC))
    if wait is None and (said := _WAIT.search(message)):
        # A lock-out after wrong passwords says so in words alone.
        wait = float(said[1])
    return Rejected(error_class, message, str(status), wait)


def error_of(rejected: Rejected) -> CounterfoilError:
    """The exception by which a read says the same."""
    if rejected.error_class in (ErrorClass.THROTTLED, ErrorClass.TRANSIENT):
        return TryAgain(rejected.message, rejected.retry_after)
    return Refused(rejected.message, rejected.error_class, rejected.code)


def _message(body: bytes) -> str:
    try:
        document: Any = read_json(body)
        return str(document["error"]["msg"])
    except (WireRefused, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")
