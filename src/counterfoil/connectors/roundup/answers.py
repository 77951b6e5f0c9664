"""Interpretation of Roundup's answers.

Its REST layer answers 400 to every unexpected exception, also to one in the middle of a commit. The text of that answer
proves nothing.
"""

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
    """Return the `data` object of a good answer, or None if there is none."""
    try:
        document = read_json(body)
    except WireRefused:
        return None
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, dict) else None


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> Rejected | None:
    """Return the refusal that an answer proves, or None. Header names are lower case."""
    message = _message(body)
    error_class = _CLASSES.get(status)
    if error_class is None or _UNEXPECTED in message:
        return None
    wait = retry_after(headers, datetime.now(UTC))
    if wait is None and (match := _WAIT.search(message)):
        # A lock-out after wrong passwords has its time only in the text.
        wait = float(match[1])
    return Rejected(error_class, message, str(status), wait)


def error_of(rejected: Rejected) -> CounterfoilError:
    """Return the exception for the same refusal of a read."""
    if rejected.error_class in (ErrorClass.THROTTLED, ErrorClass.TRANSIENT):
        return TryAgain(rejected.message, rejected.retry_after)
    return Refused(rejected.message, rejected.error_class, rejected.code)


def _message(body: bytes) -> str:
    try:
        document: Any = read_json(body)
        return str(document["error"]["msg"])
    except (WireRefused, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")
