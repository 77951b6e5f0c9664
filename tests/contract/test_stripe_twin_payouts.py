"""The balance of the Stripe twin and its payouts, as the vendor's own library meets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.contract.stripe_money import DAY, HOUR, advance, paid, refusal, types
from tests.contract.stripe_twin_process import Twin, running_twin

FEE = 320
"""The fee of a charge of 100.00."""
MONDAY = 1_924_819_200
"""00:00 UTC of a Monday in the future."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    """An empty twin whose clock stands at noon of a Monday."""
    process.control("POST", "reset")
    process.control("POST", "clock", {"stop": True})
    process.control("POST", "clock", {"set": MONDAY + DAY // 2})
    return process


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


def amounts(api: Any, currency: str = "eur") -> tuple[int, int]:
    """Return the available and the pending amount of a currency."""
    balance = api.balance.retrieve()
    available, pending = (
        next(row.amount for row in rows if row.currency == currency)
        for rows in (balance.available, balance.pending)
    )
    return available, pending


def rows(api: Any, payout: str) -> list[tuple[str, int]]:
    """Return (type, net) of the transactions of an automatic payout, oldest first."""
    listed = api.balance_transactions.list({"payout": payout, "limit": 100}).data
    return [(row.type, row.net) for row in reversed(listed)]


def test_a_charge_is_available_two_days_later_less_its_fee(twin: Twin, api: Any) -> None:
    charge = paid(api)
    entry = api.balance_transactions.retrieve(charge.balance_transaction, {"expand": ["source"]})
    assert (entry.type, entry.reporting_category, entry.source.id) == ("charge", "charge", charge.id)
    assert (entry.amount, entry.fee, entry.net) == (10_000, FEE, 10_000 - FEE)
    assert (entry.status, entry.available_on) == ("pending", MONDAY + 2 * DAY)
    assert amounts(api) == (0, 9680)
    advance(twin, 2 * DAY)
    assert api.balance_transactions.retrieve(entry.id).status == "available"
    assert amounts(api) == (9680, 0)
    event = api.events.list({"type": "balance.available"}).data[0]
    assert event.data.object.available[0].amount == 9680


def test_one_card_skips_the_pending_balance(api: Any) -> None:
    paid(api, "pm_card_bypassPending")
    assert amounts(api) == (9680, 0)


def test_balance_transactions_are_listed_by_type_source_and_currency(api: Any) -> None:
    charge = paid(api)
    paid(api, currency="usd")
    refund = api.refunds.create({"charge": charge.id, "amount": 100})
    assert [row.source for row in api.balance_transactions.list({"type": "refund"}).data] == [refund.id]
    assert len(api.balance_transactions.list({"currency": "eur"}).data) == 2
    assert len(api.balance_transactions.list({"source": charge.id}).data) == 1
    assert len(api.balance_transactions.list({"created": {"gt": MONDAY + DAY}}).data) == 0


def test_a_manual_payout_takes_what_is_available_and_arrives(twin: Twin, api: Any) -> None:
    paid(api, "pm_card_bypassPending")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.payouts.create({"amount": 9681, "currency": "eur"})
    assert caught.value.code == "balance_insufficient"
    payout = api.payouts.create({"amount": 9000, "currency": "eur", "statement_descriptor": "ACME"})
    assert (payout.status, payout.automatic, payout.reconciliation_status) == (
        "pending", False, "not_applicable")  # fmt: skip
    assert payout.arrival_date == MONDAY + 2 * DAY
    assert amounts(api) == (680, 0)
    entry = api.balance_transactions.retrieve(payout.balance_transaction)
    assert (entry.type, entry.net, entry.source) == ("payout", -9000, payout.id)
    with pytest.raises(stripe.InvalidRequestError, match="only be filtered on automatic"):
        api.balance_transactions.list({"payout": payout.id})
    advance(twin, HOUR)
    assert api.payouts.retrieve(payout.id).status == "in_transit"
    twin.control("POST", "clock", {"set": payout.arrival_date})
    assert api.payouts.retrieve(payout.id).status == "paid"
    assert types(api, "payout.") == ["payout.created", "payout.updated", "payout.updated", "payout.paid"]


def test_weekends_delay_the_arrival(twin: Twin, api: Any) -> None:
    twin.control("POST", "clock", {"set": MONDAY + 4 * DAY})
    paid(api, "pm_card_bypassPending")
    assert api.payouts.create({"amount": 1, "currency": "eur"}).arrival_date == MONDAY + 8 * DAY
    soon = api.payouts.create({"amount": 1, "currency": "eur", "method": "instant"})
    advance(twin, HOUR)
    assert api.payouts.retrieve(soon.id).status == "paid"


def test_an_automatic_payout_contains_exactly_what_it_pays(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    charge = paid(api)
    api.refunds.create({"charge": charge.id, "amount": 1000})
    paid(api, currency="usd")
    advance(twin, 2 * DAY)
    payouts = api.payouts.list().data
    assert sorted((payout.currency, payout.amount) for payout in payouts) == [("eur", 8680), ("usd", 9680)]
    payout = next(payout for payout in payouts if payout.currency == "eur")
    assert (payout.automatic, payout.status, payout.created) == (True, "in_transit", MONDAY + 2 * DAY)
    assert payout.reconciliation_status == "completed"
    assert rows(api, payout.id) == [("charge", 9680), ("refund", -1000), ("payout", -8680)]
    listed = api.balance_transactions.list({"payout": payout.id, "expand": ["data.source"]}).data
    assert [row.source.object for row in listed] == ["payout", "refund", "charge"]
    assert amounts(api) == (0, 0)
    advance(twin, 3 * DAY)
    assert {payout.status for payout in api.payouts.list().data} == {"paid"}
    assert "payout.reconciliation_completed" in types(api, "payout.")


def test_a_payout_that_fails_comes_back_and_is_paid_out_again(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    twin.fault("fail_payout", failure_code="account_closed", match={"currency": "eur"})
    paid(api)
    twin.control("POST", "clock", {"set": MONDAY + 4 * DAY})
    failed = api.payouts.list({"status": "failed"}).data[0]
    assert (failed.failure_code, failed.failure_message) == (
        "account_closed", "The bank account has been closed")  # fmt: skip
    entry = api.balance_transactions.retrieve(failed.failure_balance_transaction)
    assert (entry.type, entry.reporting_category, entry.net) == ("payout_failure", "payout_reversal", 9680)
    assert types(api, "payout.")[-2:] == ["payout.updated", "payout.failed"]
    assert amounts(api) == (9680, 0)
    advance(twin, DAY)
    second = api.payouts.list().data[0]
    assert rows(api, second.id) == [("payout_failure", 9680), ("payout", -9680)]
    assert rows(api, failed.id) == [("charge", 9680), ("payout", -9680)]
    twin.control("POST", "clock", {"set": second.arrival_date})
    assert api.payouts.retrieve(second.id).status == "paid"


def test_a_paid_payout_can_still_fail_and_a_pending_one_be_cancelled(twin: Twin, api: Any) -> None:
    paid(api, "pm_card_bypassPending")
    first, second = (api.payouts.create({"amount": 4000, "currency": "eur"}).id for _ in range(2))
    cancelled = api.payouts.cancel(first)
    assert (cancelled.status, amounts(api)) == ("canceled", (5680, 0))
    entry = api.balance_transactions.retrieve(cancelled.failure_balance_transaction)
    assert (entry.type, entry.reporting_category) == ("payout_cancel", "payout_reversal")
    twin.control("POST", "outcome", {"id": second, "status": "paid"})
    with pytest.raises(stripe.InvalidRequestError):
        api.payouts.cancel(second)
    wrong = {"id": second, "status": "failed", "failure_code": "bad mood"}
    assert "failure_code must be one of" in refusal(twin, "outcome", wrong)
    twin.control("POST", "outcome", {"id": second, "status": "failed", "failure_code": "no_account"})
    assert (api.payouts.retrieve(second).failure_code, amounts(api)) == ("no_account", (9680, 0))
    assert "cannot become paid" in refusal(twin, "outcome", {"id": second, "status": "paid"})
    assert types(api, "payout.ca", "payout.pa", "payout.fa") == [
        "payout.canceled", "payout.paid", "payout.failed"]  # fmt: skip


def test_a_negative_balance_is_debited_from_the_bank(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    charge = paid(api, "pm_card_bypassPending")
    advance(twin, DAY)
    twin.control("POST", "disputes", {"charge": charge.id})
    assert amounts(api) == (-11_500, 0)
    advance(twin, DAY)
    debit = api.payouts.list().data[0]
    assert (debit.amount, debit.automatic) == (-11_500, True)
    assert rows(api, debit.id) == [("adjustment", -11_500), ("payout", 11_500)]
    assert amounts(api) == (0, 0)
    twin.control(
        "POST", "outcome", {"id": debit.id, "status": "failed", "failure_code": "debit_not_authorized"}
    )
    assert amounts(api) == (-11_500, 0)


def test_automatic_payouts_begin_when_they_are_switched_on(twin: Twin, api: Any) -> None:
    paid(api)
    paid(api, "pm_card_bypassPending")
    api.payouts.create({"amount": 1000, "currency": "eur"})
    twin.control("POST", "clock", {"set": MONDAY + 4 * DAY})
    assert "payouts must be one of" in refusal(twin, "config", {"payouts": "hourly"})
    twin.control("POST", "config", {"payouts": "daily"})
    advance(twin, DAY)
    payout = api.payouts.list({"status": "pending"}).data[0]
    assert rows(api, payout.id) == [
        ("charge", 9680),
        ("charge", 9680),
        ("payout", -1000),
        ("payout", -18_360),
    ]
    listed = api.payouts.list({"arrival_date": {"gt": MONDAY + 2 * DAY}}).data
    assert [one.id for one in listed] == [payout.id]
    assert api.payouts.update(payout.id, {"metadata": {"bank": "7"}}).metadata.to_dict() == {"bank": "7"}


@pytest.mark.parametrize(
    ("currency", "good", "bad"),
    [(code, 10, 11) for code in ("bhd", "jod", "kwd", "omr", "tnd")]
    + [("huf", 100, 110), ("twd", 100, 199), ("isk", 100, 50), ("ugx", 200, 150)],
)
def test_a_payout_that_is_no_multiple_of_the_step_is_refused(
    api: Any, currency: str, good: int, bad: int
) -> None:
    paid(api, "pm_card_bypassPending", 100_000, currency=currency)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.payouts.create({"amount": bad, "currency": currency})
    assert caught.value.param == "amount"
    assert caught.value.code in ("parameter_invalid_integer", "invalid_charge_amount_no_decimal_compatible")
    assert api.payouts.create({"amount": good, "currency": currency}).amount == good


@pytest.mark.parametrize(
    ("currency", "amount", "fee"),
    [
        ("kwd", 5120, 180), ("kwd", 5000, 180), ("kwd", 10, 30), ("bhd", 12_340, 390), ("jod", 1000, 60),
        ("omr", 99_990, 2930), ("tnd", 500, 50), ("isk", 100_000, 2900), ("ugx", 70_000, 2100), ("jpy", 5124, 179),
        ("huf", 20_045, 611), ("eur", 10_001, 320),
    ],
)  # fmt: skip
def test_fees_are_rounded_to_the_step_of_the_currency(api: Any, currency: str, amount: int, fee: int) -> None:
    charge = paid(api, amount=amount, currency=currency)
    entry = api.balance_transactions.retrieve(charge.balance_transaction)
    assert (entry.fee, entry.net) == (fee, amount - fee)
    assert entry.fee_details[0].amount == fee


@pytest.mark.parametrize("currency", ["kwd", "tnd", "isk", "ugx"])
def test_automatic_payouts_are_multiples_of_the_step(twin: Twin, api: Any, currency: str) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    twin.fault("dispute_charge", amount=777, match={"currency": currency})
    first = paid(api, "pm_card_bypassPending", 54_300, currency=currency)
    dispute = api.disputes.list({"charge": first.id}).data[0]
    paid(api, "pm_card_bypassPending", 71_900, currency=currency)
    assert "multiple of" in refusal(twin, "disputes", {"charge": first.id, "amount": 5})
    advance(twin, DAY)
    payout = api.payouts.list().data[0]
    step = 10 if currency in ("kwd", "tnd") else 100
    assert (dispute.amount % step, payout.amount % step) == (0, 0)
    assert sum(net for _, net in rows(api, payout.id)) == 0
    assert amounts(api, currency) == (0, 0)


@pytest.mark.parametrize("currency", ["huf", "twd"])
def test_what_is_left_beside_the_step_is_paid_out_later(twin: Twin, api: Any, currency: str) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    for _ in range(2):
        paid(api, "pm_card_bypassPending", 20_070, currency=currency)
        advance(twin, DAY)
    second, first = api.payouts.list().data
    # Each charge leaves 20070 less a fee of 612: 19458, and two of them 38916.
    assert (first.amount, second.amount) == (19_400, 19_500)
    assert rows(api, second.id) == [("charge", 19_458), ("payout", -19_500)]
    assert amounts(api, currency) == (16, 0)
    twin.control("POST", "outcome", {"id": first.id, "status": "failed"})
    advance(twin, DAY)
    assert (api.payouts.list().data[0].amount, amounts(api, currency)) == (19_400, (16, 0))


def test_a_debit_is_a_multiple_of_the_step_too(twin: Twin, api: Any) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    charge = paid(api, "pm_card_bypassPending", 20_070, currency="huf")
    advance(twin, DAY)
    twin.control("POST", "disputes", {"charge": charge.id})
    advance(twin, DAY)
    assert api.payouts.list().data[0].amount == -21_500
    assert amounts(api, "huf") == (-12, 0)
