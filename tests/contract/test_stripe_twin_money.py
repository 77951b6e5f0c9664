"""Payments, refunds and disputes of the Stripe twin, as the vendor's own library meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from counterfoil.twins.stripe.cards import CARDS
from counterfoil.twins.stripe.charges import DECLINE_CODES, HARD_DECLINES
from tests.contract.stripe_money import DAY, HOUR, advance, paid, refusal, types
from tests.contract.stripe_twin_process import Twin, running_twin


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


def payer(api: Any, card: str = "pm_card_visa") -> str:
    form = {"name": "Acme", "payment_method": card, "invoice_settings": {"default_payment_method": card}}
    return str(api.customers.create(form).id)


def draft(api: Any, who: str, amount: int = 10_000) -> str:
    invoice = api.invoices.create({"customer": who, "currency": "eur", "auto_advance": True})
    api.invoice_items.create({"customer": who, "invoice": invoice.id, "amount": amount, "currency": "eur"})
    return str(invoice.id)


# -- invoices: attempts to pay


def test_a_soft_decline_is_retried_until_the_invoice_is_paid(twin: Twin, api: Any) -> None:
    twin.fault("decline_charge", decline_code="insufficient_funds", times=2)
    id = draft(api, payer(api))
    advance(twin, HOUR)
    first, now = api.invoices.retrieve(id), twin.control("GET", "state")["clock"]
    assert (first.status, first.attempted, first.attempt_count) == ("open", True, 1)
    assert first.next_payment_attempt == now + 3 * DAY
    advance(twin, 3 * DAY)
    second = api.invoices.retrieve(id)
    assert (second.attempt_count, second.next_payment_attempt) == (2, now + 8 * DAY)
    advance(twin, 5 * DAY)
    third = api.invoices.retrieve(id)
    assert (third.status, third.attempt_count, third.next_payment_attempt) == ("paid", 3, None)
    charges = api.charges.list({"payment_intent": third.payment_intent}).data
    assert [charge.status for charge in charges] == ["succeeded", "failed", "failed"]
    assert charges[1].outcome.type == "issuer_declined"
    assert charges[1].failure_message == "Your card has insufficient funds."
    assert types(api, "invoice.pa", "charge.", "payment_intent.") == [
        "payment_intent.created",
        *["charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"] * 2,
        "charge.succeeded", "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded",
    ]  # fmt: skip


def test_after_a_hard_decline_only_another_card_is_charged(twin: Twin, api: Any) -> None:
    twin.fault("decline_charge", decline_code="stolen_card")
    who = payer(api)
    id = draft(api, who)
    advance(twin, HOUR)
    first = api.invoices.retrieve(id, {"expand": ["payment_intent"]})
    assert first.payment_intent.last_payment_error.decline_code == "stolen_card"
    with pytest.raises(stripe.CardError):
        api.invoices.pay(id, {"payment_method": "pm_card_visa_chargeDeclinedLostCard"})
    advance(twin, 3 * DAY)
    second = api.invoices.retrieve(id)
    assert (second.status, second.attempt_count) == ("open", 2)
    assert second.next_payment_attempt > first.next_payment_attempt
    assert len(api.charges.list().data) == len(types(api, "invoice.payment_failed")) == 2
    api.customers.update(who, {"invoice_settings": {"default_payment_method": "pm_card_visa"}})
    advance(twin, 5 * DAY)
    assert api.invoices.retrieve(id).status == "paid"
    assert [charge.status for charge in api.charges.list().data] == ["succeeded", "failed", "failed"]


def test_retries_end_and_leave_the_invoice_open(twin: Twin, api: Any) -> None:
    id = draft(api, payer(api, "pm_card_chargeCustomerFail"))
    advance(twin, 25 * DAY)
    invoice = api.invoices.retrieve(id)
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == ("open", 4, None)
    assert len(types(api, "invoice.payment_failed")) == 4


def test_a_manual_attempt_leaves_the_schedule_of_retries_alone(twin: Twin, api: Any) -> None:
    id = draft(api, payer(api, "pm_card_chargeCustomerFail"))
    advance(twin, HOUR)
    before = api.invoices.retrieve(id)
    with pytest.raises(stripe.CardError):
        api.invoices.pay(id, {"payment_method": "pm_card_chargeDeclinedExpiredCard"})
    after = api.invoices.retrieve(id)
    assert (after.attempt_count, after.next_payment_attempt) == (1, before.next_payment_attempt)
    assert [charge.failure_code for charge in api.charges.list().data] == ["expired_card", "card_declined"]
    assert api.invoices.pay(id, {"payment_method": "pm_card_visa"}).attempt_count == 1


def test_an_invoice_that_a_request_finalizes_is_charged_an_hour_later(twin: Twin, api: Any) -> None:
    invoice = api.invoices.finalize_invoice(draft(api, payer(api)))
    advance(twin, HOUR - 1)
    assert api.invoices.retrieve(invoice.id).attempted is False
    advance(twin, 1)
    assert api.invoices.retrieve(invoice.id).status == "paid"


def test_the_payment_intent_of_an_invoice_pays_the_invoice(twin: Twin, api: Any) -> None:
    invoice = api.invoices.finalize_invoice(draft(api, payer(api)))
    with pytest.raises(stripe.CardError) as caught:
        api.payment_intents.confirm(invoice.payment_intent, {"payment_method": "pm_card_chargeDeclined"})
    error: Any = caught.value
    assert error.json_body["error"]["payment_intent"]["status"] == "requires_payment_method"
    assert api.invoices.retrieve(invoice.id).attempt_count == 1
    with pytest.raises(stripe.InvalidRequestError):
        api.payment_intents.cancel(invoice.payment_intent)
    api.payment_intents.confirm(invoice.payment_intent, {"payment_method": "pm_card_visa"})
    assert api.invoices.retrieve(invoice.id).status == "paid"


def subscribed(api: Any) -> Any:
    product = api.products.create({"name": "Plan"}).id
    form = {"product": product, "currency": "eur", "unit_amount": 3000, "recurring": {"interval": "month"}}
    price = api.prices.create(form).id
    return api.subscriptions.create({"customer": payer(api), "items": [{"price": price}]})


def test_a_renewal_that_is_declined_softly_recovers(twin: Twin, api: Any) -> None:
    made = subscribed(api)
    twin.fault("decline_charge", decline_code="insufficient_funds")
    twin.control("POST", "clock", {"set": made.current_period_end + HOUR})
    assert api.subscriptions.retrieve(made.id).status == "past_due"
    advance(twin, 3 * DAY)
    after = api.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    assert (after.status, after.latest_invoice.status, after.latest_invoice.attempt_count) == (
        "active", "paid", 2)  # fmt: skip


def test_a_renewal_that_is_declined_hard_ends_the_subscription_after_one_charge(twin: Twin, api: Any) -> None:
    made = subscribed(api)
    twin.fault("decline_charge", decline_code="lost_card")
    twin.control("POST", "clock", {"set": made.current_period_end + HOUR})
    advance(twin, 15 * DAY)
    after = api.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    assert (after.status, after.cancellation_details.reason) == ("canceled", "payment_failed")
    assert (after.latest_invoice.status, after.latest_invoice.attempt_count) == ("open", 4)
    assert [charge.status for charge in api.charges.list().data] == ["failed", "succeeded"]


# -- payment intents of their own


def test_a_payment_intent_is_confirmed_declined_and_paid_with_another_card(api: Any) -> None:
    intent = api.payment_intents.create({"amount": 5000, "currency": "eur", "metadata": {"order": "7"}})
    assert intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        api.payment_intents.confirm(intent.id)
    assert missing.value.code == "payment_intent_unexpected_state"
    for card, code, decline in (
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ):
        changed = api.payment_intents.update(intent.id, {"payment_method": card})
        assert changed.status == "requires_confirmation"
        with pytest.raises(stripe.CardError) as caught:
            api.payment_intents.confirm(intent.id)
        declined = api.payment_intents.retrieve(intent.id)
        assert (caught.value.code, declined.last_payment_error.decline_code) == (code, decline)
        assert declined.status == "requires_payment_method"
    done = api.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert (done.status, done.amount_received, done.last_payment_error) == ("succeeded", 5000, None)
    assert api.charges.retrieve(done.latest_charge).metadata.to_dict() == {"order": "7"}
    with pytest.raises(stripe.InvalidRequestError):
        api.payment_intents.cancel(intent.id)


def test_a_payment_intent_is_cancelled(api: Any) -> None:
    intent = api.payment_intents.create({"amount": 5000, "currency": "eur", "payment_method": "pm_card_visa"})
    done = api.payment_intents.cancel(intent.id, {"cancellation_reason": "duplicate"})
    assert (done.status, done.cancellation_reason) == ("canceled", "duplicate")
    with pytest.raises(stripe.InvalidRequestError):
        api.payment_intents.confirm(intent.id)


def test_a_decline_on_request_matches_customers_and_lets_others_pay(twin: Twin, api: Any) -> None:
    unlucky, other = payer(api), payer(api)
    twin.fault("decline_charge", match={"customer": unlucky, "currency": "eur"}, times=2)
    form = {"amount": 500, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True}
    assert api.payment_intents.create({**form, "customer": other}).status == "succeeded"
    assert api.payment_intents.create({**form, "customer": unlucky, "currency": "usd"}).status == "succeeded"
    with pytest.raises(stripe.CardError) as caught:
        api.payment_intents.create({**form, "customer": unlucky})
    assert caught.value.code == "card_declined"
    assert twin.control("GET", "state")["faults"][0]["left"] == 1


# -- refunds


def test_a_partial_refund_moves_the_balance_without_its_fee(api: Any) -> None:
    charge = paid(api)
    refund = api.refunds.create({"charge": charge.id, "amount": 4000, "reason": "duplicate"})
    after = api.charges.retrieve(charge.id)
    assert (refund.status, after.amount_refunded, after.refunded) == ("succeeded", 4000, False)
    entry = api.balance_transactions.retrieve(refund.balance_transaction)
    assert (entry.type, entry.reporting_category, entry.amount, entry.fee, entry.net, entry.source) == (
        "refund", "refund", -4000, 0, -4000, refund.id)  # fmt: skip
    api.refunds.create({"payment_intent": charge.payment_intent})
    assert api.charges.retrieve(charge.id).refunded is True
    assert types(api, "charge.refund", "refund.") == ["charge.refunded", "refund.created"] * 2


def test_a_refund_that_fails_later_gives_the_money_back(twin: Twin, api: Any) -> None:
    charge = paid(api, "pm_card_refundFail")
    refund = api.refunds.create({"charge": charge.id, "amount": 4000})
    assert refund.status == "succeeded"
    advance(twin, HOUR)
    failed = api.refunds.retrieve(refund.id, {"expand": ["failure_balance_transaction"]})
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    entry = failed.failure_balance_transaction
    assert (entry.type, entry.reporting_category, entry.net) == ("refund_failure", "refund_failure", 4000)
    assert api.charges.retrieve(charge.id).amount_refunded == 0
    assert sum(row.net for row in api.balance_transactions.list({"source": refund.id}).data) == 0
    assert types(api, "charge.refund", "refund.") == [
        "charge.refunded", "refund.created", "charge.refund.updated", "refund.updated",
    ]  # fmt: skip
    event = api.events.list({"type": "refund.updated"}).data[0]
    assert event.data.previous_attributes.to_dict() == {
        "status": "succeeded", "failure_reason": None, "failure_balance_transaction": None}  # fmt: skip
    assert api.refunds.create({"charge": charge.id}).amount == 10_000


def test_a_pending_refund_succeeds_later(twin: Twin, api: Any) -> None:
    refund = api.refunds.create({"charge": paid(api, "pm_card_pendingRefund").id})
    assert (refund.status, api.charges.retrieve(refund.charge).refunded) == ("pending", True)
    advance(twin, HOUR)
    assert api.refunds.retrieve(refund.id).status == "succeeded"


def test_refunds_of_any_card_wait_and_fail_on_request(twin: Twin, api: Any) -> None:
    twin.fault("pend_refund")
    twin.fault("fail_refund", failure_reason="lost_or_stolen_card", seconds=5 * DAY)
    charge = paid(api)
    refund = api.refunds.create({"charge": charge.id, "amount": 100})
    assert refund.status == "pending"
    advance(twin, 5 * DAY - 1)
    assert api.refunds.retrieve(refund.id).status == "pending"
    advance(twin, 1)
    assert api.refunds.retrieve(refund.id).failure_reason == "lost_or_stolen_card"
    assert api.refunds.create({"charge": charge.id, "amount": 100}).status == "succeeded"


def test_a_person_decides_the_outcome_of_a_refund(twin: Twin, api: Any) -> None:
    refund = api.refunds.create({"charge": paid(api).id, "amount": 100})
    assert "cannot become pending" in refusal(twin, "outcome", {"id": refund.id, "status": "pending"})
    wrong = {"id": refund.id, "status": "failed", "failure_reason": "bad mood"}
    assert "failure_reason must be one of" in refusal(twin, "outcome", wrong)
    assert api.refunds.retrieve(refund.id).status == "succeeded"
    twin.control("POST", "outcome", {"id": refund.id, "status": "failed", "failure_reason": "declined"})
    assert api.refunds.retrieve(refund.id).failure_reason == "declined"
    assert "cannot become failed" in refusal(twin, "outcome", {"id": refund.id, "status": "failed"})
    assert "must be that of a charge, refund" in refusal(
        twin, "outcome", {"id": "re_none", "status": "failed"}
    )


# -- disputes


def test_a_dispute_withdraws_its_amount_and_a_fee_and_a_won_one_brings_both_back(api: Any) -> None:
    charge = paid(api, "pm_card_createDispute")
    assert charge.disputed is True
    dispute = api.disputes.list({"charge": charge.id}).data[0]
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "fraudulent", 10_000)
    assert (dispute.is_charge_refundable, dispute.payment_intent) == (False, charge.payment_intent)
    entry = dispute.balance_transactions[0]
    assert (entry.type, entry.reporting_category, entry.source) == ("adjustment", "dispute", dispute.id)
    assert (entry.amount, entry.fee, entry.net) == (-10_000, 1500, -11_500)
    assert entry.fee_details[0].description == "Dispute fee"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.refunds.create({"charge": charge.id})
    assert caught.value.code == "charge_disputed"
    staged = api.disputes.update(dispute.id, {"evidence": {"product_description": "Seats"}, "submit": False})
    assert (staged.status, staged.evidence_details.submission_count) == ("needs_response", 0)
    won = api.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    assert (won.status, won.evidence_details.submission_count) == ("won", 1)
    back = won.balance_transactions[1]
    assert (back.reporting_category, back.amount, back.fee, back.net) == (
        "dispute_reversal", 10_000, -1500, 11_500)  # fmt: skip
    assert types(api, "charge.dispute") == [
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated",
        "charge.dispute.updated", "charge.dispute.updated", "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]  # fmt: skip
    with pytest.raises(stripe.InvalidRequestError):
        api.disputes.close(dispute.id)
    assert api.refunds.create({"charge": charge.id}).status == "succeeded"


def test_a_dispute_over_part_of_a_charge_is_lost(twin: Twin, api: Any) -> None:
    charge = paid(api)
    form = {"charge": charge.id, "amount": 2500, "reason": "product_unacceptable"}
    dispute = twin.control("POST", "disputes", form)
    assert (dispute["amount"], dispute["reason"]) == (2500, "product_unacceptable")
    assert "cannot be disputed" in refusal(twin, "disputes", {"charge": charge.id, "amount": 7501})
    assert "No such charge" in refusal(twin, "disputes", {"charge": "ch_none"})
    lost = api.disputes.close(dispute["id"])
    assert (lost.status, len(lost.balance_transactions)) == ("lost", 1)
    assert sum(row.net for row in api.balance_transactions.list({"source": lost.id}).data) == -4000
    assert types(api, "charge.dispute")[-1] == "charge.dispute.closed"


def test_an_inquiry_moves_no_money_until_it_is_escalated(api: Any) -> None:
    charge = paid(api, "pm_card_createDisputeInquiry")
    inquiry = api.disputes.list({"payment_intent": charge.payment_intent}).data[0]
    assert (inquiry.status, inquiry.is_charge_refundable) == ("warning_needs_response", True)
    assert inquiry.balance_transactions == []
    assert "charge.dispute.funds_withdrawn" not in types(api, "charge.dispute")
    api.refunds.create({"charge": charge.id, "amount": 100})
    evidence = {"evidence": {"uncategorized_text": "escalate_inquiry_evidence"}}
    escalated = api.disputes.update(inquiry.id, evidence)
    assert (escalated.status, escalated.is_charge_refundable) == ("needs_response", False)
    assert escalated.balance_transactions[0].net == -11_500
    assert types(api, "charge.dispute")[-1] == "charge.dispute.funds_withdrawn"


def test_an_answered_inquiry_is_closed(api: Any) -> None:
    paid(api, "pm_card_createDisputeInquiry")
    inquiry = api.disputes.list().data[0].id
    assert api.disputes.update(inquiry, {"evidence": {"receipt": "sent"}}).status == "warning_under_review"
    evidence = {"evidence": {"uncategorized_text": "losing_evidence"}}
    assert api.disputes.update(inquiry, evidence).status == "warning_closed"


@pytest.mark.parametrize(
    ("card", "status"),
    [("createDisputeProductNotReceived", "lost"), ("createDisputeInquiry", "warning_closed")],
)
def test_a_dispute_without_an_answer_ends_at_its_deadline(
    twin: Twin, api: Any, card: str, status: str
) -> None:
    paid(api, f"pm_card_{card}")
    dispute = api.disputes.list().data[0]
    twin.control("POST", "clock", {"set": dispute.evidence_details.due_by})
    assert api.disputes.retrieve(dispute.id).status == dispute.status
    advance(twin, 1)
    ended = api.disputes.retrieve(dispute.id)
    assert (ended.status, ended.evidence_details.past_due) == (status, True)


def test_the_bank_disputes_the_next_charge_on_request(twin: Twin, api: Any) -> None:
    twin.fault("dispute_charge", amount=700, reason="duplicate", match={"currency": "eur"})
    invoice = api.invoices.pay(draft(api, payer(api)))
    dispute = api.disputes.list({"charge": invoice.charge}).data[0]
    assert (dispute.amount, dispute.reason, dispute.status) == (700, "duplicate", "needs_response")
    twin.control("POST", "outcome", {"id": dispute.id, "status": "under_review"})
    twin.control("POST", "outcome", {"id": dispute.id, "status": "won"})
    assert "cannot become lost" in refusal(twin, "outcome", {"id": dispute.id, "status": "lost"})
    assert paid(api).disputed is False


def test_faults_of_money_with_impossible_fields_are_refused(twin: Twin) -> None:
    for wrong in (
        {"kind": "dispute_charge", "amount": 0}, {"kind": "dispute_charge", "reason": "bad mood"},
        {"kind": "fail_refund", "seconds": -1}, {"kind": "fail_refund", "failure_reason": "bad mood"},
        {"kind": "fail_payout", "failure_code": "bad mood"}, {"kind": "decline_charge", "decline_code": "card_declined"},
        {"kind": "decline_charge", "decline_code": 51},
    ):  # fmt: skip
        refusal(twin, "faults", wrong)
    assert twin.control("GET", "state")["faults"] == []


def test_a_decline_code_is_one_of_the_vendors(twin: Twin) -> None:
    message = refusal(twin, "faults", {"kind": "decline_charge", "decline_code": "bad mood"})
    assert message == f"decline_code must be one of {', '.join(DECLINE_CODES)}"
    assert set(DECLINE_CODES) >= {*HARD_DECLINES, *(card.decline for card in CARDS.values() if card.decline)}
    for code in DECLINE_CODES:
        twin.fault("decline_charge", decline_code=code)
    assert len(twin.control("GET", "state")["faults"]) == len(DECLINE_CODES)


def test_the_money_is_still_there_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "twin.sqlite"
    with running_twin(state) as first:
        first.control("POST", "clock", {"stop": True})
        refund = first.client().v1.refunds.create(
            {"charge": paid(first.client().v1, "pm_card_refundFail").id}
        )
        balance = first.json("GET", "/v1/balance")
    with running_twin(state) as second:
        assert second.json("GET", "/v1/balance") == balance
        advance(second, HOUR)
        assert second.client().v1.refunds.retrieve(refund.id).status == "failed"
