"""The Stripe twin and localstripe, another double by other people, agree where both have the object.

localstripe has no credit notes, no prices, no drafts and no numbers; its invoices come from subscriptions to plans.
Where it is known to differ from the vendor (it refunds more than was paid, and answers 200 where
`error_if_incomplete` asks for 402) nothing is compared.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import stripe

from counterfoil.demo.ports import free_port
from tests.contract.stripe_twin_process import KEY, running_twin
from tests.patience import PATIENCE_SECONDS

# Its own main listens on every address and keeps its objects in the folder of temporary files.
LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
assert hasattr(resources.Store, "dump_to_disk")
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
GOOD, DECLINED, FAILING = "4242424242424242", "4000000000000002", "4000000000000341"


@pytest.fixture(scope="module")
def localstripe() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", LOCALSTRIPE, str(port)])
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            finally:
                connection.close()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def both(localstripe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as twin:
        other = stripe.StripeClient("sk_test_1", base_addresses={"api": localstripe}, max_network_retries=0)
        yield twin.client(KEY).v1, other.v1


def status_of(call: Any, *arguments: Any) -> int:
    """The status of an answer; 200 when the library takes it."""
    try:
        call(*arguments)
    except stripe.StripeError as error:
        return error.http_status or 0
    return 200


def payer(api: Any, number: str = GOOD) -> Any:
    who = api.customers.create({"name": "Acme", "email": "pay@acme.test", "metadata": {"erp": "42"}})
    card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    method = api.payment_methods.create({"type": "card", "card": card})
    api.payment_methods.attach(method.id, {"customer": who.id})
    return api.customers.update(who.id, {"invoice_settings": {"default_payment_method": method.id}})


def plan(api: Any, amount: int) -> str:
    product = api.products.create({"name": "Plan"})
    made = api.plans.create({"product": product.id, "amount": amount, "currency": "eur", "interval": "month"})
    assert (made.amount, made.interval, made.currency) == (amount, "month", "eur")
    return str(made.id)


def figures(invoice: Any) -> dict[str, Any]:
    names = ("status", "currency", "subtotal", "tax", "total", "amount_due", "amount_paid")
    lines = [(line.amount, line.currency, line.quantity) for line in invoice.lines.data]
    taxes = [(tax.amount, tax.inclusive) for tax in invoice.total_tax_amounts]
    return {
        **{name: invoice[name] for name in names},
        "lines": lines,
        "taxed": sum(amount for amount, _ in taxes),
    }


def customers(api: Any) -> list[Any]:
    made = api.customers.create({"email": "a@acme.test", "name": "Acme", "metadata": {"a": "1", "b": "2"}})
    changed = api.customers.update(made.id, {"description": "Big", "metadata": {"b": "", "c": "3"}})
    gone = api.customers.delete(made.id)
    return [made.name, made.email, made.metadata.to_dict(), changed.description, gone.deleted,
            status_of(api.customers.retrieve, "cus_none")]  # fmt: skip


def catalog(api: Any) -> list[Any]:
    product = api.products.create({"name": "Seats", "metadata": {"a": "1"}})
    rate = api.tax_rates.create(
        {"display_name": "VAT", "inclusive": False, "percentage": 7.7, "jurisdiction": "CH"}
    )
    read = api.tax_rates.retrieve(rate.id)
    return [product.name, product.active, rate.display_name, read.percentage, read.inclusive, read.jurisdiction,
            status_of(api.products.retrieve, "prod_none")]  # fmt: skip


def billed(api: Any, amount: int, quantity: int, percentage: float, extra: int) -> list[Any]:
    """A pending item and a subscription's first period on one invoice, with tax."""
    who = payer(api)
    rate = api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": percentage})
    item = api.invoice_items.create(
        {"customer": who.id, "amount": extra, "currency": "eur", "description": "Setup"}
    )
    made = api.subscriptions.create({"customer": who.id, "default_tax_rates": [rate.id],
                                     "items": [{"plan": plan(api, amount), "quantity": quantity}]})  # fmt: skip
    invoices = api.invoices.list({"customer": who.id}).data
    charges = api.charges.list({"customer": who.id}).data
    return [item.amount, item.description, made.status, [figures(one) for one in invoices],
            [(one.amount, one.amount_refunded, one.status, one.paid, one.captured) for one in charges],
            status_of(api.invoices.pay, invoices[0].id)]  # fmt: skip


def refunded(api: Any) -> list[Any]:
    who = payer(api)
    api.subscriptions.create({"customer": who.id, "items": [{"plan": plan(api, 5000)}]})
    charge = api.charges.list({"customer": who.id}).data[0].id
    first = api.refunds.create({"charge": charge, "amount": 1200})
    after = api.charges.retrieve(charge)
    rest = api.refunds.create({"charge": charge, "amount": 3800})
    done = api.charges.retrieve(charge)
    return [(first.amount, first.currency, first.status), (after.amount_refunded, after.refunded),
            rest.amount, (done.amount_refunded, done.refunded)]  # fmt: skip


def declined(api: Any) -> list[Any]:
    """A card that cannot be charged leaves an open invoice; one that cannot be attached is refused before."""
    who = payer(api, FAILING)
    made = api.subscriptions.create({"customer": who.id, "items": [{"plan": plan(api, 5000)}]})
    invoice = api.invoices.list({"customer": who.id}).data[0]
    card = {"number": DECLINED, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    method = api.payment_methods.create({"type": "card", "card": card})
    attached = status_of(api.payment_methods.attach, method.id, {"customer": who.id})
    return [attached, made.status, invoice.status, invoice.amount_paid,
            [one.status for one in api.charges.list({"customer": who.id}).data][-1:]]  # fmt: skip


def intended(api: Any) -> list[Any]:
    """Payments without an invoice: confirmed, declined, cancelled and refunded, with their balance transactions."""
    who = payer(api)
    form = {"amount": 5000, "currency": "eur", "customer": who.id}
    empty = api.payment_intents.create(form)
    ready = {**form, "payment_method": who.invoice_settings.default_payment_method}
    first, second = api.payment_intents.create(ready), api.payment_intents.create(ready)
    paid = api.payment_intents.confirm(first.id)
    gone = api.payment_intents.cancel(second.id)
    bad = payer(api, FAILING)
    failing = {**form, "customer": bad.id, "payment_method": bad.invoice_settings.default_payment_method}
    failed = api.payment_intents.create(failing)
    status = status_of(api.payment_intents.confirm, failed.id)
    error = api.payment_intents.retrieve(failed.id).last_payment_error
    charge = api.charges.list({"customer": who.id}).data[0]
    refund = api.refunds.create({"payment_intent": first.id, "amount": 1200})
    entries = [api.balance_transactions.retrieve(one.balance_transaction) for one in (charge, refund)]
    return [empty.status, first.status, paid.status, gone.status, status, error.code, error.message,
            status_of(api.payment_intents.confirm, first.id), status_of(api.payment_intents.cancel, first.id),
            status_of(api.payment_intents.retrieve, "pi_none"),
            [(one.amount, one.currency, one.type, one.reporting_category) for one in entries],
            [one.source for one in entries] == [charge.id, refund.id]]  # fmt: skip


def paid_out(api: Any) -> list[Any]:
    who = payer(api, "4000000000000077")
    api.payment_intents.create({"amount": 9000, "currency": "eur", "customer": who.id, "confirm": True,
                                "payment_method": who.invoice_settings.default_payment_method})  # fmt: skip
    made = api.payouts.create({"amount": 5000, "currency": "eur"})
    gone = api.payouts.cancel(made.id)
    names = ("amount", "currency", "automatic", "method", "type", "source_type")
    return [[made[name] for name in names], made.status, gone.status, status_of(api.payouts.cancel, made.id),
            status_of(api.payouts.retrieve, "po_none")]  # fmt: skip


def ended(api: Any) -> list[Any]:
    who = payer(api)
    made = api.subscriptions.create({"customer": who.id, "items": [{"plan": plan(api, 5000), "quantity": 2}]})
    length = made["items"].data[0].quantity
    leaving = api.subscriptions.update(made.id, {"cancel_at_period_end": True})
    return [made.status, length, leaving.cancel_at_period_end, api.subscriptions.cancel(made.id).status,
            status_of(api.subscriptions.retrieve, "sub_none"), status_of(api.invoices.retrieve, "in_none")]  # fmt: skip


@pytest.mark.parametrize("life", [customers, catalog, refunded, declined, intended, paid_out, ended])
def test_the_same_calls_have_the_same_outcome(both: tuple[Any, Any], life: Any) -> None:
    ours, theirs = both
    assert life(ours) == life(theirs)


@pytest.mark.parametrize(
    ("amount", "quantity", "percentage", "extra"),
    [
        (1000, 1, 20, 500),
        (1234, 3, 7.7, 99),
        (333, 7, 19, 1),
        (5, 11, 10, 15),
        (99999, 12, 8.25, 250),
        (50, 1, 0, 50),
    ],
)
def test_the_same_subscription_is_billed_the_same(
    both: tuple[Any, Any], amount: int, quantity: int, percentage: float, extra: int
) -> None:
    ours, theirs = both
    assert billed(ours, amount, quantity, percentage, extra) == billed(
        theirs, amount, quantity, percentage, extra
    )


def test_nothing_is_left_behind_in_the_checkout(both: tuple[Any, Any]) -> None:
    assert not list(Path(__file__).parents[2].glob("localstripe*"))


@pytest.mark.parametrize(
    ("type", "value", "country"),
    [("eu_vat", "DE123456789", "DE"), ("au_abn", "12345678912", "AU"), ("es_cif", "A12345678", "ES")],
)
def test_tax_ids_are_the_same(both: tuple[Any, Any], type: str, value: str, country: str) -> None:
    def life(api: Any) -> list[Any]:
        who = api.customers.create({"name": "Acme", "tax_id_data": [{"type": type, "value": value}]}).id
        first = api.customers.tax_ids.list(who).data[0]
        second = api.customers.tax_ids.create(who, {"type": "eu_vat", "value": "FR123456789"})
        gone = api.customers.tax_ids.delete(who, second.id)
        return [
            (first.type, first.value, first.country, first.customer == who), (second.country, second.object),
            (gone.deleted, gone.object), len(api.customers.tax_ids.list(who).data),
            api.customers.tax_ids.retrieve(who, first.id).value,
            status_of(api.customers.tax_ids.retrieve, who, second.id),
            status_of(api.customers.tax_ids.create, who, {"type": "eu_vat", "value": "1"}),
        ]  # fmt: skip

    ours, theirs = both
    assert life(ours) == life(theirs)
    assert life(ours)[0] == (type, value, country, True)
