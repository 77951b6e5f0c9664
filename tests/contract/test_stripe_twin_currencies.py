"""The Stripe twin refuses the amounts and currencies that the vendor refuses, and rounds what the vendor rounds."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe

from counterfoil.connectors.sdk import Confirmed, Rejected, Request
from counterfoil.connectors.stripe import connect
from counterfoil.core.errors import ErrorClass
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.trial_stripe import ISSUE, body, config_of, customer, post

NOT_WHOLE = "invalid_charge_amount_no_decimal_compatible"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as twin:
        yield twin


def error(twin: Twin, path: str, **form: Any) -> Any:
    status, _, answer = twin.call("POST", path, urlencode(form))
    assert status == 400, answer
    return json.loads(answer)["error"]


@pytest.fixture
def api(twin: Twin) -> Any:
    """The vendor's own library."""
    return twin.client().v1


def refusal(call: Callable[..., Any], *arguments: Any) -> tuple[str | None, str | None, str]:
    """Return code, parameter and message of a request that the twin refuses."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call(*arguments)
    assert caught.value.error is not None
    return caught.value.code, caught.value.param, str(caught.value.error.message)


def invoice(twin: Twin, who: str, currency: str, amount: int, **line: Any) -> Any:
    id = post(twin, "/v1/invoices", customer=who, currency=currency)["id"]
    form = {"customer": who, "invoice": id, "currency": currency, "amount": amount, **line}
    post(twin, "/v1/invoiceitems", **form)
    return post(twin, f"/v1/invoices/{id}/finalize")


@pytest.mark.parametrize(
    ("currency", "good", "bad"), [("ugx", 500, 550), ("isk", 100, 101), ("kwd", 5120, 5124)]
)
def test_an_amount_that_is_no_multiple_of_the_step_is_refused(
    twin: Twin, currency: str, good: int, bad: int
) -> None:
    who = customer(twin)
    product = post(twin, "/v1/products", name="Plan")["id"]
    entry = f"/v1/customers/{who}/balance_transactions"
    assert post(twin, entry, amount=-good, currency=currency)["ending_balance"] == -good
    post(twin, entry, amount=good, currency=currency)
    post(twin, "/v1/prices", product=product, currency=currency, unit_amount=good)
    refusals = [
        error(twin, entry, amount=bad, currency=currency),
        error(twin, "/v1/prices", product=product, currency=currency, unit_amount=bad),
        error(twin, "/v1/invoiceitems", customer=who, currency=currency, amount=bad),
        error(twin, "/v1/invoiceitems", customer=who, currency=currency, unit_amount=bad),
    ]
    paid = invoice(twin, who, currency, 10 * good)
    refusals.append(error(twin, "/v1/credit_notes", invoice=paid["id"], amount=bad))
    post(twin, f"/v1/invoices/{paid['id']}/pay")
    refusals.append(error(twin, "/v1/credit_notes", invoice=paid["id"], amount=good, credit_amount=bad))
    charge = twin.json("GET", f"/v1/invoices/{paid['id']}")["charge"]
    refusals.append(error(twin, "/v1/refunds", charge=charge, amount=bad))
    expected = NOT_WHOLE if currency in ("ugx", "isk") else "parameter_invalid_integer"
    assert [refusal["code"] for refusal in refusals] == [expected] * len(refusals)
    assert post(twin, "/v1/refunds", charge=charge, amount=good)["amount"] == good


@pytest.mark.parametrize("currency", ["huf", "twd", "mga", "jpy", "usd"])
def test_other_currencies_take_every_whole_amount(twin: Twin, currency: str) -> None:
    assert invoice(twin, customer(twin), currency, 20_045)["amount_due"] == 20_045


@pytest.mark.parametrize("currency", ["iqd", "clf", "xau", "qqq", "us", ""])
def test_a_currency_that_the_vendor_does_not_bill_in_is_refused(twin: Twin, currency: str) -> None:
    who = customer(twin)
    refusal = error(twin, f"/v1/customers/{who}/balance_transactions", amount=100, currency=currency)
    assert "Invalid currency" in refusal["message"] or "Missing" in refusal["message"]


@pytest.mark.parametrize(
    ("percent", "due", "balance"), [("7.5", 1100, -25), ("2.4", 1000, 24), ("5", 1100, -50)]
)
def test_what_is_payable_of_a_fraction_is_rounded_and_the_rest_is_on_the_balance(
    twin: Twin, percent: str, due: int, balance: int
) -> None:
    who = customer(twin)
    rate = post(twin, "/v1/tax_rates", display_name="VAT", percentage=percent, inclusive="false")["id"]
    shown = invoice(twin, who, "ugx", 1000, **{"tax_rates[0]": rate})
    assert (shown["amount_due"], shown["ending_balance"]) == (due, balance)
    assert shown["total"] == due + balance
    assert twin.json("GET", f"/v1/customers/{who}")["balance"] == balance


@pytest.mark.parametrize(
    ("currency", "least"), [("eur", 50), ("huf", 17_500), ("jpy", 50), ("gbp", 30), ("sek", 300)]
)
def test_what_is_below_the_minimum_of_a_currency_is_not_collected(
    twin: Twin, currency: str, least: int
) -> None:
    who = customer(twin)
    small = invoice(twin, who, currency, least - 1)
    assert (small["status"], small["amount_due"], small["ending_balance"]) == ("paid", 0, least - 1)
    assert (small["payment_intent"], small["charge"]) == (None, None)
    assert invoice(twin, who, currency, 1)["amount_due"] == least
    assert invoice(twin, who, currency, least)["amount_due"] == least


# -- payments of their own


def payment(amount: int, currency: str) -> Any:
    return {"amount": amount, "currency": currency, "payment_method": "pm_card_visa", "confirm": True}


@pytest.mark.parametrize(
    ("currency", "least", "text"),
    [
        ("usd", 50, "0.50 usd"), ("eur", 50, "0.50 eur"), ("jpy", 50, "50 jpy"), ("gbp", 30, "0.30 gbp"),
        ("huf", 17_500, "175.00 huf"), ("sek", 300, "3.00 sek"),
    ],
)  # fmt: skip
def test_a_payment_below_the_minimum_of_its_currency_is_refused(
    api: Any, currency: str, least: int, text: str
) -> None:
    for amount in (1, least - 1):
        refused = refusal(api.payment_intents.create, payment(amount, currency))
        assert refused == ("amount_too_small", "amount", f"Amount must be at least {text}")
    assert api.payment_intents.create(payment(least, currency)).status == "succeeded"


@pytest.mark.parametrize(
    ("currency", "text"),
    [("eur", "999,999.99 eur"), ("usd", "999,999.99 usd"), ("jpy", "99,999,999 jpy")],
)
def test_a_payment_of_more_than_eight_digits_is_refused(api: Any, currency: str, text: str) -> None:
    refused = refusal(api.payment_intents.create, payment(100_000_000, currency))
    assert refused == ("amount_too_large", "amount", f"Amount must be no more than {text}")
    assert api.payment_intents.create(payment(99_999_999, currency)).status == "succeeded"


def test_a_refused_change_of_a_payment_changes_nothing(api: Any) -> None:
    intent = api.payment_intents.create({"amount": 5000, "currency": "usd"})
    for form, code in (
        ({"amount": 49}, "amount_too_small"),
        ({"amount": 100_000_000}, "amount_too_large"),
        ({"currency": "huf"}, "amount_too_small"),
        ({"amount": 29, "currency": "gbp"}, "amount_too_small"),
        ({"amount": 5050, "currency": "isk"}, NOT_WHOLE),
    ):
        assert refusal(api.payment_intents.update, intent.id, form)[0] == code
    same = api.payment_intents.retrieve(intent.id)
    assert (same.amount, same.currency) == (5000, "usd")
    changed = api.payment_intents.update(intent.id, {"amount": 30, "currency": "gbp"})
    assert (changed.amount, changed.currency) == (30, "gbp")
    assert api.payment_intents.update(intent.id, {"metadata": {"order": "7"}}).amount == 30


def test_a_payment_that_a_former_version_took_is_not_charged(tmp_path: Path) -> None:
    """Former versions took every amount. The intent is in the file of such a twin."""
    with running_twin(tmp_path / "twin.sqlite") as twin:
        id = twin.client().v1.payment_intents.create({"amount": 5000, "currency": "usd"}).id
    with contextlib.closing(sqlite3.connect(twin.state)) as file, file:
        (body,) = file.execute("select body from object where id = ?", (id,)).fetchone()
        small = json.dumps({**json.loads(body), "amount": 49})
        file.execute("update object set body = ? where id = ?", (small, id))
    with running_twin(twin.state) as twin:
        api = twin.client().v1
        refused = refusal(api.payment_intents.confirm, id, {"payment_method": "pm_card_visa"})
        assert refused[0] == "amount_too_small"
        assert api.payment_intents.cancel(id).status == "canceled"


def test_the_first_document_fixes_the_currency_of_a_customer(twin: Twin) -> None:
    who = customer(twin)
    product = post(twin, "/v1/products", name="Plan")["id"]
    price = post(twin, "/v1/prices", product=product, currency="usd", unit_amount=900,
                 **{"recurring[interval]": "month"})["id"]  # fmt: skip
    assert twin.json("GET", f"/v1/customers/{who}")["currency"] is None
    invoice(twin, who, "chf", 1000)
    assert twin.json("GET", f"/v1/customers/{who}")["currency"] == "chf"
    for path, form in (
        ("/v1/invoices", {"customer": who, "currency": "eur"}),
        ("/v1/invoiceitems", {"customer": who, "currency": "eur", "amount": 1000}),
        (f"/v1/customers/{who}/balance_transactions", {"currency": "eur", "amount": 1000}),
        ("/v1/subscriptions", {"customer": who, "items[0][price]": price}),
    ):
        assert "cannot combine currencies" in error(twin, path, **form)["message"]


async def test_a_refused_amount_is_proven_to_be_refused(twin: Twin) -> None:
    paid = invoice(twin, customer(twin), "ugx", 5000)
    connector = connect(config_of(twin))
    outcomes = [
        await connector.send(
            Request(ISSUE, f"k{n}", body(invoice=paid["id"], amount=n, currency="UGX")), 10.0
        )
        for n in (550, 500)
    ]
    await connector.close()
    assert isinstance(outcomes[0], Rejected)
    assert (outcomes[0].error_class, outcomes[0].code) == (ErrorClass.INVALID, NOT_WHOLE)
    assert isinstance(outcomes[1], Confirmed)
    assert outcomes[1].result["total"] == 500
