"""Interpretation of Tryton's refusals, and the list of answers that prove that a write did not happen.

Proofs that nothing happened: in each case the transaction had not started, or is rolled back.

- nothing was sent (`NotSent`);
- 401: the key is checked before a model is touched;
- 403: no right to the model, button or action;
- 404: no such database or record;
- 413: the body is larger than the server accepts;
- 400 with a JSON body of `status` and `message`: a user error or a warning raised inside the transaction.

No proofs: every other 400 (an HTML page saying "Unable to get RPC method" is what trytond answers to *any*
unexpected exception of a REST call, also to one of a task that runs after the commit), every 5xx (a 503 may
come from such a task as well), a lost or unreadable answer.

Messages are matched in English: the connector requests that language with every call.
"""

from __future__ import annotations

import re

from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.wire import WireRefused

from .codec import decode

WARNINGS = {
    "invoice_taxes": re.compile(r"does not have the default taxes for"),
    "invoice_date_future": re.compile(r"have an invoice date in the future"),
    "invoice_payment_term": re.compile(r"generates a payment date .* in the past"),
    "invoice_similar": re.compile(r'^The invoice ".*" is similar to invoice'),
}
"""Warnings of postings, by the name under which Tryton stores their answers."""

TOO_EARLY = "document_date_too_early"
"""Code of the refusal of a document that is dated before the last numbered one of its kind."""

WRITE_OFF_WARNING = "delete.write-off"
"""Name of the warning before a reconciliation with a write-off is taken back."""

_WARNINGS = WARNINGS | {WRITE_OFF_WARNING: re.compile(r"is linked to the write-off line")}

_MESSAGES: tuple[tuple[re.Pattern[str], ErrorClass, str], ...] = (
    (re.compile(r'you must reopen the (?:period|fiscal year) "([^"]+)"'), ErrorClass.PERIOD_CLOSED, ""),
    (re.compile(r'in closed period "([^"]+)"'), ErrorClass.PERIOD_CLOSED, ""),
    (re.compile(r'^The value "([^"]+)" for field "Period" in record'), ErrorClass.PERIOD_CLOSED, ""),
    (re.compile(r'on closed journal-period "(?:.* - )?([^"]+)"'), ErrorClass.PERIOD_CLOSED, ""),
    (re.compile(r"you must create a (?:period|fiscal year) for"), ErrorClass.INVALID, "no_period"),
    (re.compile(r"you must set an invoice date after"), ErrorClass.INVALID, TOO_EARLY),
    (re.compile(r"must equal the source value"), ErrorClass.INVALID, "total_mismatch"),
    (re.compile(r"exceeds the limit of"), ErrorClass.INVALID, "too_many_digits"),
    (re.compile(r"^The code on party must be unique"), ErrorClass.ALREADY_DONE, "duplicate_code"),
    (re.compile(r'^You can ?not call "post" on'), ErrorClass.ALREADY_DONE, "posted"),
    (re.compile(r"^You are not allowed to"), ErrorClass.UNAUTHORIZED, ""),
    (re.compile(r"already reconciled line"), ErrorClass.CONFLICT, "reconciled"),
    (re.compile(r"amount on invoice .* can not be greater"), ErrorClass.CONFLICT, "amount_exceeds_open"),
    (re.compile(r"payment lines on paid invoice"), ErrorClass.CONFLICT, "paid"),
)


def refusal_of(status: int, body: bytes) -> Refused | None:
    """Return the refusal that an answer proves, or None."""
    if status == 401:
        return Refused("the ERP does not accept the application key", ErrorClass.UNAUTHORIZED, "key")
    if status == 403:
        message = "the user of the application key has no right to do this in the ERP"
        return Refused(message, ErrorClass.UNAUTHORIZED, "right")
    if status == 404:
        return Refused("the ERP has no such database or record", ErrorClass.NOT_FOUND)
    if status == 413:
        return Refused("the request is larger than the ERP accepts", ErrorClass.INVALID, "too_large")
    if status != 400:
        return None
    try:
        error = decode(body)
    except WireRefused:
        return None
    if not isinstance(error, dict) or error.get("status") != 400 or not isinstance(error.get("message"), str):
        return None
    return refusal_of_message(error["message"], error.get("description") or "")


def refusal_of_message(message: str, description: str = "") -> Refused:
    """Return the refusal for a user error or warning of Tryton. For a closed period the code is its name."""
    text = f"{message} {description}".strip()
    for name, pattern in _WARNINGS.items():
        if pattern.search(message):
            return Refused(text, ErrorClass.WARNING, name)
    for pattern, error_class, code in _MESSAGES:
        if match := pattern.search(message):
            return Refused(text, error_class, code or (match[1] if match.groups() else ""))
    return Refused(text, ErrorClass.INVALID)
