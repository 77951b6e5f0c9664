"""Bank debits of the Stripe twin: on their way for days, paid, refused, and returned weeks later; other movements of money."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.contract.stripe_money import DAY, advance, paid, refusal, types
from tests.contract.stripe_twin_process import Twin, running_twin

SUCCESS, FAILURE = "pm_success_de", "pm_failed_de"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    """An empty twin whose clock stands at noon."""
    process.control("POST", "reset")
    process.control("POST", "clock", {"stop": True})
    noon = process.control("GET", "state")["clock"] // DAY * DAY + DAY + DAY // 2
    process.control("POST", "clock", {"set": noon})
    return process


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


def debited(api: Any, account: str = SUCCESS) -> Any:
    """Return an invoice whose payment by a bank debit was submitted."""
    who = api.customers.create(
        {"payment_method": account, "invoice_settings": {"default_payment_method": account}}
    ).id
    invoice = api.invoices.create({"customer": who, "currency": "eur", "auto_advance": True}).id
    api.invoice_items.create({"customer": who, "invoice": invoice, "amount": 10_000, "currency": "eur"})
    return api.invoices.pay(invoice)


def entries(api: Any, source: str) -> list[tuple[str, str, int, int]]:
    """Return type, category, amount and fee of the transactions of an object, oldest first."""
    rows = api.balance_transactions.list({"source": source}).data
    return [(row.type, row.reporting_category, row.amount, row.fee) for row in reversed(rows)]


def balance(api: Any) -> tuple[int, int]:
    shown = api.balance.retrieve()
    available, pending = (sum(row.amount for row in rows) for rows in (shown.available, shown.pending))
    return available, pending


def test_a_debit_pays_its_invoice_days_later(twin: Twin, api: Any) -> None:
    invoice = debited(api)
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == ("open", 1, None)
    assert api.payment_intents.retrieve(invoice.payment_intent).status == "processing"
    charge = api.charges.retrieve(invoice.charge)
    assert (charge.status, charge.paid, charge.payment_method_details.type) == (
        "pending", False, "sepa_debit")  # fmt: skip
    assert entries(api, charge.id) == [("payment", "charge", 10_000, 80)]
    advance(twin, 4 * DAY - 1)
    assert api.invoices.retrieve(invoice.id).status == "open"
    assert balance(api) == (0, 9920)
    advance(twin, 1)
    done = api.invoices.retrieve(invoice.id)
    assert (done.status, done.amount_paid, done.amount_remaining) == ("paid", 10_000, 0)
    assert (api.charges.retrieve(charge.id).status, balance(api)) == ("succeeded", (0, 9920))
    advance(twin, DAY)
    assert balance(api) == (9920, 0)
    assert types(api, "charge.", "payment_intent.", "invoice.pa") == [
        "payment_intent.created", "charge.pending", "payment_intent.processing", "charge.succeeded",
        "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded",
    ]  # fmt: skip


def test_a_refused_debit_gives_money_and_fee_back_and_is_retried(twin: Twin, api: Any) -> None:
    invoice = debited(api, FAILURE)
    advance(twin, 4 * DAY)
    failed = api.charges.retrieve(invoice.charge)
    assert (failed.status, failed.failure_code, failed.paid) == ("failed", "could_not_process", False)
    assert entries(api, failed.id) == [
        ("payment", "charge", 10_000, 80), ("payment_failure_refund", "charge_failure", -10_000, -80),
    ]  # fmt: skip
    entry = api.balance_transactions.retrieve(failed.failure_balance_transaction)
    assert (entry.net, balance(api)) == (-9920, (0, 0))
    after = api.invoices.retrieve(invoice.id, {"expand": ["payment_intent"]})
    assert (after.status, after.next_payment_attempt - entry.created) == ("open", 3 * DAY)
    assert after.payment_intent.status == "requires_payment_method"
    assert after.payment_intent.last_payment_error.code == "could_not_process"
    assert types(api, "charge.f", "payment_intent.payment", "invoice.payment") == [
        "charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"]  # fmt: skip
    advance(twin, 3 * DAY)
    assert api.invoices.retrieve(invoice.id).charge != failed.id


def test_an_invoice_refuses_payments_while_a_debit_is_on_its_way(twin: Twin, api: Any) -> None:
    invoice = debited(api)
    for form in ({}, {"paid_out_of_band": True}, {"payment_method": "pm_card_visa"}):
        with pytest.raises(stripe.InvalidRequestError, match="processing"):
            api.invoices.pay(invoice.id, form)
    advance(twin, 30 * DAY)
    assert len(api.charges.list().data) == 1


def test_a_debit_of_a_voided_invoice_still_arrives(twin: Twin, api: Any) -> None:
    invoice = debited(api)
    api.invoices.void_invoice(invoice.id)
    advance(twin, 4 * DAY)
    after = api.invoices.retrieve(invoice.id)
    assert (after.status, after.amount_paid) == ("void", 0)
    assert api.charges.retrieve(invoice.charge).status == "succeeded"


def test_a_debit_is_returned_weeks_later_as_a_lost_dispute(twin: Twin, api: Any) -> None:
    twin.fault("return_debit", seconds=21 * DAY)
    invoice = debited(api)
    advance(twin, 25 * DAY - 1)
    assert api.disputes.list().data == []
    advance(twin, 1)
    dispute = api.disputes.list().data[0]
    assert (dispute.charge, dispute.status, dispute.reason, dispute.amount) == (
        invoice.charge, "lost", "insufficient_funds", 10_000)  # fmt: skip
    assert (dispute.evidence_details.due_by, dispute.is_charge_refundable) == (None, False)
    assert entries(api, dispute.id) == [("adjustment", "dispute", -10_000, 1500)]
    assert types(api, "charge.dispute.") == [
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed"]  # fmt: skip
    assert api.invoices.retrieve(invoice.id).status == "paid", "as at the vendor, the invoice stays paid"
    assert "cannot become won" in refusal(twin, "outcome", {"id": dispute.id, "status": "won"})


def test_a_bank_decides_a_debit_on_request(twin: Twin, api: Any) -> None:
    first, second = debited(api), debited(api)
    wrong = {"id": first.charge, "status": "failed", "failure_code": "bad mood"}
    assert "failure_code must be one of" in refusal(twin, "outcome", wrong)
    twin.control(
        "POST", "outcome", {"id": first.charge, "status": "failed", "failure_code": "account_closed"}
    )
    twin.control("POST", "outcome", {"id": second.charge, "status": "succeeded"})
    assert api.charges.retrieve(first.charge).failure_code == "account_closed"
    assert api.invoices.retrieve(second.id).status == "paid"
    assert "cannot become failed" in refusal(twin, "outcome", {"id": second.charge, "status": "failed"})
    assert "no inquiries" in refusal(twin, "disputes", {"charge": second.charge, "inquiry": True})
    twin.control("POST", "disputes", {"charge": second.charge, "amount": 500})
    assert api.disputes.list().data[0].status == "lost"


def test_a_requested_failure_comes_at_its_time(twin: Twin, api: Any) -> None:
    twin.fault("fail_debit", seconds=2 * DAY, failure_code="no_account")
    charge = debited(api).charge
    advance(twin, 2 * DAY)
    assert api.charges.retrieve(charge).failure_code == "no_account"


def test_the_balance_can_have_debits_from_their_success(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"debit_balance": "success"})
    failed, done = debited(api, FAILURE).charge, debited(api).charge
    assert (balance(api), api.charges.retrieve(done).balance_transaction) == ((0, 0), None)
    advance(twin, 4 * DAY)
    assert (balance(api), entries(api, failed)) == ((0, 9920), [])
    assert "debit_balance must be one of" in refusal(twin, "config", {"debit_balance": "never"})


def test_a_debit_is_refunded_only_after_its_success(twin: Twin, api: Any) -> None:
    charge = debited(api).charge
    with pytest.raises(stripe.InvalidRequestError):
        api.refunds.create({"charge": charge})
    advance(twin, 4 * DAY)
    refund = api.refunds.create({"charge": charge, "amount": 1000})
    assert entries(api, refund.id) == [("payment_refund", "refund", -1000, 0)]


@pytest.mark.parametrize(
    ("type", "field", "number", "failure"),
    [
        ("us_bank_account", "account_number", "000222222227", "insufficient_funds"),
        ("us_bank_account", "account_number", "000123456789", None),
        ("sepa_debit", "iban", "DE62370400440532013001", "could_not_process"),
        ("sepa_debit", "iban", "AT611904300234573201", None),
    ],
)
def test_a_bank_account_is_created_by_its_number(
    twin: Twin, api: Any, type: str, field: str, number: str, failure: str | None
) -> None:
    method = api.payment_methods.create({"type": type, type: {field: number}})
    assert (method.type, method[type].last4) == (type, number[-4:])
    form = {"amount": 900, "currency": "eur", "payment_method": method.id, "confirm": True}
    intent = api.payment_intents.create(form)
    assert (intent.status, intent.payment_method_types) == ("processing", [type])
    advance(twin, 4 * DAY)
    assert api.charges.retrieve(intent.latest_charge).failure_code == failure


def test_a_test_account_whose_debits_are_disputed(twin: Twin, api: Any) -> None:
    invoice = debited(api, "pm_disputed_de")
    advance(twin, 4 * DAY)
    assert api.invoices.retrieve(invoice.id).status == "paid"
    assert api.disputes.list({"charge": invoice.charge}).data[0].reason == "debit_not_authorized"


# -- fees and movements without an object


def test_the_fee_of_a_won_dispute_can_stay(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"dispute_fee": "kept"})
    charge = paid(api, "pm_card_bypassPending")
    id = twin.control("POST", "disputes", {"charge": charge.id, "amount": 4000})["id"]
    twin.control("POST", "outcome", {"id": id, "status": "won"})
    assert entries(api, id) == [
        ("adjustment", "dispute", -4000, 1500), ("adjustment", "dispute_reversal", 4000, 0)]  # fmt: skip
    assert balance(api) == (9680 - 1500, 0)


def test_fees_can_be_taxed(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"fee_tax": 19})
    charge = paid(api)
    entry = api.balance_transactions.retrieve(charge.balance_transaction)
    assert [(fee.type, fee.amount) for fee in entry.fee_details] == [("stripe_fee", 320), ("tax", 61)]
    assert (entry.fee, entry.net) == (381, 9619)
    assert "fee_tax must be" in refusal(twin, "config", {"fee_tax": "much"})


@pytest.mark.parametrize(
    ("type", "category"),
    [
        ("adjustment", "other_adjustment"), ("reserved_funds", "risk_reserved_funds"), ("stripe_fee", "fee"),
        ("tax_fee", "fee"),
    ],
)  # fmt: skip
def test_money_moves_without_an_object(twin: Twin, api: Any, type: str, category: str) -> None:
    form = {"type": type, "amount": -700, "currency": "eur", "description": "Monthly"}
    id = twin.control("POST", "movements", form)["id"]
    entry = api.balance_transactions.retrieve(id)
    assert (entry.type, entry.reporting_category, entry.net, entry.source, entry.description) == (
        type, category, -700, None, "Monthly")  # fmt: skip
    assert balance(api) == (-700, 0)
    for wrong in ({"type": "charge"}, {"amount": 0}, {"amount": "1"}, {"currency": "zzz"}):
        refusal(twin, "movements", {**form, **wrong})
    assert len(api.balance_transactions.list().data) == 1
