"""What Tryton's answers prove, and its typed JSON; the messages are those of trytond 8.0."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.connectors.tryton.codec import Number, decode, encode
from counterfoil.connectors.tryton.refusals import refusal_of, refusal_of_message
from counterfoil.core.errors import ErrorClass

MESSAGES = [
    (
        'To continue, you must reopen the period "2026-10" of company "Acme" for the date "10/23/2026".',
        ErrorClass.PERIOD_CLOSED,
        "2026-10",
    ),
    (
        'The value "2026-10" for field "Period" in record "(3)" of "Account Move" is not valid.',
        ErrorClass.PERIOD_CLOSED,
        "2026-10",
    ),
    (
        'To continue, you must create a period for the date "12/23/2029" and company "Acme".',
        ErrorClass.INVALID,
        "no_period",
    ),
    (
        'To number the invoice "[a]", you must set an invoice date after "01/19/2027" because the sequence ...',
        ErrorClass.INVALID,
        "document_date_too_early",
    ),
    ("The code on party must be unique.", ErrorClass.ALREADY_DONE, "duplicate_code"),
    (
        'You can not call "post" on "INV-2026-00001 [r1]" of "Account Invoice".',
        ErrorClass.ALREADY_DONE,
        "posted",
    ),
    ('You are not allowed to access "Party".', ErrorClass.UNAUTHORIZED, ""),
    (
        'The invoice "[r1]" does not have the default taxes for 1 u [SEAT] Seat @ [r1].',
        ErrorClass.WARNING,
        "invoice_taxes",
    ),
    ('The invoices "[fut]" have an invoice date in the future.', ErrorClass.WARNING, "invoice_date_future"),
    (
        'The invoice "INV-1 [late]" generates a payment date "11/22/2026" in the past.',
        ErrorClass.WARNING,
        "invoice_payment_term",
    ),
    ('A value is required for field "Account" in record "[zz]".', ErrorClass.INVALID, ""),
]


@pytest.mark.parametrize(
    ("message", "error_class", "code"), MESSAGES, ids=[code or cls for _, cls, code in MESSAGES]
)
def test_message_has_its_class_and_code(message: str, error_class: ErrorClass, code: str) -> None:
    answer = json.dumps({"status": 400, "message": message, "description": ""}).encode()
    refused = refusal_of(400, answer)
    assert refused is not None
    assert (refused.error_class, refused.code) == (error_class, code)
    assert message in str(refused)


def test_description_is_part_of_the_message() -> None:
    assert "Cancel them first." in str(refusal_of_message("The moves have invoices.", "Cancel them first."))


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (401, ErrorClass.UNAUTHORIZED),
        (403, ErrorClass.UNAUTHORIZED),
        (404, ErrorClass.NOT_FOUND),
        (413, ErrorClass.INVALID),
    ],
)
def test_statuses_from_before_the_transaction_prove_by_themselves(
    status: int, error_class: ErrorClass
) -> None:
    refused = refusal_of(status, b"<!doctype html>")
    assert refused is not None
    assert refused.error_class is error_class


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # trytond's page for any unexpected exception of a REST call, also for one after the commit
        (400, b"<!doctype html>\n<title>400 Bad Request</title>\n<p>Unable to get RPC method</p>"),
        (400, b""),
        (400, b'{"status": 400}'),
        (400, b'{"status": 200, "message": "fine"}'),
        (400, b'["UserError", ["message", "", null]]'),
        (500, b'{"status": 500, "message": "The code on party must be unique."}'),
        (503, b'{"status": 503, "message": "could not obtain lock"}'),
        (302, b""),
        (429, b""),
    ],
)
def test_other_answers_prove_nothing(status: int, body: bytes) -> None:
    assert refusal_of(status, body) is None


amounts = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12)
moments = st.datetimes(timezones=st.just(UTC))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(max_size=8)
    | amounts
    | st.dates()
    | moments,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_typed_values_survive_the_way_there_and_back(value: object) -> None:
    assert decode(encode(value)) == value


def test_quantity_is_written_digit_by_digit() -> None:
    assert encode({"quantity": Number(Decimal("0.1"))}) == b'{"quantity":0.1}'
    assert encode(Number(Decimal("1250.000000000000000001"))) == b"1250.000000000000000001"


def test_an_amount_keeps_its_scale() -> None:
    read = decode(b'{"__class__": "Decimal", "decimal": "300.00"}')
    assert str(read) == "300.00"


def test_dates_and_times_stay_different() -> None:
    assert decode(encode(date(2026, 11, 23))) == date(2026, 11, 23)
    at = decode(
        b'{"__class__":"datetime","year":2026,"month":11,"day":23,"hour":1,"minute":2,"second":3,"microsecond":4}'
    )
    assert at == datetime(2026, 11, 23, 1, 2, 3, 4, tzinfo=UTC)
