"""What Stripe's answers mean, and which of them prove that a write did not happen.

Proofs of non-execution, each only with the vendor's own error body, because Stripe refuses before it writes or
rolls back:

- nothing was sent (`NotSent`): transient;
- 400, 402, 404, 405: refused for good; 401, 403: the key may not;
- 409 (except a key in use) and 429 `lock_timeout`: another call had the object; 429: too many calls.

Stripe remembers a refusal of the endpoint itself for a day as well, so the same bytes and key get it again even
after its cause is gone; refused parameters, keys and rates it does not remember.

`idempotency_error` says that this key was used with other parameters: something may be there, so it is
`already_done`, which makes the caller look and compare.

No proofs: 409 `idempotency_key_in_use` (our own earlier call is still running), 424, every 5xx (a stored 500 is
answered again for a day, whatever happened), redirects, a 200 that cannot be read or holds an error, any answer
without the vendor's error body (a proxy's), a lost answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from counterfoil.connectors.http import Response, retry_after
from counterfoil.connectors.sdk import Json, Rejected
from counterfoil.core.errors import CounterfoilError, ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.wire import WireRefused, read_json

_CLASSES = {
    400: ErrorClass.REFUSED,
    401: ErrorClass.UNAUTHORIZED,
    402: ErrorClass.REFUSED,
    403: ErrorClass.UNAUTHORIZED,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.INVALID,
    409: ErrorClass.CONFLICT,
    429: ErrorClass.THROTTLED,
}
_CODES = {
    "resource_missing": ErrorClass.NOT_FOUND,
    "resource_already_exists": ErrorClass.ALREADY_DONE,
    "lock_timeout": ErrorClass.CONFLICT,
}
_BAD_INPUT = ("parameter_", "url_", "amount_", "invalid_", "email_", "property_")


def read_object(answer: Response, kind: str) -> dict[str, Json] | None:
    """The object of a 200, when it is one of the kind asked for and no error."""
    if answer.status != 200:
        return None
    try:
        document = read_json(answer.body)
    except WireRefused:
        return None
    if not isinstance(document, dict) or "error" in document or document.get("object") != kind:
        return None
    if kind == "list":
        return document if isinstance(document.get("data"), list) else None
    return document if isinstance(document.get("id"), str) else None


def refusal_of(answer: Response) -> Rejected | None:
    """The refusal that an answer proves, or None when it proves none."""
    error_class = _CLASSES.get(answer.status)
    error = _error(answer.body)
    if error_class is None or error is None:
        return None
    code, kind = str(error.get("code") or ""), str(error["type"])
    if code == "idempotency_key_in_use":
        return None
    if kind == "idempotency_error":
        error_class, code = ErrorClass.ALREADY_DONE, kind
    elif code in _CODES:
        error_class = _CODES[code]
    elif answer.status == 400 and code.startswith(_BAD_INPUT):
        error_class = ErrorClass.INVALID
    message = str(error.get("message") or "no message")
    if param := error.get("param"):
        message = f"{message} ({param})"
    if answer.headers.get("idempotent-replayed") == "true":
        message += " (Stripe's first answer to this key, repeated: only another key is looked at anew)"
    wait = retry_after(answer.headers, datetime.now(UTC))
    return Rejected(error_class, message, code or str(error.get("decline_code") or kind), wait)


def error_of(rejected: Rejected) -> CounterfoilError:
    """The exception by which a read says the same."""
    if rejected.error_class in (ErrorClass.THROTTLED, ErrorClass.TRANSIENT, ErrorClass.CONFLICT):
        return TryAgain(rejected.message, rejected.retry_after)
    if rejected.error_class is ErrorClass.UNAUTHORIZED:
        return Misconfigured(f"Stripe does not accept the key: {rejected.message}")
    return Refused(rejected.message, rejected.error_class, rejected.code)


def describe(method: str, path: str, answer: Response) -> str:
    """An answer that proves nothing, for a person; the request id is what the vendor's support asks for."""
    request = answer.headers.get("request-id", "without a request id")
    return f"{method} {path} answered {answer.status} ({request}): {answer.body[:200].decode('utf-8', 'replace')}"


def _error(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = read_json(body)
    except WireRefused:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) and isinstance(error.get("type"), str) else None
