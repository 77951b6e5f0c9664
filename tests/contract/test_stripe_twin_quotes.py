"""Quotes of the Stripe twin become invoices, subscriptions and schedules, or end in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.stripe_twin_api import customer, refused
from tests.contract.stripe_twin_process import Twin, running_twin

DAY = 86_400


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


@pytest.fixture
def vat(api: Any) -> str:
    return str(api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19}).id)


@pytest.fixture
def setup(api: Any) -> dict[str, Any]:
    """A line of 250.00 EUR once."""
    product = api.products.create({"name": "Setup"}).id
    return {"price": api.prices.create({"product": product, "currency": "eur", "unit_amount": 25_000}).id}


@pytest.fixture
def seats(api: Any) -> dict[str, Any]:
    """A line of three seats at 9.00 EUR a month."""
    price = {"product": api.products.create({"name": "Seats"}).id, "currency": "eur", "unit_amount": 900,
             "recurring": {"interval": "month"}}  # fmt: skip
    return {"price": api.prices.create(price).id, "quantity": 3}


def opened(api: Any, *lines: dict[str, Any], **more: Any) -> Any:
    quote = api.quotes.create({"line_items": list(lines), **more})
    return api.quotes.finalize_quote(quote.id)


def events(api: Any, type: str) -> list[str]:
    return [event.type for event in reversed(api.events.list({"type": type, "limit": 100}).data)]


def test_a_quote_adds_up_what_is_due_first_and_each_period(
    api: Any, vat: str, setup: dict[str, Any], seats: dict[str, Any]
) -> None:
    quote = api.quotes.create({
        "customer": customer(api).id, "line_items": [{**setup, "tax_rates": [vat]}, seats],
        "expand": ["line_items"]})  # fmt: skip
    assert (quote.status, quote.number, quote.currency) == ("draft", None, "eur")
    assert (quote.amount_subtotal, quote.amount_total, quote.total_details.amount_tax) == (
        27_700,
        32_450,
        4750,
    )
    each = quote.computed.recurring
    assert (each.amount_total, each.interval, each.interval_count) == (2700, "month", 1)
    assert [(line.description, line.amount_subtotal, line.amount_tax) for line in quote.line_items.data] == [
        ("Setup", 25_000, 4750), ("Seats", 2700, 0)]  # fmt: skip
    assert quote.line_items.data[0].taxes[0].rate.id == vat
    later = api.quotes.update(quote.id, {"subscription_data": {"trial_period_days": 14}})
    assert (later.amount_total, later.computed.recurring.amount_total) == (29_750, 2700)
    assert [line.description for line in api.quotes.computed_upfront_line_items.list(quote.id).data] == [
        "Setup"
    ]
    kept = api.quotes.line_items.list(quote.id).data[1].id
    changed = api.quotes.update(
        quote.id, {"line_items": [{"id": kept, "quantity": 5}], "default_tax_rates": [vat]}
    )
    assert changed.computed.recurring.amount_total == 4500 + 855
    reverse = api.quotes.update(quote.id, {"customer": customer(api, tax_exempt="reverse").id})
    assert reverse.computed.recurring.amount_total == 4500


def test_a_quote_goes_from_draft_to_open_and_gets_its_number(
    api: Any, setup: dict[str, Any], seats: dict[str, Any]
) -> None:
    quote = api.quotes.create({})
    assert refused(api.quotes.finalize_quote, quote.id).param == "customer"
    who = customer(api)
    api.quotes.update(quote.id, {"customer": who.id})
    assert refused(api.quotes.finalize_quote, quote.id).param == "line_items"
    api.quotes.update(quote.id, {"line_items": [setup], "collection_method": "send_invoice"})
    assert refused(api.quotes.accept, quote.id).http_status == 400
    assert "days_until_due" in str(refused(api.quotes.finalize_quote, quote.id).user_message)
    api.quotes.update(quote.id, {"invoice_settings": {"days_until_due": 14}})
    open_ = api.quotes.finalize_quote(quote.id)
    assert (open_.status, open_.number) == ("open", f"QT-{who.invoice_prefix}-0001-1")
    assert refused(api.quotes.update, quote.id, {"line_items": [seats]}).http_status == 400
    assert (
        api.quotes.update(quote.id, {"expires_at": open_.expires_at + DAY}).expires_at
        == open_.expires_at + DAY
    )
    revised = api.quotes.create({"from_quote": {"quote": quote.id, "is_revision": True}})
    assert (revised.status, revised.amount_total, revised.from_quote.is_revision) == ("draft", 25_000, True)
    assert api.quotes.finalize_quote(revised.id).number == f"QT-{who.invoice_prefix}-0001-2"
    assert opened(api, seats, customer=who.id).number == f"QT-{who.invoice_prefix}-0002-1"


def test_a_quote_without_periods_becomes_a_draft_invoice(
    api: Any, twin: Twin, vat: str, setup: dict[str, Any]
) -> None:
    who = customer(api).id
    quote = opened(api, {**setup, "quantity": 2, "tax_rates": [vat]}, customer=who, metadata={"deal": "7"},
                   collection_method="send_invoice", invoice_settings={"days_until_due": 30})  # fmt: skip
    done = api.quotes.accept(quote.id)
    assert (done.status, done.subscription, done.status_transitions.accepted_at) == (
        "accepted", None, twin.control("GET", "state")["clock"])  # fmt: skip
    draft = api.invoices.retrieve(done.invoice)
    assert (draft.status, draft.total, draft.quote, draft.metadata.to_dict()) == (
        "draft", 59_500, quote.id, {"deal": "7"})  # fmt: skip
    assert api.invoices.finalize_invoice(draft.id).due_date == draft.created + 30 * DAY
    assert refused(api.quotes.accept, quote.id).http_status == 400
    assert refused(api.quotes.cancel, quote.id).http_status == 400
    assert events(api, "quote.*") == ["quote.created", "quote.finalized", "quote.accepted"]


def test_a_quote_with_periods_becomes_a_subscription_that_bills_what_it_offered(
    api: Any, vat: str, setup: dict[str, Any], seats: dict[str, Any]
) -> None:
    quote = opened(api, setup, seats, customer=customer(api).id, default_tax_rates=[vat])
    done = api.quotes.accept(quote.id)
    made = api.subscriptions.retrieve(done.subscription, {"expand": ["latest_invoice"]})
    assert (made.status, done.invoice, made["items"].data[0].quantity) == ("active", None, 3)
    assert (made.latest_invoice.total, made.latest_invoice.status) == (quote.amount_total, "paid")


def test_an_inline_price_is_offered_and_accepted(api: Any) -> None:
    data = {"currency": "eur", "product": api.products.create({"name": "Deal"}).id, "unit_amount": 4200,
            "recurring": {"interval": "year"}}  # fmt: skip
    quote = opened(api, {"price_data": data}, customer=customer(api).id)
    made = api.subscriptions.retrieve(api.quotes.accept(quote.id).subscription)
    assert made["items"].data[0].price.unit_amount == 4200


def test_a_quote_that_takes_effect_later_becomes_a_schedule(
    api: Any, twin: Twin, setup: dict[str, Any], seats: dict[str, Any]
) -> None:
    start = twin.control("GET", "state")["clock"] + 10 * DAY
    quote = opened(api, setup, seats, customer=customer(api).id,
                   subscription_data={"effective_date": start})  # fmt: skip
    done = api.quotes.accept(quote.id)
    assert (done.subscription, done.invoice) == (None, None)
    schedule = api.subscription_schedules.retrieve(done.subscription_schedule)
    assert (schedule.status, schedule.phases[0].start_date) == ("not_started", start)
    twin.control("POST", "clock", {"advance": 11 * DAY})
    started = api.subscription_schedules.retrieve(schedule.id, {"expand": ["subscription.latest_invoice"]})
    assert (started.status, started.subscription.latest_invoice.total) == ("active", 27_700)


def test_a_quote_that_is_not_accepted_in_time_is_canceled(
    api: Any, twin: Twin, setup: dict[str, Any]
) -> None:
    quote = opened(api, setup, customer=customer(api).id)
    assert quote.expires_at == quote.created + 30 * DAY
    draft = api.quotes.create({"expires_at": quote.created + 40 * DAY})
    twin.control("POST", "clock", {"advance": 30 * DAY + 1})
    late = api.quotes.retrieve(quote.id)
    assert (late.status, late.status_transitions.canceled_at) == ("canceled", quote.expires_at)
    assert refused(api.quotes.accept, quote.id).http_status == 400
    assert [one.id for one in api.quotes.list({"status": "draft"}).data] == [draft.id]
    assert api.quotes.cancel(draft.id).status == "canceled"
    assert events(api, "quote.canceled") == ["quote.canceled"] * 2


def test_the_prices_of_a_quote_agree(api: Any, setup: dict[str, Any], seats: dict[str, Any]) -> None:
    product = api.products.create({"name": "Other"}).id
    yearly = {"product": product, "currency": "eur", "unit_amount": 5, "recurring": {"interval": "year"}}
    for other in (yearly, {"product": product, "currency": "usd", "unit_amount": 5}):
        lines = [setup, seats, {"price": api.prices.create(other).id}]
        assert refused(api.quotes.create, {"line_items": lines}).param == "line_items"
