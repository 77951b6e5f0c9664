"""Cases in plain words: no raw text of a system or a library, names instead of ids, amounts with separators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from counterfoil.core import ids
from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import CATALOGUE, reason_row
from counterfoil.core.cases import open_case
from counterfoil.core.errors import ErrorClass
from counterfoil.web.api.case_words import explain_case, grouped, with_names

AT = datetime(2026, 11, 30, tzinfo=UTC)
CREDIT = ids.canonical_id("credit", "billing", "", "cn_1")
RAW = "HTTPSConnectionPool(host='erp', port=443): Max retries exceeded; Traceback {'code': 4890}"


def said(reason: str, message: str, **more: Any) -> str:
    case = open_case(
        reason, id="case_1", message=message, owners=("finance",), at=AT, choices=(Choice.DISMISS,), **more
    )
    return explain_case(case, {CREDIT: "CN-77"})


@pytest.mark.parametrize("reason", [*ErrorClass, "unknown", "accepted"])
def test_a_call_is_told_by_system_and_document_without_its_raw_text(reason: str) -> None:
    for message in (f"erp.credit_memo.post: {reason}: {RAW}", f"erp.credit_memo.post: {reason}"):
        text = said(reason, message, effect="eff_1")
        assert text.startswith("ERP ")
        assert "post the credit memo" in text
        assert text.endswith(".")
        assert not any(part in text for part in ("Pool", "Traceback", "{", "_", "4890"))


@pytest.mark.parametrize("reason", [reason for reason in CATALOGUE if reason.startswith("undo_")])
def test_an_undo_is_told_by_its_title(reason: str) -> None:
    assert said(reason, f"Undo of grant: {RAW}") == f"{reason_row(reason).title}."


@pytest.mark.parametrize(
    "reason", ["mapping_failed", "cast_failed", "routing_failed", "fetch_refused", "result_unreadable"]
)
def test_a_text_of_a_library_is_not_repeated(reason: str) -> None:
    assert said(reason, f"evt_1: mapping m, fetch: {RAW}") == f"{reason_row(reason).title}."


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("failed", "check0: failed: Only open invoices can be credited", "Only open invoices can be credited."),
        ("failed", f"check0: failed: {CREDIT} was already done once", "A check of the workflow failed."),
        ("invalid", "approve: invalid: No exchange rate from EUR to USD is on file", "No exchange rate from EUR to USD is on file."),
        ("invalid", "check0: invalid: no such key: 'open' in {'total': 4}", "A value or the request is invalid."),
        ("invalid", f"The facts of the Run cannot be read: {RAW}", "A value or the request is invalid."),
        ("unknown", "The outcome of erp.invoice.post is unknown", "ERP gave no answer when it was asked to post the invoice. It may or may not have been done."),
        ("unreachable", f"help_desk: {RAW}", "Help desk or its connector cannot be reached."),
        ("usage_past", "Usage of 27062.50 USD was not counted on 2026-11-30", "Usage of 27,062.50 USD was not counted on 2026-11-30."),
        ("invalid", "erp.credit_memo.post: invalid: unknown_account: the ERP has no account '4890'", "ERP did not post the credit memo: the ERP has no account '4890'."),
        ("conflict", f"erp.credit_memo.post: conflict: duplicate_reference: several documents have the reference {CREDIT}", "ERP did not post the credit memo: several documents have the reference CN-77."),
        ("invalid", "erp.credit_memo.post: invalid: input: {'total': Decimal('4')}", "ERP did not post the credit memo: a value or a record is invalid."),
        ("foil_broken", f"billing shows credit {CREDIT} (gross 12345.00 USD)", "Billing shows credit CN-77 (gross 12,345.00 USD)."),
        ("transient", f"crm.customer.sync_address: transient: {RAW}", "CRM did not carry out “customer sync address” for a technical reason, and the retries are used up."),
    ],
)  # fmt: skip
def test_what_happened_is_a_sentence(reason: str, message: str, expected: str) -> None:
    assert said(reason, message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("evt_1: no mapping takes payment_intent.created of billing", "No mapping takes payment_intent.created of billing."),
        ("evt_1: invoice.finalized.v1 is used by nothing", "invoice.finalized.v1 is used by nothing."),
    ],
)  # fmt: skip
def test_a_delivery_is_told_without_its_id(message: str, expected: str) -> None:
    assert said("unrouted", message, receipt=7) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("approval of 27062.50 USD by cfo", "approval of 27,062.50 USD by cfo"),
        ("1000 JPY and 999 JPY, 1234567.891 KWD", "1,000 JPY and 999 JPY, 1,234,567.891 KWD"),
        ("27,062.50 USD stays", "27,062.50 USD stays"),
        ("in 2026 UTC counts", "in 2026 UTC counts"),
        ("2026-11-30 12:00 UTC", "2026-11-30 12:00 UTC"),
        ("invoice 20261130 of 2026 is due, -4500.00 EUR", "invoice 20261130 of 2026 is due, -4,500.00 EUR"),
        ("no. A-12345 USD, 0.12345 USD", "no. A-12345 USD, 0.12345 USD"),
    ],
)
def test_amounts_in_a_text_have_separators(text: str, expected: str) -> None:
    assert grouped(text) == expected


def test_only_known_ids_are_replaced() -> None:
    other = ids.canonical_id("credit", "billing", "", "cn_2")
    assert with_names(f"Find {CREDIT}, not {other}", {CREDIT: "CN-77"}) == f"Find CN-77, not {other}"
