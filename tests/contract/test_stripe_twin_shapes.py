"""Every kind of object that the Stripe twin shows has the shape that the vendor's OpenAPI description gives it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import stripe
import yaml

from counterfoil.twins.stripe.event_types import EVENT_TYPES, METER_TYPES
from tests.contract.stripe_twin_process import Twin, running_twin

DESCRIPTION = Path(__file__).parents[2] / "../shared/suites/specs/stripe-2023-08-16.yaml.gz"
BEYOND = {"product": {"type"}}
"""Fields that the vendor's answers of this version have and its description leaves out."""
YOUNGER = {"billing.meter"}
"""Objects that this version's description does not have."""
DELETED = {"customer": "deleted_customer", "product": "deleted_product", "invoiceitem": "deleted_invoiceitem",
           "invoice": "deleted_invoice", "webhook_endpoint": "deleted_webhook_endpoint",
           "tax_id": "deleted_tax_id"}  # fmt: skip


@pytest.fixture(scope="module")
def schemas() -> Any:
    if not DESCRIPTION.exists():
        pytest.skip("the vendor's OpenAPI description is not beside this checkout")
    text = gzip.decompress(DESCRIPTION.read_bytes()).decode()
    part = text[text.index("\n  schemas:\n") : text.index("\n  securitySchemes:\n")]
    # Four megabytes of YAML: the parser in C reads them in one second instead of ten.
    return yaml.load(part, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["schemas"]


@pytest.fixture(scope="module")
def event_types(schemas: Any) -> set[str]:
    """The types of events that an endpoint of this version can ask for."""
    text = gzip.decompress(DESCRIPTION.read_bytes()).decode()
    words = re.search(r"^ +enum:\n +- '\*'\n((?: +- [a-z_.]+\n)+)", text, re.M)
    assert words is not None
    types = set(words[1].replace("- ", "").split())
    assert {"invoice.paid", "customer.tax_id.created"} <= types
    return types


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON Schema's words; references stay within `$defs`."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {
        name: as_json_schema(value)
        for name, value in node.items()
        if name not in ("nullable", "description", "example") and not name.startswith("x-")
    }
    if "$ref" in made:
        made = {"$ref": made["$ref"].replace("#/components/schemas/", "#/$defs/")}
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


@pytest.fixture(scope="module")
def validators(schemas: Any) -> dict[str, Any]:
    kinds = {"list", "search_result"}
    definitions = {name: as_json_schema(schema) for name, schema in schemas.items()}
    return {
        name: jsonschema_rs.validator_for({"$ref": f"#/$defs/{name}", "$defs": definitions})
        for name in (*ANSWERS, *DELETED.values(), "balance")
        if name not in kinds
    }


ANSWERS = (
    "tax_id", "quote", "item", "subscription_schedule", "account",
    "customer", "customer_balance_transaction", "product", "price", "tax_rate", "subscription", "subscription_item",
    "invoiceitem", "invoice", "line_item", "credit_note", "credit_note_line_item", "refund", "charge",
    "payment_intent", "payment_method", "event", "webhook_endpoint", "balance_transaction", "dispute", "payout",
)  # fmt: skip


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        lived_through(running)
        yield running


def offers(api: Any, who: str, once: str, weekly: str, rate: str) -> None:
    """Quotes in every state, and tax ids."""
    for value in ("DE000000000", "AT222222222"):
        api.customers.tax_ids.create(who, {"type": "eu_vat", "value": value})
    lines = [{"price": once, "quantity": 900, "tax_rates": [rate]}, {"price": weekly, "quantity": 2}]
    fields = {"customer": who, "line_items": lines, "default_tax_rates": [rate]}
    kinds: list[dict[str, Any]] = [
        {},
        {},
        {},
        {},
        {"line_items": lines[:1]},
        {"subscription_data": {"trial_period_days": 9}},
    ]
    made = [api.quotes.create({**fields, **more}).id for more in kinds]
    for id in made[1:]:
        api.quotes.finalize_quote(id)
    api.quotes.cancel(made[2])
    for id in made[3:]:
        api.quotes.accept(id)


def plans(twin: Twin, api: Any, who: str, product: str, once: str, rate: str) -> None:
    """Subscription schedules in every state."""
    daily = api.prices.create({"product": product, "currency": "eur", "unit_amount": 900,
                               "recurring": {"interval": "day"}}).id  # fmt: skip
    phases = [
        {"items": [{"price": daily, "quantity": 2}], "iterations": 2, "default_tax_rates": [rate],
         "add_invoice_items": [{"price": once, "quantity": 1000}]},
        {"items": [{"price": daily, "quantity": 5, "tax_rates": [rate]}]},
    ]  # fmt: skip
    fields = {"customer": who, "phases": phases, "end_behavior": "cancel"}
    later = twin.control("GET", "state")["clock"] + 90 * 86_400
    api.subscription_schedules.create(fields)
    api.subscription_schedules.create({**fields, "phases": phases[1:]})
    api.subscription_schedules.create({**fields, "start_date": later})
    api.subscription_schedules.release(api.subscription_schedules.create(fields).id)
    api.subscription_schedules.cancel(api.subscription_schedules.create(fields).id)
    twin.control("POST", "clock", {"advance": 2 * 86_400})
    api.subscription_schedules.create({**fields, "phases": [{**phases[0], "iterations": 300}]})


def usage(twin: Twin, api: Any, who: str, product: str) -> None:
    """A metered price with usage, billed once."""
    meter = api.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    recurring = {"interval": "day", "usage_type": "metered", "meter": meter.id}
    price = api.prices.create(
        {"product": product, "currency": "eur", "unit_amount": 90, "recurring": recurring}
    )
    api.subscriptions.create({"customer": who, "items": [{"price": price.id}]})
    api.billing.meter_events.create(
        {"event_name": "calls", "payload": {"stripe_customer_id": who, "value": "7"}}
    )
    twin.control("POST", "clock", {"advance": 86_400 + 7200})


def lived_through(twin: Twin) -> None:
    """Make at least one object of every kind, in every state that it can have."""
    api: Any = twin.client().v1
    twin.control("POST", "clock", {"stop": True})
    address = {"line1": "1 Way", "city": "Graz", "country": "AT"}
    who = api.customers.create({"name": "Acme", "email": "a@acme.test", "payment_method": "pm_card_visa",
                                "address": address, "shipping": {"name": "Dock", "address": address},
                                "invoice_settings": {"default_payment_method": "pm_card_visa"}})  # fmt: skip
    outside = api.tax_rates.create(
        {"display_name": "VAT", "inclusive": False, "percentage": 7.7, "country": "AT"}
    )
    inside = api.tax_rates.create({"display_name": "VAT", "inclusive": True, "percentage": 19})
    product = api.products.create(
        {"name": "Plan", "default_price_data": {"currency": "eur", "unit_amount": 5}}
    )
    once = api.prices.create({"product": product.id, "currency": "eur", "unit_amount_decimal": "0.125"})
    monthly = api.prices.create({"product": product.id, "currency": "eur", "unit_amount": 900,
                                 "recurring": {"interval": "week"}})  # fmt: skip
    api.customers.balance_transactions.create(who.id, {"amount": -5, "currency": "eur"})
    made = []
    for _ in range(6):
        draft = api.invoices.create(
            {"customer": who.id, "currency": "eur", "default_tax_rates": [outside.id]}
        )
        for line in ({"price": once.id, "quantity": 3000}, {"amount": 1000, "tax_rates": [inside.id]}):
            api.invoice_items.create({"customer": who.id, "currency": "eur", "invoice": draft.id, **line})
        made.append(draft.id)
    for id in made[1:]:
        api.invoices.finalize_invoice(id)
    api.invoices.void_invoice(made[2])
    api.invoices.mark_uncollectible(made[3])
    paid = api.invoices.pay(made[4])
    api.invoices.pay(made[5], {"paid_out_of_band": True})
    line = api.invoices.retrieve(made[1]).lines.data[0].id
    part = {"type": "invoice_line_item", "invoice_line_item": line, "quantity": 1000}
    free = {
        "type": "custom_line_item",
        "description": "Goodwill",
        "unit_amount": 5,
        "tax_rates": [outside.id],
    }
    note = api.credit_notes.create({"invoice": made[1], "lines": [part, free]})
    api.credit_notes.void_credit_note(note.id)
    api.credit_notes.create({"invoice": paid.id, "amount": 300, "credit_amount": 100, "refund_amount": 200})
    api.invoice_items.create({"customer": who.id, "amount": 5, "currency": "eur"})
    kept = api.subscriptions.create({"customer": who.id, "items": [{"price": monthly.id, "quantity": 2}]})
    api.subscriptions.update(kept.id, {"items": [{"id": kept["items"].data[0].id, "quantity": 4}]})
    ended = api.subscriptions.create(
        {"customer": who.id, "items": [{"price": monthly.id}], "trial_period_days": 9}
    )
    api.subscriptions.cancel(ended.id)
    bad = api.customers.create({"name": "Broke", "payment_method": "pm_card_chargeCustomerFail",
                                "invoice_settings": {"default_payment_method": "pm_card_chargeCustomerFail"}})  # fmt: skip
    api.subscriptions.create({"customer": bad.id, "items": [{"price": monthly.id}]})
    offers(api, who.id, once.id, monthly.id, outside.id)
    plans(twin, api, who.id, product.id, once.id, outside.id)
    usage(twin, api, who.id, product.id)
    twin.control("POST", "clock", {"advance": 20 * 86_400})
    moved_money(twin, who.id)
    api.webhook_endpoints.create({"url": "http://127.0.0.1:9/hook", "enabled_events": ["order.created"]})


def moved_money(twin: Twin, who: str) -> None:
    """Refunds, disputes and payouts in every state."""
    api: Any = twin.client().v1

    def charge(card: str, amount: int = 5000) -> str:
        form = {"amount": amount, "currency": "eur", "customer": who, "payment_method": card, "confirm": True}
        return str(api.payment_intents.create(form).latest_charge)

    for card in ("chargeDeclinedStolenCard", "chargeDeclinedExpiredCard"):
        with pytest.raises(stripe.CardError):
            charge(f"pm_card_{card}")
    api.payment_intents.create(
        {"amount": 500, "currency": "eur", "automatic_payment_methods": {"enabled": True}}
    )
    api.payment_intents.cancel(api.payment_intents.create({"amount": 500, "currency": "eur"}).id)
    later = [
        api.refunds.create({"charge": charge(f"pm_card_{card}"), "amount": 900})
        for card in ("refundFail", "pendingRefund")
    ]
    assert [refund.status for refund in later] == ["succeeded", "pending"]
    twin.control("POST", "clock", {"advance": 3600})
    assert [api.refunds.retrieve(refund.id).status for refund in later] == ["failed", "succeeded"]
    for card, words in {
        "createDispute": ("won", "under_review", "lost", "-"), "createDisputeInquiry": ("-", "warning_closed", "warning_under_review")
    }.items():  # fmt: skip
        for word in words:
            charge(f"pm_card_{card}")
            if word != "-":
                dispute = api.disputes.list().data[0].id
                twin.control("POST", "outcome", {"id": dispute, "status": word})
    api.refunds.create({"charge": charge("pm_card_createDisputeInquiry")})
    for account in ("success_de", "failed_de", "usBankAccount_dispute"):
        charge(f"pm_{account}")
    twin.control("POST", "clock", {"advance": 4 * 86_400})
    charge("pm_success_de")
    for type in ("adjustment", "reserved_funds", "stripe_fee", "tax_fee"):
        twin.control("POST", "movements", {"type": type, "amount": -5, "currency": "eur"})
    twin.control("POST", "config", {"fee_tax": 19})
    charge("pm_card_bypassPending", 100_000)
    # The time of the day decides how far the automatic payout of the next midnight gets.
    twin.control("POST", "clock", {"advance": -(twin.control("GET", "state")["clock"] + 43_200) % 86_400})
    for status in ("paid", "failed", "canceled"):
        payout = api.payouts.create({"amount": 100, "currency": "eur"}).id
        twin.control("POST", "outcome", {"id": payout, "status": status})
    twin.control("POST", "config", {"payouts": "daily"})
    twin.control("POST", "clock", {"advance": 86_400})
    charge("pm_card_bypassPending", 100_000)
    api.payouts.create({"amount": 100, "currency": "eur"})
    api.refunds.create({"charge": charge("pm_card_pendingRefund")})


def shown(twin: Twin, kind: str) -> list[Any]:
    """Every object of a kind that the API shows, listed and by itself."""
    get = lambda path: twin.json("GET", f"/v1/{path}")  # noqa: E731
    if kind in ("line_item", "credit_note_line_item"):
        folder = "invoices" if kind == "line_item" else "credit_notes"
        return [
            line
            for one in get(f"{folder}?limit=100")["data"]
            for line in get(f"{folder}/{one['id']}/lines")["data"]
        ]
    if kind == "account":
        return [get(kind)]
    if kind == "item":
        return [row for one in get("quotes")["data"] for row in get(f"quotes/{one['id']}/line_items")["data"]]
    if kind in ("customer_balance_transaction", "payment_method", "tax_id"):
        name = "balance_transactions" if kind.startswith("customer") else f"{kind}s"
        return [
            row for one in get("customers")["data"] for row in get(f"customers/{one['id']}/{name}")["data"]
        ]
    if kind == "subscription_item":
        return [item for one in get("subscriptions?status=all")["data"] for item in one["items"]["data"]]
    path, listed, more = f"{kind}s?limit=100" + ("&status=all" if kind == "subscription" else ""), [], True
    while more:
        page = get(path + (f"&starting_after={listed[-1]['id']}" if listed else ""))
        listed, more = listed + page["data"], page["has_more"]
    return [*listed, get(f"{kind}s/{listed[0]['id']}")]


def unknown_fields(value: Any, schemas: Any, kind: str) -> list[str]:
    return sorted(set(value) - set(schemas[kind]["properties"]) - BEYOND.get(kind, set()))


@pytest.mark.parametrize("kind", ANSWERS)
def test_objects_have_the_vendors_shape(twin: Twin, validators: Any, schemas: Any, kind: str) -> None:
    objects = shown(twin, kind)
    assert objects
    for value in objects:
        assert [
            f"{error.instance_path}: {error.message[:300]}" for error in validators[kind].iter_errors(value)
        ] == []
        assert unknown_fields(value, schemas, kind) == []


def test_the_objects_inside_events_have_the_vendors_shape(
    twin: Twin, validators: Any, schemas: Any, event_types: set[str]
) -> None:
    seen = set()
    for event in shown(twin, "event"):
        value = event["data"]["object"]
        seen.add(event["type"])
        assert event["type"] in {*event_types, *METER_TYPES}
        if value["object"] not in validators:
            assert value["object"] in YOUNGER
            continue
        errors = [f"{event['type']}{error.instance_path}: {error.message[:300]}"
                  for error in validators[value["object"]].iter_errors(value)]  # fmt: skip
        assert errors == []
        assert unknown_fields(value, schemas, value["object"]) == []
        assert set(event["data"].get("previous_attributes", {})) <= set(value)
    assert {f"quote.{word}" for word in ("created", "finalized", "accepted", "canceled")} <= seen
    words = ("created", "updated", "expiring", "completed", "canceled", "released")
    assert {f"subscription_schedule.{word}" for word in words} <= seen
    assert {"customer.tax_id.created", "customer.tax_id.updated", "billing.meter.created"} <= seen
    assert {
        "invoice.paid",
        "invoice.voided",
        "credit_note.voided",
        "charge.refunded",
        "charge.failed",
    } <= seen
    assert {"customer.subscription.updated", "customer.subscription.deleted", "invoiceitem.created"} <= seen
    assert {"balance.available", "refund.updated", "charge.dispute.funds_reinstated", "payout.failed"} <= seen


def test_the_twin_knows_the_event_types_of_its_version(event_types: set[str]) -> None:
    assert set(EVENT_TYPES) == {*event_types, *METER_TYPES}


def test_every_state_was_looked_at(twin: Twin) -> None:
    def states(kind: str) -> set[str]:
        return {one["status"] for one in shown(twin, kind)}

    assert states("quote") == {"draft", "open", "accepted", "canceled"}
    assert states("subscription_schedule") == {"not_started", "active", "completed", "released", "canceled"}
    assert states("invoice") == {"draft", "open", "paid", "void", "uncollectible"}
    assert states("credit_note") == {"issued", "void"}
    assert states("charge") == {"pending", "succeeded", "failed"}
    assert {"active", "canceled"} <= states("subscription")
    assert states("refund") == {"succeeded", "pending", "failed"}
    assert states("dispute") == {
        "needs_response", "under_review", "won", "lost", "warning_needs_response", "warning_under_review",
        "warning_closed", "charge_refunded"}  # fmt: skip
    assert states("payout") == {"pending", "in_transit", "paid", "failed", "canceled"}
    assert states("balance_transaction") == {"pending", "available"}


def test_the_balance_has_the_vendors_shape(twin: Twin, validators: Any, schemas: Any) -> None:
    balance = twin.json("GET", "/v1/balance")
    assert [error.message for error in validators["balance"].iter_errors(balance)] == []
    assert unknown_fields(balance, schemas, "balance") == []


def test_the_answers_to_deletions_have_the_vendors_shape(twin: Twin, validators: Any) -> None:
    api: Any = twin.client().v1
    who = api.customers.create({"name": "Gone"}).id
    item = api.invoice_items.create({"customer": who, "amount": 5, "currency": "eur"}).id
    draft = api.invoices.create({"customer": who}).id
    hook = {"url": "http://127.0.0.1:9/", "enabled_events": ["*"]}
    made = {"invoiceitem": item, "invoice": draft, "product": api.products.create({"name": "Gone"}).id,
            "webhook_endpoint": api.webhook_endpoints.create(hook).id, "customer": who}  # fmt: skip
    vat = api.customers.tax_ids.create(who, {"type": "eu_vat", "value": "DE000000000"}).id
    for kind, id in {"tax_id": vat, **made}.items():
        parent = f"customers/{who}/" if kind == "tax_id" else ""
        answer = twin.json("DELETE", f"/v1/{parent}{kind}s/{id}")
        assert [error.message for error in validators[DELETED[kind]].iter_errors(answer)] == []


def test_errors_have_the_vendors_shape(twin: Twin, schemas: Any) -> None:
    definitions = {name: as_json_schema(schema) for name, schema in schemas.items()}
    validator = jsonschema_rs.validator_for({"$ref": "#/$defs/error", "$defs": definitions})
    for method, path, body in (
        ("GET", "/v1/invoices/in_none", ""), ("POST", "/v1/customers", "colour=red"), ("POST", "/v1/credit_notes", ""),
        ("GET", "/v1/nothing", ""), ("GET", "/v1/customers?limit=1000", ""),
    ):  # fmt: skip
        status, _, answer = twin.call(method, path, body)
        assert status in (400, 404)
        error = json.loads(answer)
        assert [one.message for one in validator.iter_errors(error)] == []
        assert set(error["error"]) <= set(schemas["api_errors"]["properties"])
