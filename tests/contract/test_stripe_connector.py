"""The Stripe connector on the twin: what it issues, finds again, refuses, reads and takes in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.connectors import signature
from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Outcome, Rejected, Request, Unknown
from counterfoil.connectors.stripe import Stripe, connect
from counterfoil.connectors.stripe.client import encode
from counterfoil.connectors.stripe.feed import OVERLAP_SECONDS, EventCursor
from counterfoil.connectors.stripe.tax_rates import expansion, with_tax_rates
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from tests.contract.stripe_twin_process import KEY, Twin, receiving, running_twin
from tests.contract.trial_stripe import (
    DEBIT,
    HOOK_SECRET,
    ISSUE,
    VOID,
    body,
    config_of,
    customer,
    open_invoice,
    post,
)
from tests.patience import PATIENCE_SECONDS

SECONDS = 10.0
DAY = 86_400


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    process.control("POST", "reset")
    return process


@pytest.fixture
async def connector(twin: Twin) -> AsyncIterator[Stripe]:
    created = connect(config_of(twin))
    yield created
    await created.close()


def issue(invoice: str, amount: int = 300, key: str = "cf1", **more: Any) -> Request:
    return Request(ISSUE, key, body(**{"invoice": invoice, "amount": amount, "currency": "eur", **more}))


def confirmed(outcome: Outcome | Finding) -> dict[str, Any]:
    assert isinstance(outcome, Confirmed), outcome
    return dict(outcome.result)


def rejected(outcome: Outcome | Finding, error_class: ErrorClass, code: str = "") -> Rejected:
    assert isinstance(outcome, Rejected), outcome
    assert outcome.error_class is error_class, outcome
    assert code in ("", outcome.code)
    return outcome


def notes(twin: Twin, invoice: str) -> list[Any]:
    finding: list[Any] = twin.json("GET", f"/v1/credit_notes?invoice={invoice}")["data"]
    return finding


# -- credit memos


async def test_a_credit_memo_is_issued_with_our_key_in_its_metadata(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    request = issue(invoice, reason="order_change", memo="SLA", metadata={"case": "7"})
    result = confirmed(await connector.send(request, SECONDS))
    note = notes(twin, invoice)[0]
    assert result == {
        "id": note["id"], "number": note["number"], "status": "issued", "type": "pre_payment", "invoice": invoice,
        "customer": who, "amount": 300, "currency": "eur", "total": 300, "subtotal": 300, "tax": 0,
        "reason": "order_change", "memo": "SLA", "out_of_band_amount": None,
        "issued_on": datetime.fromtimestamp(note["created"], UTC).date().isoformat(),
        "created": datetime.fromtimestamp(note["created"], UTC).isoformat().replace("+00:00", "Z"),
        "metadata": {"case": "7", "counterfoil_key": "cf1"}, "taxes": [], "tax_rates": {},
    }  # fmt: skip
    assert confirmed(await connector.find(request, SECONDS)) == result
    read = await connector.read("billing.credit_memo.get", {"id": note["id"]}, SECONDS)
    assert {**read, "lines": None} == {**result, "lines": None, "tax_rates": {}}
    assert [line["amount"] for line in read["lines"]] == [300]


async def test_the_same_request_again_is_the_same_memo(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    first = confirmed(await connector.send(issue(invoice), SECONDS))
    assert confirmed(await connector.send(issue(invoice), SECONDS)) == first
    assert len(notes(twin, invoice)) == 1


async def test_another_body_under_the_same_key_makes_the_caller_look(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    first = confirmed(await connector.send(issue(invoice), SECONDS))
    changed = issue(invoice, amount=301)
    rejected(await connector.send(changed, SECONDS), ErrorClass.ALREADY_DONE, "idempotency_error")
    assert confirmed(await connector.find(changed, SECONDS)) == first
    assert len(notes(twin, invoice)) == 1


async def test_a_lost_answer_is_unknown_and_then_found(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.fault("drop_after_commit", match={"method": "POST"})
    assert isinstance(await connector.send(issue(invoice), SECONDS), Unknown)
    finding = confirmed(await connector.find(issue(invoice), SECONDS))
    assert confirmed(await connector.send(issue(invoice), SECONDS)) == finding
    assert len(notes(twin, invoice)) == 1


async def test_what_was_dropped_before_is_absent_and_can_be_sent_again(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.fault("drop_before_commit", match={"method": "POST"})
    assert isinstance(await connector.send(issue(invoice), SECONDS), Unknown)
    assert isinstance(await connector.find(issue(invoice), SECONDS), Absent)
    confirmed(await connector.send(issue(invoice), SECONDS))
    assert len(notes(twin, invoice)) == 1


async def test_a_late_commit_is_absent_then_in_use_then_found(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.fault("late_commit", seconds=60, match={"method": "POST"})
    assert isinstance(await connector.send(issue(invoice), 0.3), Unknown)
    assert isinstance(await connector.find(issue(invoice), SECONDS), Absent)
    # The key is in use by our own first call: not a refusal, for that call is still being carried out.
    assert isinstance(await connector.send(issue(invoice), SECONDS), Unknown)
    twin.control("POST", "release")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while isinstance(finding := await connector.find(issue(invoice), SECONDS), Absent):
            await asyncio.sleep(0.05)
    assert confirmed(finding)["total"] == 300
    assert len(notes(twin, invoice)) == 1


@pytest.mark.parametrize("fault", [
    {"kind": "status", "status": 500}, {"kind": "status", "status": 500, "commit": True},
    {"kind": "status", "status": 502}, {"kind": "error_body_200"}, {"kind": "unreadable_200"},
    {"kind": "maintenance"}, {"kind": "status", "status": 424}, {"kind": "status", "status": 302},
])  # fmt: skip
async def test_what_proves_nothing_is_unknown(twin: Twin, connector: Stripe, fault: dict[str, Any]) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.fault(**fault, match={"method": "POST"})
    assert isinstance(await connector.send(issue(invoice), SECONDS), Unknown)
    there = len(notes(twin, invoice))
    finding = await connector.find(issue(invoice), SECONDS)
    assert isinstance(finding, Confirmed if there else Absent)


async def test_a_stored_500_stays_unknown_until_a_new_key_is_used(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.fault("status", status=500, match={"method": "POST"})
    assert isinstance(await connector.send(issue(invoice), SECONDS), Unknown)
    assert isinstance(await connector.send(issue(invoice), SECONDS), Unknown)
    assert isinstance(await connector.find(issue(invoice), SECONDS), Absent)
    confirmed(await connector.send(issue(invoice, key="cf2"), SECONDS))


async def test_limits_say_how_long_to_wait(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.fault("rate_limit", retry_after=3, match={"method": "POST"})
    assert rejected(await connector.send(issue(invoice), SECONDS), ErrorClass.THROTTLED).retry_after == 3
    twin.fault("rate_limit", retry_after=4, match={"method": "GET"})
    assert rejected(await connector.send(issue(invoice), SECONDS), ErrorClass.THROTTLED).retry_after == 4
    twin.fault("rate_limit", retry_after=5, times=2, match={"method": "GET"})
    assert isinstance(await connector.find(issue(invoice), SECONDS), Unknown)
    with pytest.raises(TryAgain) as caught:
        await connector.read("billing.invoice.get", {"id": invoice}, SECONDS)
    assert caught.value.after == 5
    confirmed(await connector.send(issue(invoice), SECONDS))


async def test_refusals_have_their_class(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    rejected(await connector.send(issue(invoice, 10_001), SECONDS), ErrorClass.REFUSED)
    rejected(
        await connector.send(issue("in_none", key="a"), SECONDS), ErrorClass.NOT_FOUND, "resource_missing"
    )
    rejected(await connector.send(issue("in_1/../2", key="b"), SECONDS), ErrorClass.INVALID, "invoice")
    rejected(await connector.send(issue(invoice, 0, key="c"), SECONDS), ErrorClass.INVALID, "amount")
    rejected(await connector.send(issue(invoice, key="d", color="red"), SECONDS), ErrorClass.INVALID, "body")
    rejected(await connector.send(issue(invoice, key="e", currency="usd"), SECONDS), ErrorClass.INVALID,
             "currency_mismatch")  # fmt: skip
    own = issue(invoice, key="f", metadata={"counterfoil_key": "forged"})
    rejected(await connector.send(own, SECONDS), ErrorClass.INVALID, "metadata")
    long = issue(invoice, key="g", metadata={"x" * 41: "too long a name"})
    rejected(await connector.send(long, SECONDS), ErrorClass.INVALID, "parameter_invalid")
    rejected(await connector.send(Request("erp.invoice.post", "h", b"{}"), SECONDS), ErrorClass.INVALID)
    assert notes(twin, invoice) == []


async def test_a_remembered_refusal_says_that_it_is_remembered(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    draft = post(twin, "/v1/invoices", customer=who, currency="eur")["id"]
    post(twin, "/v1/invoiceitems", customer=who, invoice=draft, amount=1000, currency="eur")
    first = rejected(await connector.send(issue(draft), SECONDS), ErrorClass.REFUSED)
    post(twin, f"/v1/invoices/{draft}/finalize")
    again = rejected(await connector.send(issue(draft), SECONDS), ErrorClass.REFUSED)
    assert ("repeats its first answer" in first.message, "repeats its first answer" in again.message) == (
        False,
        True,
    )
    confirmed(await connector.send(issue(draft, key="cf2"), SECONDS))


async def test_an_account_of_others_is_unauthorized(twin: Twin) -> None:
    config = config_of(twin)
    own = twin.control("GET", "state")["account"]
    for account, allowed in ((own, True), ("acct_other", False)):
        connector = connect(type(config)(config.name, config.url, account, config.settings, config.secrets))
        outcome = await connector.send(issue("in_none", key=account), SECONDS)
        await connector.close()
        rejected(outcome, ErrorClass.NOT_FOUND if allowed else ErrorClass.UNAUTHORIZED)


async def test_a_wrong_key_is_unauthorized_everywhere(twin: Twin) -> None:
    config = config_of(twin)
    wrong = connect(
        type(config)(config.name, config.url, settings=config.settings, secrets={"api_key": "sk_no"})
    )
    try:
        rejected(await wrong.send(Request(DEBIT, "k", body(customer="cus_1", amount=1, currency="eur")), SECONDS),
                 ErrorClass.UNAUTHORIZED)  # fmt: skip
        with pytest.raises(Misconfigured):
            await wrong.check(SECONDS)
        with pytest.raises(Misconfigured):
            await wrong.poll("events", None, 10, SECONDS)
        assert isinstance(await wrong.find(issue("in_1"), SECONDS), Unknown)
    finally:
        await wrong.close()


async def test_a_memo_on_a_paid_invoice_goes_to_the_balance(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    post(twin, f"/v1/invoices/{invoice}/pay")
    rejected(await connector.send(issue(invoice, key="alone"), SECONDS), ErrorClass.REFUSED)
    result = confirmed(
        await connector.send(issue(invoice, credit_amount=200, out_of_band_amount=100), SECONDS)
    )
    assert (result["type"], result["out_of_band_amount"]) == ("post_payment", 100)
    assert (await connector.read("billing.customer.get", {"id": who}, SECONDS))["balance"] == -200


async def test_a_memo_among_many_is_found(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    first = confirmed(await connector.send(issue(invoice, 1, key="first"), SECONDS))
    for _ in range(120):
        post(twin, "/v1/credit_notes", invoice=invoice, amount=1)
    assert confirmed(await connector.find(issue(invoice, 1, key="first"), SECONDS)) == first
    assert isinstance(await connector.find(issue(invoice, 1, key="never"), SECONDS), Absent)


# -- voids and debits


async def test_a_void_is_done_once_and_known_as_done(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    memo = confirmed(await connector.send(issue(invoice), SECONDS))["id"]
    void = Request(VOID, "v1", body(credit_memo=memo))
    assert isinstance(await connector.find(void, SECONDS), Absent)
    assert confirmed(await connector.send(void, SECONDS)) == {"id": memo, "status": "void"}
    assert confirmed(await connector.send(void, SECONDS)) == {"id": memo, "status": "void"}
    other = Request(VOID, "v2", body(credit_memo=memo))
    rejected(await connector.send(other, SECONDS), ErrorClass.ALREADY_DONE, "already_void")


async def test_a_void_of_a_paid_invoices_memo_is_refused(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    memo = confirmed(await connector.send(issue(invoice, 10_000), SECONDS))["id"]
    void = Request(VOID, "v1", body(credit_memo=memo))
    rejected(await connector.send(void, SECONDS), ErrorClass.REFUSED)
    assert isinstance(await connector.find(void, SECONDS), Absent)


async def test_a_debit_adds_to_what_the_customer_owes(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    request = Request(DEBIT, "d1", body(customer=who, amount=250, currency="EUR", description="Reversal",
                                        metadata={"case": "7"}))  # fmt: skip
    twin.fault("drop_after_commit", match={"method": "POST", "path": "*/balance_transactions"})
    assert isinstance(await connector.send(request, SECONDS), Unknown)
    finding = confirmed(await connector.find(request, SECONDS))
    assert (finding["amount"], finding["currency"], finding["ending_balance"]) == (250, "eur", 250)
    assert finding["metadata"] == {"case": "7", "counterfoil_key": "d1"}
    assert confirmed(await connector.send(request, SECONDS)) == finding


# -- reads


async def test_an_invoice_is_read_with_all_its_lines_and_exact_numbers(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who, 100, lines=23)
    read = await connector.read("billing.invoice.get", {"id": invoice}, SECONDS)
    assert [line["description"] for line in read["lines"]] == [f"line {n}" for n in range(23)]
    assert (read["total"], read["status"]) == (2300, "open")
    rate = post(twin, "/v1/tax_rates", display_name="VAT", inclusive="false", percentage="7.7")
    draft = post(twin, "/v1/invoices", customer=who, currency="eur", **{"default_tax_rates[0]": rate["id"]})
    read = await connector.read("billing.invoice.get", {"id": draft["id"]}, SECONDS)
    assert read["default_tax_rates"][0]["percentage"] == Decimal("7.7")


async def test_documents_are_read_with_their_taxes_and_the_tax_rates_by_id(
    twin: Twin, connector: Stripe
) -> None:
    rates = {
        name: post(twin, "/v1/tax_rates", display_name="VAT", inclusive="false", percentage=percentage,
                   jurisdiction="DE")["id"]
        for name, percentage in (("full", "19"), ("reduced", "7"))
    }  # fmt: skip
    id = str(post(twin, "/v1/invoices", customer=customer(twin), currency="eur")["id"])
    form = {f"lines[{n}][{name}]": value for n, rate in enumerate(rates.values())
            for name, value in (("amount", 10_000), ("description", rate), ("tax_rates][0", rate))}  # fmt: skip
    post(twin, f"/v1/invoices/{id}/add_lines", **form)
    post(twin, f"/v1/invoices/{id}/finalize")
    read = await connector.read("billing.invoice.get", {"id": id}, SECONDS)
    taxes = {tax["tax_rate"]: (tax["taxable_amount"], tax["amount"]) for tax in read["total_tax_amounts"]}
    assert taxes == {rates["full"]: (10_000, 1_900), rates["reduced"]: (10_000, 700)}
    of_rates = {id: (rate["jurisdiction"], rate["percentage"]) for id, rate in read["tax_rates"].items()}
    assert of_rates == {rates["full"]: ("DE", 19), rates["reduced"]: ("DE", 7)}

    line = {"type": "invoice_line_item", "invoice_line_item": read["lines"][1]["id"], "amount": 5_000}
    note = post(twin, "/v1/credit_notes", invoice=id, **{f"lines[0][{k}]": v for k, v in line.items()})
    memo = await connector.read("billing.credit_memo.get", {"id": note["id"]}, SECONDS)
    assert memo["taxes"] == [{"tax_rate": rates["reduced"], "base": 5_000, "amount": 350, "treatment": None}]
    assert memo["tax_rates"][rates["reduced"]]["percentage"] == 7


async def test_tax_rates_of_later_versions_are_read_by_themselves(twin: Twin) -> None:
    """The twin speaks one version of the API, so a document of a later one is given here."""
    rate = post(
        twin, "/v1/tax_rates", display_name="VAT", inclusive="false", percentage="19", jurisdiction="DE"
    )["id"]
    details = {"type": "tax_rate_details", "tax_rate_details": {"tax_rate": rate}}
    note = {"object": "credit_note", "total_taxes": [{"amount": 19, "taxable_amount": 100, **details}]}
    connector = connect(config_of(twin))
    try:
        read = await with_tax_rates(connector._client, note, Deadline(SECONDS))
    finally:
        await connector.close()
    assert read["tax_rates"][rate]["jurisdiction"] == "DE"
    assert expansion("credit_note", "2025-03-31.basil") == expansion("customer", "2023-08-16") == {}


async def test_lists_subscriptions_and_absent_objects_are_read(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    mine = [open_invoice(twin, who) for _ in range(3)]
    open_invoice(twin, customer(twin))
    page = await connector.read("billing.invoice.list", {"customer": who, "limit": 2}, SECONDS)
    assert ([one["id"] for one in page["invoices"]], page["more"]) == ([mine[2], mine[1]], True)
    rest = await connector.read(
        "billing.invoice.list", {"customer": who, "after": mine[1], "status": "open"}, SECONDS
    )
    assert ([one["id"] for one in rest["invoices"]], rest["more"]) == ([mine[0]], False)
    product = post(twin, "/v1/products", name="Plan")["id"]
    price = post(twin, "/v1/prices", product=product, currency="eur", unit_amount=500,
                 **{"recurring[interval]": "month"})["id"]  # fmt: skip
    form = {"customer": who, "items[0][price]": price, "items[0][quantity]": 4}
    created = post(twin, "/v1/subscriptions", **form)["id"]
    read = await connector.read("billing.subscription.get", {"id": created}, SECONDS)
    assert [(item["quantity"], item["price"]["unit_amount"]) for item in read["items"]] == [(4, 500)]
    for operation in ("billing.invoice.get", "billing.customer.get", "billing.credit_memo.get"):
        with pytest.raises(Refused) as caught:
            await connector.read(operation, {"id": "xx_none"}, SECONDS)
        assert caught.value.error_class is ErrorClass.NOT_FOUND
    twin.call("DELETE", f"/v1/customers/{who}")
    with pytest.raises(Refused):
        await connector.read("billing.customer.get", {"id": who}, SECONDS)
    with pytest.raises(Refused):
        await connector.read("billing.invoice.list", {"colour": "red"}, SECONDS)
    with pytest.raises(Refused):
        await connector.read("billing.invoice.get", {"id": "../events"}, SECONDS)
    with pytest.raises(Misconfigured):
        await connector.read("billing.unknown", {}, SECONDS)


async def test_issued_on_is_the_date_in_the_systems_zone(twin: Twin) -> None:
    config = config_of(twin, {"zone": "Pacific/Kiritimati"})
    connector = connect(config)
    now = twin.control("GET", "state")["clock"]
    noon = now - now % DAY + DAY + DAY // 2  # noon in UTC is 02:00 of the next day there
    twin.control("POST", "clock", {"stop": True, "set": noon})
    try:
        result = confirmed(await connector.send(issue(open_invoice(twin, customer(twin))), SECONDS))
    finally:
        await connector.close()
    assert result["issued_on"] == datetime.fromtimestamp(noon + DAY, UTC).date().isoformat()


# -- events


async def swept(connector: Stripe, cursor: str | None, limit: int = 7) -> tuple[list[str], str]:
    ids: list[str] = []
    while True:
        page = await connector.poll("events", cursor, limit, SECONDS)
        assert len(page.deliveries) <= limit
        ids += [delivery.ext_id for delivery in page.deliveries]
        cursor = page.cursor
        if not page.more:
            return ids, cursor


async def test_the_feed_shows_every_event_once_oldest_first(twin: Twin, connector: Stripe) -> None:
    twin.control("POST", "clock", {"stop": True})
    for day in range(5):
        for n in range(45):
            post(twin, "/v1/products", name=f"{day}.{n}")
        twin.control("POST", "clock", {"advance": 3600})
    ids, cursor = await swept(connector, None)
    every = [one["data"]["object"]["name"] for one in
             [twin.json("GET", f"/v1/events/{id}") for id in ids[:3] + ids[-1:]]]  # fmt: skip
    assert (len(ids), len(set(ids)), every) == (225, 225, ["0.0", "0.1", "0.2", "4.44"])
    assert await swept(connector, cursor) == ([], cursor)
    post(twin, "/v1/products", name="new")
    fresh, _ = await swept(connector, cursor)
    assert len(fresh) == 1


async def test_the_feed_continues_when_its_anchor_has_expired(twin: Twin, connector: Stripe) -> None:
    twin.control("POST", "clock", {"stop": True})
    post(twin, "/v1/products", name="old")
    first, _ = await swept(connector, None)
    twin.control("POST", "clock", {"advance": 40 * DAY})
    post(twin, "/v1/products", name="new")
    lost = EventCursor("evt_gone", first).write()
    ids, _ = await swept(connector, lost)
    assert len(ids) == 1
    with pytest.raises(Misconfigured):
        await connector.poll("events", "nonsense", 1, SECONDS)
    with pytest.raises(Misconfigured):
        await connector.poll("nothing", None, 1, SECONDS)


async def test_the_feed_shows_the_types_that_were_asked_for(twin: Twin) -> None:
    connector = connect(config_of(twin, {"events": ["customer.created"]}))
    try:
        post(twin, "/v1/products", name="Plan")
        who = customer(twin)
        page = await connector.poll("events", None, 10, SECONDS)
    finally:
        await connector.close()
    assert [(one.type, one.body["data"]["object"]["id"]) for one in page.deliveries] == [
        ("customer.created", who)
    ]


def test_the_place_keeps_what_may_still_be_joined_by_a_late_event() -> None:
    events = [{"id": f"evt_{at}", "created": at} for at in (0, 10, OVERLAP_SECONDS + 5, OVERLAP_SECONDS + 9)]
    place = EventCursor().past(events, [event["id"] for event in events])
    assert place == EventCursor(
        "evt_0", [f"evt_{at}" for at in (10, OVERLAP_SECONDS + 5, OVERLAP_SECONDS + 9)]
    )
    assert EventCursor.read(place.write()) == EventCursor(place.anchor, tuple(place.seen))


async def test_a_webhook_and_the_poll_of_one_event_are_the_same_delivery(twin: Twin) -> None:
    twin.control("POST", "config", {"repeated": 0})
    with receiving() as hooks:
        endpoint = post(twin, "/v1/webhook_endpoints", url=hooks.url, **{"enabled_events[0]": "*"})
        config = config_of(twin)
        secrets = {"api_key": KEY, "webhook_secret": "whsec_new", "webhook_secret_old": endpoint["secret"]}
        connector = connect(type(config)(config.name, config.url, settings=config.settings, secrets=secrets))
        try:
            post(twin, "/v1/products", name="Plan")
            headers, raw = hooks.next()
            pushed = connector.receive(headers, raw, datetime.now(UTC))
            polled = (await connector.poll("events", None, 10, SECONDS)).deliveries[0]
        finally:
            await connector.close()
    assert (pushed.ext_id, pushed.type, pushed.identity) == (
        polled.ext_id,
        "product.created",
        polled.identity,
    )
    assert pushed.occurred_at == polled.occurred_at
    assert pushed.body["data"] == polled.body["data"]


async def test_what_is_signed_but_no_event_of_ours_is_refused(twin: Twin) -> None:
    config = config_of(twin)
    connector = connect(type(config)(config.name, config.url, "acct_1", config.settings, config.secrets))
    now = datetime.now(UTC)
    event = {"id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1_700_000_000,
             "data": {"object": {"id": "in_1"}}}  # fmt: skip
    try:
        for wrong in ([], {}, {**event, "object": "list"}, {**event, "created": "now"}, {**event, "data": {}},
                      {**event, "id": ""}, {**event, "account": "acct_2"}):  # fmt: skip
            raw = json.dumps(wrong).encode()
            with pytest.raises(Refused):
                connector.receive(signature.sign("stripe-v1", HOOK_SECRET, raw, now), raw, now)
        raw = json.dumps({**event, "account": "acct_1"}).encode()
        accepted = connector.receive(signature.sign("stripe-v1", HOOK_SECRET, raw, now), raw, now)
        assert accepted.identity == b"evt_1\ninvoice.paid\nin_1"
        with pytest.raises(signature.SignatureRefused):
            connector.receive(signature.sign("stripe-v1", "whsec_other", raw, now), raw, now)
    finally:
        await connector.close()


def test_a_configuration_that_cannot_work_is_refused_at_once(twin: Twin) -> None:
    config = config_of(twin)
    for settings, secrets in (
        ({}, {}), ({"zone": "Mars/Base"}, config.secrets), ({"colour": 1}, config.secrets),
        ({"events": "invoice.paid"}, config.secrets),
    ):  # fmt: skip
        with pytest.raises(Misconfigured):
            connect(type(config)("billing", twin.url, settings=settings, secrets=secrets))


def test_the_form_is_the_vendors_and_always_the_same_bytes() -> None:
    value = {"a": 1, "b": {"c d": "x&y", "e": None}, "f": [True, {"g": Decimal("0.50")}], "h": ""}
    assert encode(value) == b"a=1&b%5Bc+d%5D=x%26y&f%5B0%5D=true&f%5B1%5D%5Bg%5D=0.50&h="
