"""Interpretation of Stripe's answers, and the list of those that prove that a write did not happen.

Proofs that nothing happened, each only with the vendor's own error body: Stripe refuses before it writes, or rolls back.

- nothing was sent (`NotSent`): transient;
- 400, 402, 404, 405: refused for good; 401, 403: the key lacks the permission;
- 409 (except a key in use) and 429 `lock_timeout`: another call holds the object; 429: too many calls.

Stripe stores a refusal by the endpoint for a day. The same bytes and key then get it again, even after its cause is
gone. It does not store refused parameters, keys and rates.

`idempotency_error` means that this key was used with other parameters. An object may exist, so the class is
`already_done`: the caller then looks and compares.

No proofs: 409 `idempotency_key_in_use` (our own earlier call is still running), 424, every 5xx (a stored 500 is
repeated for a day, whatever happened), redirects, a 200 that cannot be read or holds an error, any answer
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
    """Return the object of a 200 if it has the requested kind and is no error, else None. A balance has no id."""
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
    return document if kind == "balance" or isinstance(document.get("id"), str) else None


def refusal_of(answer: Response) -> Rejected | None:
    """Return the refusal that an answer proves, or None."""
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
        message += " (Stripe repeats its first answer to this key; only another key is evaluated again)"
    wait = retry_after(answer.headers, datetime.now(UTC))
    return Rejected(error_class, message, code or str(error.get("decline_code") or kind), wait)


def error_of(rejected: Rejected) -> CounterfoilError:
    """Return the exception for the same refusal of a read."""
    if rejected.error_class in (ErrorClass.THROTTLED, ErrorClass.TRANSIENT, ErrorClass.CONFLICT):
        return TryAgain(rejected.message, rejected.retry_after)
    if rejected.error_class is ErrorClass.UNAUTHORIZED:
        return Misconfigured(f"Stripe does not accept the key: {rejected.message}")
    return Refused(rejected.message, rejected.error_class, rejected.code)


def describe(method: str, path: str, answer: Response) -> str:
    """Return the text of an answer that proves nothing. The vendor's support asks for the request id in it."""
    request = answer.headers.get("request-id", "without a request id")
    return f"{method} {path} answered {answer.status} ({request}): {answer.body[:200].decode('utf-8', 'replace')}"


def _error(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = read_json(body)
    except WireRefused:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) and isinstance(error.get("type"), str) else None
