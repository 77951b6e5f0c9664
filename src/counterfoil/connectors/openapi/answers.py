"""Interpretation of an API's answers by its settings: outcomes, refusals, pages and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from counterfoil.connectors.http import Response, retry_after
from counterfoil.connectors.openapi.render import MISSING, plain_text, value_at
from counterfoil.connectors.openapi.settings import (
    ErrorRule,
    FeedSettings,
    OperationSettings,
    RecordsSettings,
)
from counterfoil.connectors.sdk import (
    Accepted,
    Confirmed,
    Delivery,
    Json,
    Outcome,
    Page,
    Rejected,
    Unknown,
)
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.http_headers import SEVERAL_VALUES
from counterfoil.core.wire import WireRefused, read_json

# On a read every 4xx is a refusal, except those that ask for a later retry.
_READ_PROOFS = tuple(status for status in range(400, 500) if status not in (408, 425))

_CLASSES = {
    401: ErrorClass.UNAUTHORIZED,
    403: ErrorClass.UNAUTHORIZED,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.REFUSED,
    409: ErrorClass.CONFLICT,
    410: ErrorClass.NOT_FOUND,
    412: ErrorClass.CONFLICT,
    429: ErrorClass.THROTTLED,
}


def outcome_of(operation: OperationSettings, answer: Response) -> Outcome:
    """Return the outcome of a write. Only a listed refusal is `Rejected`, only a readable result is `Confirmed`."""
    rejected = _refusal(answer, operation.errors, operation.proofs)
    if rejected is not None:
        return rejected
    try:
        document = read_json(answer.body) if answer.body else None
    except WireRefused as error:
        return Unknown(f"{operation.operation_id} answered {answer.status}, which cannot be read: {error}")
    if answer.status == 202 and operation.job is not None:
        job = value_at(document, operation.job)
        if job is not MISSING:
            return Accepted(str(job))
    if 200 <= answer.status < 300:
        result = result_of(operation.result, document)
        if result is not None:
            return Confirmed(result)
    return Unknown(f"{operation.operation_id} answered {answer.status}: {answer.body[:200]!r}")


def _refusal(answer: Response, rules: Sequence[ErrorRule], proofs: Sequence[int]) -> Rejected | None:
    message = answer.body[:300].decode("utf-8", "replace")
    wait = retry_after(answer.headers, datetime.now(UTC))
    for rule in rules:
        if rule.status == answer.status and _matches(answer, rule):
            return Rejected(rule.error_class, message, str(answer.status), wait)
    if answer.status not in proofs:
        return None
    usual = ErrorClass.TRANSIENT if answer.status >= 500 else ErrorClass.INVALID
    return Rejected(_CLASSES.get(answer.status, usual), message, str(answer.status), wait)


def _matches(answer: Response, rule: ErrorRule) -> bool:
    if rule.pointer is None:
        text = answer.body.decode("utf-8", "replace")
    else:
        try:
            value = value_at(read_json(answer.body), rule.pointer)
        except WireRefused:
            return False
        if value is MISSING or value is None:
            return False
        text = str(value)
    return rule.contains is None or rule.contains.lower() in text.lower()


def document_of(answer: Response, rules: Sequence[ErrorRule] = ()) -> Json:
    """Return the body of a successful read. Raises TryAgain or Refused."""
    rejected = _refusal(answer, rules, _READ_PROOFS)
    if rejected is not None and rejected.error_class not in (ErrorClass.THROTTLED, ErrorClass.TRANSIENT):
        raise Refused(f"answered {answer.status}: {rejected.message}", rejected.error_class, rejected.code)
    if rejected is not None or not 200 <= answer.status < 300:
        wait = retry_after(answer.headers, datetime.now(UTC))
        raise TryAgain(f"answered {answer.status}: {answer.body[:200]!r}", wait)
    try:
        return read_json(answer.body)
    except WireRefused as error:
        raise TryAgain(f"the answer cannot be read: {error}") from error


def find_result(pointers: Mapping[str, str], item: Json) -> Confirmed | Unknown:
    result = result_of(pointers, item)
    if result is None:
        return Unknown(f"the item found by the look-up lacks one of {pointers}")
    return Confirmed(result)


def result_of(pointers: Mapping[str, str], document: Json) -> dict[str, Json] | None:
    """Return the values at all pointers, or None if one has no value."""
    result = {name: value_at(document, pointer) for name, pointer in pointers.items()}
    return None if any(value is MISSING or value is None for value in result.values()) else result


def items_of(call: RecordsSettings, document: Json) -> list[Json]:
    """Return the list in an answer. Raises Refused if there is none."""
    items = value_at(document, call.items)
    if not isinstance(items, list):
        raise Refused(f"there is no list at {call.items!r}")
    return items


def delivery_of(name: str, call: RecordsSettings, item: Json) -> Delivery:
    """Return an item of a feed or listing as a delivery. Raises Refused(INVALID) if it lacks one of the pointers."""
    id_, version = required_text(item, call.id), required_text(item, call.version)
    kind = required_text(item, call.type) if call.type.startswith("/") else call.type
    ext_id = f"{name}/{id_}/{version}"
    return Delivery(ext_id, kind, ext_id.encode(), item, parse_moment(item, call.occurred_at))


def build_page(feed: str, call: FeedSettings, document: Json, cursor: str | None, limit: int) -> Page:
    """Return a polled page. Raises Refused if it does not match the settings, Misconfigured if its cursor cannot move."""
    items = items_of(call, document)
    deliveries = [delivery_of(feed, call, item) for item in items]
    if call.next is not None:
        following = value_at(document, call.next)
        more = following is not MISSING and following not in (None, "", False)
        # Without a next page the cursor stays: later items appear behind it.
        return Page(deliveries, str(following) if more else cursor or "", more)
    if not items:
        return Page((), cursor or "")
    following = required_text(items[-1], call.next_item or "")
    more = call.limit is not None and len(items) >= limit
    if more and following == cursor:
        raise Misconfigured(
            f"feed {feed}: all {limit} items of a page have the cursor {cursor!r}; use larger pages or a finer cursor"
        )
    return Page(deliveries, following, more)


def identify(where: str, headers: Mapping[str, str], event: Json) -> str:
    """Return the text that a webhook's `id` or `type` points to: a header or a place in the body. Raises Refused."""
    if where.startswith("header:"):
        value = headers.get(where.removeprefix("header:").lower(), "")
        if not value:
            raise Refused(f"the delivery has no {where}", ErrorClass.INVALID)
        if SEVERAL_VALUES in value:
            raise Refused(f"the delivery has {where} twice with different values", ErrorClass.INVALID)
        return value
    return required_text(event, where)


def required_text(document: Json, pointer: str) -> str:
    """Return the plain value at a pointer as text. Raises Refused(INVALID)."""
    value = value_at(document, pointer)
    if value is MISSING or value is None or isinstance(value, dict | list):
        raise Refused(f"there is no plain value at {pointer!r}", ErrorClass.INVALID)
    return plain_text(value)


def parse_moment(document: Json, pointer: str | None) -> datetime | None:
    """Return the UTC time at a pointer: RFC 3339 text with a zone, or whole seconds since 1970. None for other values."""
    value = None if pointer is None else value_at(document, pointer)
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time.astimezone(UTC) if time is not None and time.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
