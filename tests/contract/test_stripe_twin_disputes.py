"""Inquiries of the Stripe twin that a refund ends, and disputes of one charge that follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.contract.stripe_money import HOUR, advance, paid, refusal, types
from tests.contract.stripe_twin_process import Twin, running_twin


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    process.control("POST", "reset")
    process.control("POST", "clock", {"stop": True})
    return process


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


def dispute(twin: Twin, charge: str, **more: Any) -> str:
    return str(twin.control("POST", "disputes", {"charge": charge, **more})["id"])


def decide(twin: Twin, id: str, *statuses: str) -> None:
    for status in statuses:
        twin.control("POST", "outcome", {"id": id, "status": status})


def status(api: Any, id: str) -> str:
    return str(api.disputes.retrieve(id).status)


def withdrawn(api: Any, id: str) -> int:
    """Return what a dispute has taken from the balance, with its fee."""
    return -sum(row.net for row in api.balance_transactions.list({"source": id}).data)


@pytest.mark.parametrize("answered", [False, True])
def test_a_full_refund_ends_an_inquiry_without_a_fee(twin: Twin, api: Any, answered: bool) -> None:
    charge = paid(api, "pm_card_createDisputeInquiry").id
    inquiry = api.disputes.list({"charge": charge}).data[0].id
    if answered:
        api.disputes.update(inquiry, {"evidence": {"receipt": "sent"}})
    api.refunds.create({"charge": charge})
    assert (status(api, inquiry), withdrawn(api, inquiry)) == ("charge_refunded", 0)
    assert types(api, "charge.dispute")[-2:] == ["charge.dispute.updated", "charge.dispute.closed"]
    closed = api.events.list({"type": "charge.dispute.closed"}).data[0].data.object
    assert (closed.id, closed.status) == (inquiry, "charge_refunded")


def test_an_inquiry_that_a_refund_ended_is_not_escalated(twin: Twin, api: Any) -> None:
    charge = paid(api, "pm_card_createDisputeInquiry").id
    inquiry = api.disputes.list({"charge": charge}).data[0].id
    api.refunds.create({"charge": charge})
    for word in ("needs_response", "warning_closed", "warning_under_review"):
        message = refusal(twin, "outcome", {"id": inquiry, "status": word})
        assert message == f"a dispute that is charge_refunded cannot become {word}"
    for call in (
        lambda: api.disputes.update(
            inquiry, {"evidence": {"uncategorized_text": "escalate_inquiry_evidence"}}
        ),
        lambda: api.disputes.close(inquiry),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            call()
        assert caught.value.code == "dispute_closed"
    advance(twin, 30 * 24 * HOUR)
    assert (status(api, inquiry), withdrawn(api, inquiry)) == ("charge_refunded", 0)


def test_a_bank_does_not_say_that_a_charge_was_refunded(twin: Twin, api: Any) -> None:
    inquiry = dispute(twin, paid(api).id, inquiry=True)
    assert "cannot become charge_refunded" in refusal(
        twin, "outcome", {"id": inquiry, "status": "charge_refunded"}
    )


def test_refunds_in_parts_end_an_inquiry_with_the_last_part(twin: Twin, api: Any) -> None:
    charge = paid(api).id
    inquiry = dispute(twin, charge, amount=4000, inquiry=True)
    api.refunds.create({"charge": charge, "amount": 9999})
    assert status(api, inquiry) == "warning_needs_response"
    api.refunds.create({"charge": charge, "amount": 1})
    assert status(api, inquiry) == "charge_refunded"


def test_a_pending_refund_ends_an_inquiry_when_it_succeeds(twin: Twin, api: Any) -> None:
    charge = paid(api, "pm_card_pendingRefund").id
    inquiry = dispute(twin, charge, inquiry=True)
    api.refunds.create({"charge": charge})
    assert status(api, inquiry) == "warning_needs_response"
    advance(twin, HOUR)
    assert status(api, inquiry) == "charge_refunded"


def test_a_pending_refund_that_fails_leaves_the_inquiry_open(twin: Twin, api: Any) -> None:
    twin.fault("pend_refund")
    twin.fault("fail_refund")
    charge = paid(api).id
    inquiry = dispute(twin, charge, inquiry=True)
    api.refunds.create({"charge": charge})
    advance(twin, HOUR)
    assert status(api, inquiry) == "warning_needs_response"
    decide(twin, inquiry, "needs_response")
    assert withdrawn(api, inquiry) == 11_500


def test_a_refund_by_a_credit_note_ends_an_inquiry(twin: Twin, api: Any) -> None:
    card = "pm_card_createDisputeInquiry"
    form = {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
    who = api.customers.create(form).id
    invoice = api.invoices.create({"customer": who, "currency": "eur"}).id
    api.invoice_items.create({"customer": who, "invoice": invoice, "amount": 900, "currency": "eur"})
    charge = api.invoices.pay(invoice).charge
    api.credit_notes.create({"invoice": invoice, "amount": 900, "refund_amount": 900})
    assert api.disputes.list({"charge": charge}).data[0].status == "charge_refunded"


def test_a_refund_does_not_end_a_chargeback(twin: Twin, api: Any) -> None:
    charge = paid(api).id
    api.refunds.create({"charge": charge})
    assert status(api, dispute(twin, charge)) == "needs_response"


@pytest.mark.parametrize(
    "end", [("warning_closed",), ("warning_under_review", "warning_closed"), ("needs_response", "won")]
)
def test_a_chargeback_follows_a_closed_inquiry(twin: Twin, api: Any, end: tuple[str, ...]) -> None:
    charge = paid(api, "pm_card_createDisputeInquiry").id
    inquiry = api.disputes.list({"charge": charge}).data[0].id
    decide(twin, inquiry, *end)
    later = dispute(twin, charge)
    assert (status(api, later), withdrawn(api, later), withdrawn(api, inquiry)) == (
        "needs_response",
        11_500,
        0,
    )
    decide(twin, later, "lost")
    assert "cannot be disputed" in refusal(twin, "disputes", {"charge": charge, "amount": 1})


def test_a_chargeback_follows_a_refund_that_ended_an_inquiry_and_failed(twin: Twin, api: Any) -> None:
    charge = paid(api, "pm_card_refundFail").id
    inquiry = dispute(twin, charge, inquiry=True)
    api.refunds.create({"charge": charge})
    assert status(api, inquiry) == "charge_refunded"
    advance(twin, HOUR)
    assert (api.charges.retrieve(charge).refunded, status(api, inquiry)) == (False, "charge_refunded")
    assert withdrawn(api, dispute(twin, charge)) == 11_500


def test_disputes_of_one_charge_follow_each_other_up_to_its_amount(twin: Twin, api: Any) -> None:
    charge = paid(api).id
    for _ in range(3):
        decide(twin, dispute(twin, charge), "won")
        decide(twin, dispute(twin, charge, inquiry=True), "warning_closed")
    decide(twin, dispute(twin, charge, amount=6000), "lost")
    assert "cannot be disputed" in refusal(twin, "disputes", {"charge": charge, "amount": 4001})
    last = dispute(twin, charge, amount=4000)
    assert "cannot be disputed" in refusal(twin, "disputes", {"charge": charge, "amount": 1, "inquiry": True})
    decide(twin, last, "won")
    assert dispute(twin, charge, amount=4000, inquiry=True) != last
    nets = [withdrawn(api, one.id) for one in api.disputes.list({"charge": charge, "limit": 100}).data]
    assert sorted(nets) == [0] * 8 + [7500]
