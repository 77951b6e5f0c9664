"""The Stripe twin driven by the vendor's own library: objects, amounts, credit notes, paging, the clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.contract.stripe_twin_api import customer, invoice, opened, paid, refused
from tests.contract.stripe_twin_process import KEY, Twin, running_twin

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
def api(twin: Twin) -> Any:
    return twin.client().v1


# -- customers


def test_a_customer_lives_changes_and_goes(api: Any) -> None:
    made = api.customers.create({"email": "a@acme.test", "metadata": {"erp": "42", "x": "1"}})
    changed = api.customers.update(made.id, {"name": "New", "metadata": {"x": "", "y": "2"}})
    assert changed.name == "New"
    assert changed.metadata.to_dict() == {"erp": "42", "y": "2"}
    assert api.customers.delete(made.id).deleted is True
    assert api.customers.retrieve(made.id).deleted is True
    assert refused(api.customers.update, made.id, {"name": "Late"}).http_status == 404


def test_customers_are_found_by_email_and_metadata(api: Any) -> None:
    one = api.customers.create({"email": "one@acme.test", "metadata": {"erp id": "A'1"}})
    two = api.customers.create({"email": "two@acme.test", "metadata": {"erp id": "B2"}})
    assert [c.id for c in api.customers.list({"email": "one@acme.test"}).data] == [one.id]
    assert [c.id for c in api.customers.search({"query": "email:'two@acme.test'"}).data] == [two.id]
    assert [c.id for c in api.customers.search({"query": r'metadata["erp id"]:"A' + "'1\""}).data] == [one.id]
    both = api.customers.search({"query": "email:'one@acme.test' OR email:'two@acme.test'"})
    assert {c.id for c in both.data} == {one.id, two.id}
    assert [
        c.id for c in api.customers.search({"query": "email~'ACME' AND -email:'one@acme.test'"}).data
    ] == [two.id]
    assert refused(api.customers.search, {"query": "nonsense"}).http_status == 400


def test_balance_transactions_move_the_balance(api: Any) -> None:
    who = customer(api)
    api.customers.balance_transactions.create(
        who.id, {"amount": -500, "currency": "eur", "metadata": {"k": "v"}}
    )
    second = api.customers.balance_transactions.create(who.id, {"amount": 200, "currency": "eur"})
    assert second.ending_balance == -300
    assert api.customers.retrieve(who.id).balance == -300
    listed = api.customers.balance_transactions.list(who.id).data
    assert [(row.amount, row.type) for row in listed] == [(200, "adjustment"), (-500, "adjustment")]
    assert (
        refused(
            api.customers.balance_transactions.create, who.id, {"amount": 1, "currency": "usd"}
        ).http_status
        == 400
    )


# -- catalog


def test_unit_prices_are_exact_and_lines_round_once_half_away_from_zero(api: Any) -> None:
    product = api.products.create({"name": "Calls"})
    price = api.prices.create({"product": product.id, "currency": "eur", "unit_amount_decimal": "0.35"})
    assert (price.unit_amount, str(price.unit_amount_decimal)) == (None, "0.35")
    who = customer(api)
    draft = invoice(api, who.id, {"price": price.id, "quantity": 1001}, {"unit_amount_decimal": "-0.5"})
    assert [line.amount for line in draft.lines.data] == [350, -1]  # 350.35 and -0.5
    assert draft.total == 349


def test_tax_is_exclusive_or_inclusive_and_adds_up(api: Any) -> None:
    outside = api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})
    inside = api.tax_rates.create({"display_name": "VAT", "inclusive": True, "percentage": 7.7})
    who = customer(api)
    draft = invoice(
        api, who.id, {"amount": 1005, "tax_rates": [outside.id]}, {"amount": 1077, "tax_rates": [inside.id]}
    )
    assert [(tax.tax_rate, tax.amount) for tax in draft.total_tax_amounts] == [
        (outside.id, 191),
        (inside.id, 77),
    ]
    assert (draft.subtotal, draft.subtotal_excluding_tax, draft.tax, draft.total) == (2082, 2005, 268, 2273)
    exempt = customer(api, tax_exempt="exempt")
    assert invoice(api, exempt.id, {"amount": 1000, "tax_rates": [outside.id]}).total == 1000


# -- invoices


def test_an_invoice_goes_from_draft_to_paid(api: Any) -> None:
    who = customer(api)
    draft = invoice(api, who.id, {"amount": 1500, "description": "Seats", "metadata": {"a": "b"}})
    assert (draft.status, draft.number, draft.total) == ("draft", None, 1500)
    open_ = api.invoices.finalize_invoice(draft.id)
    assert (open_.status, open_.amount_remaining, open_.status_transitions.paid_at) == ("open", 1500, None)
    done = api.invoices.pay(draft.id, {"expand": ["charge", "payment_intent"]})
    assert (done.status, done.amount_paid, done.amount_remaining) == ("paid", 1500, 0)
    assert (done.charge.amount, done.payment_intent.status) == (1500, "succeeded")
    assert str(refused(api.invoices.pay, draft.id).user_message) == "Invoice is already paid"
    assert refused(api.invoices.finalize_invoice, draft.id).code == "invoice_not_editable"


def test_numbers_are_gapless_in_order_of_finalization(api: Any) -> None:
    who = customer(api)
    first, second = invoice(api, who.id), invoice(api, who.id)
    later = api.invoices.finalize_invoice(second.id).number
    latest = api.invoices.finalize_invoice(first.id).number
    assert int(later[-4:]) + 1 == int(latest[-4:])
    assert later[:-4] == latest[:-4]


def test_out_of_band_void_and_uncollectible(api: Any) -> None:
    who = customer(api)
    outside = api.invoices.pay(opened(api, who.id).id, {"paid_out_of_band": True})
    assert (outside.status, outside.paid_out_of_band, outside.charge) == ("paid", True, None)
    voided = api.invoices.void_invoice(opened(api, who.id).id)
    assert voided.status == "void"
    assert refused(api.invoices.void_invoice, voided.id).http_status == 400
    assert refused(api.invoices.pay, voided.id).http_status == 400
    lost = api.invoices.mark_uncollectible(opened(api, who.id).id)
    assert lost.status == "uncollectible"
    assert api.invoices.pay(lost.id).status == "paid"


def test_a_declined_card_leaves_the_invoice_open_and_its_failed_charge(api: Any) -> None:
    who = customer(
        api,
        payment_method="pm_card_chargeCustomerFail",
        invoice_settings={"default_payment_method": "pm_card_chargeCustomerFail"},
    )
    made = opened(api, who.id)
    error = refused(api.invoices.pay, made.id)
    assert isinstance(error, stripe.CardError)
    assert (error.http_status, error.code) == (402, "card_declined")
    after = api.invoices.retrieve(made.id)
    assert (after.status, after.attempt_count) == ("open", 1)
    assert [charge.status for charge in api.charges.list({"customer": who.id}).data] == ["failed"]


def test_credit_balance_is_used_and_given_back_by_voiding(api: Any) -> None:
    who = customer(api)
    api.customers.balance_transactions.create(who.id, {"amount": -300, "currency": "eur"})
    made = opened(api, who.id)
    assert (made.starting_balance, made.ending_balance, made.amount_due, made.total) == (-300, 0, 700, 1000)
    assert api.customers.retrieve(who.id).balance == 0
    api.invoices.void_invoice(made.id)
    assert api.customers.retrieve(who.id).balance == -300


def test_drafts_may_change_and_go_and_others_may_not(api: Any) -> None:
    who = customer(api)
    draft = invoice(api, who.id)
    item = api.invoice_items.list({"invoice": draft.id}).data[0]
    api.invoice_items.update(item.id, {"amount": 1200})
    rate = api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 10})
    assert api.invoices.update(draft.id, {"default_tax_rates": [rate.id], "description": "d"}).total == 1320
    api.invoice_items.delete(item.id)
    assert api.invoices.retrieve(draft.id).total == 0
    assert api.invoices.delete(draft.id).deleted is True
    final = opened(api, who.id)
    assert refused(api.invoices.update, final.id, {"footer": "x"}).code == "invoice_not_editable"
    assert api.invoices.update(final.id, {"metadata": {"k": "v"}}).metadata.to_dict() == {"k": "v"}
    assert refused(api.invoices.delete, final.id).http_status == 400
    assert (
        refused(
            api.invoice_items.create,
            {"customer": who.id, "amount": 1, "currency": "eur", "invoice": final.id},
        ).code
        == "invoice_not_editable"
    )


def test_pending_items_wait_until_an_invoice_includes_them(api: Any) -> None:
    who = customer(api)
    api.invoice_items.create({"customer": who.id, "amount": 400, "currency": "eur"})
    assert api.invoices.create({"customer": who.id, "currency": "eur"}).total == 0
    include = {"customer": who.id, "currency": "eur", "pending_invoice_items_behavior": "include"}
    assert api.invoices.create(include).total == 400
    assert api.invoices.create(include).total == 0


def test_ten_lines_are_inline_and_the_rest_is_paged(api: Any) -> None:
    who = customer(api)
    lines = [{"amount": 100 + n, "description": str(n)} for n in range(23)]
    draft = api.invoices.create({"customer": who.id, "currency": "eur"})
    api.invoices.add_lines(draft.id, {"lines": lines})
    read = api.invoices.retrieve(draft.id)
    assert (len(read.lines.data), read.lines.has_more) == (10, True)
    assert read.total == sum(100 + n for n in range(23))
    every = [line.description for line in read.lines.auto_paging_iter()]
    assert every == [str(n) for n in range(23)]
    page = api.invoices.line_items.list(draft.id, {"limit": 5, "ending_before": read.lines.data[7].id})
    assert [line.description for line in page.data] == ["2", "3", "4", "5", "6"]


# -- credit notes


def test_a_note_on_an_open_invoice_lowers_what_remains_and_can_be_voided(api: Any) -> None:
    made = opened(api, customer(api).id)
    note = api.credit_notes.create(
        {"invoice": made.id, "amount": 300, "reason": "order_change", "memo": "m", "metadata": {"k": "v"}}
    )
    assert (note.type, note.status, note.total, note.number) == (
        "pre_payment",
        "issued",
        300,
        made.number + "-CN-01",
    )
    after = api.invoices.retrieve(made.id)
    assert (after.amount_remaining, after.amount_due, after.pre_payment_credit_notes_amount) == (
        700,
        700,
        300,
    )
    assert (after.total, after.status) == (1000, "open")
    assert api.credit_notes.void_credit_note(note.id).status == "void"
    after = api.invoices.retrieve(made.id)
    assert (after.amount_remaining, after.pre_payment_credit_notes_amount) == (1000, 0)
    again = refused(api.credit_notes.void_credit_note, note.id)
    assert (again.http_status, "already been voided" in str(again)) == (400, True)
    assert api.payment_intents.retrieve(made.payment_intent).amount == 1000


def test_a_note_over_all_that_remains_pays_the_invoice_and_stays(api: Any) -> None:
    made = opened(api, customer(api).id)
    note = api.credit_notes.create({"invoice": made.id, "amount": 1000})
    after = api.invoices.retrieve(made.id)
    assert (after.status, after.amount_remaining, after.amount_paid) == ("paid", 0, 0)
    assert refused(api.credit_notes.void_credit_note, note.id).http_status == 400


def test_a_note_on_a_paid_invoice_is_given_back_in_parts_that_add_up(api: Any) -> None:
    who = customer(api)
    made = paid(api, who.id)
    note = api.credit_notes.create(
        {
            "invoice": made.id,
            "amount": 600,
            "credit_amount": 100,
            "refund_amount": 200,
            "out_of_band_amount": 300,
        }
    )
    assert (note.type, note.out_of_band_amount) == ("post_payment", 300)
    assert api.refunds.retrieve(note.refund).amount == 200
    assert api.customers.retrieve(who.id).balance == -100
    moved = api.customers.balance_transactions.retrieve(who.id, note.customer_balance_transaction)
    assert (moved.amount, moved.type, moved.credit_note) == (-100, "credit_note", note.id)
    after = api.invoices.retrieve(made.id)
    assert (after.amount_remaining, after.post_payment_credit_notes_amount) == (0, 600)
    assert api.charges.retrieve(made.charge).amount_refunded == 200
    assert refused(api.credit_notes.void_credit_note, note.id).http_status == 400


@pytest.mark.parametrize("given", [
    {"amount": 600},
    {"amount": 600, "credit_amount": 599},
    {"amount": 1001, "out_of_band_amount": 1001},
    {"amount": 0, "credit_amount": 0},
    {"credit_amount": 100},
    {"amount": 100, "credit_amount": 100, "reason": "goodwill"},
])  # fmt: skip
def test_notes_on_paid_invoices_that_do_not_add_up_are_refused(api: Any, given: dict[str, Any]) -> None:
    made = paid(api, customer(api).id)
    assert refused(api.credit_notes.create, {"invoice": made.id, **given}).http_status == 400
    assert api.credit_notes.list({"invoice": made.id}).data == []
    assert api.invoices.retrieve(made.id).post_payment_credit_notes_amount == 0


def test_notes_are_refused_where_there_is_nothing_to_credit(api: Any) -> None:
    who = customer(api)
    draft, void = invoice(api, who.id), api.invoices.void_invoice(opened(api, who.id).id)
    made = opened(api, who.id)
    assert refused(api.credit_notes.create, {"invoice": draft.id, "amount": 1}).http_status == 400
    assert refused(api.credit_notes.create, {"invoice": void.id, "amount": 1}).http_status == 400
    assert refused(api.credit_notes.create, {"invoice": "in_none", "amount": 1}).code == "resource_missing"
    assert refused(api.credit_notes.create, {"invoice": made.id, "amount": 1001}).http_status == 400
    assert (
        refused(api.credit_notes.create, {"invoice": made.id, "amount": 5, "credit_amount": 5}).http_status
        == 400
    )
    outside = api.invoices.pay(made.id, {"paid_out_of_band": True})
    refund = {"invoice": outside.id, "amount": 5, "refund_amount": 5}
    assert refused(api.credit_notes.create, refund).http_status == 400


def test_notes_by_lines_carry_their_share_of_tax_and_the_last_takes_the_rest(api: Any) -> None:
    rate = api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})
    made = opened(
        api, customer(api).id, {"unit_amount": 333, "quantity": 3, "tax_rates": [rate.id]}, {"amount": 500}
    )
    line = made.lines.data[0]
    assert (made.total, line.tax_amounts[0].amount) == (1689, 190)
    one = {"type": "invoice_line_item", "invoice_line_item": line.id, "quantity": 1}
    notes = [api.credit_notes.create({"invoice": made.id, "lines": [one]}) for _ in range(3)]
    assert [(n.subtotal, n.tax_amounts[0].amount, n.total) for n in notes] == [
        (333, 63, 396), (333, 63, 396), (333, 64, 397)
    ]  # fmt: skip
    assert refused(api.credit_notes.create, {"invoice": made.id, "lines": [one]}).http_status == 400
    free = {"type": "custom_line_item", "description": "Goodwill", "unit_amount": 50, "quantity": 2}
    note = api.credit_notes.create({"invoice": made.id, "amount": 100, "lines": [free]})
    assert [(row.amount, row.type) for row in note.lines.data] == [(100, "custom_line_item")]
    assert api.invoices.retrieve(made.id).amount_remaining == 400
    wrong = {"invoice": made.id, "amount": 99, "lines": [free]}
    assert refused(api.credit_notes.create, wrong).http_status == 400


def test_a_preview_makes_nothing(api: Any) -> None:
    made = opened(api, customer(api).id)
    assert api.credit_notes.preview({"invoice": made.id, "amount": 300}).total == 300
    assert api.credit_notes.list({"invoice": made.id}).data == []
    assert api.credit_notes.create({"invoice": made.id, "amount": 300}).number.endswith("-CN-01")


def test_notes_are_listed_by_invoice_and_customer(api: Any) -> None:
    who = customer(api)
    one, two = opened(api, who.id), opened(api, who.id)
    first = api.credit_notes.create({"invoice": one.id, "amount": 1})
    second = api.credit_notes.create({"invoice": two.id, "amount": 2})
    assert [n.id for n in api.credit_notes.list({"invoice": one.id}).data] == [first.id]
    assert [n.id for n in api.credit_notes.list({"customer": who.id}).data] == [second.id, first.id]
    assert [row.amount for row in api.credit_notes.line_items.list(second.id).data] == [2]


# -- refunds


def test_refunds_stop_at_what_was_paid(api: Any) -> None:
    made = paid(api, customer(api).id)
    back = api.refunds.create({"charge": made.charge, "amount": 600, "reason": "duplicate"})
    assert (back.status, back.amount) == ("succeeded", 600)
    assert refused(api.refunds.create, {"charge": made.charge, "amount": 401}).http_status == 400
    assert api.refunds.create({"payment_intent": made.payment_intent}).amount == 400
    assert refused(api.refunds.create, {"charge": made.charge}).code == "charge_already_refunded"
    linked = api.credit_notes.create({"invoice": made.id, "amount": 600, "refund": back.id})
    assert linked.refund == back.id
    again = {"invoice": made.id, "amount": 400, "refund": back.id}
    assert refused(api.credit_notes.create, again).http_status == 400


# -- subscriptions and the clock


def recurring(api: Any, amount: int = 3000, interval: str = "month") -> Any:
    product = api.products.create({"name": "Plan"})
    return api.prices.create(
        {"product": product.id, "currency": "eur", "unit_amount": amount, "recurring": {"interval": interval}}
    )


def test_a_subscription_bills_at_once_and_every_month_of_the_clock(twin: Twin, api: Any) -> None:
    later = twin.control("GET", "state")["clock"] + 400 * DAY
    start = later - later % DAY
    twin.control("POST", "clock", {"stop": True, "set": start})
    made = api.subscriptions.create(
        {"customer": customer(api).id, "items": [{"price": recurring(api).id, "quantity": 2}]}
    )
    assert (made.status, made.current_period_start) == ("active", start)
    assert api.invoices.retrieve(made.latest_invoice).status == "paid"
    twin.control("POST", "clock", {"advance": 65 * DAY})
    bills = api.invoices.list({"subscription": made.id}).data
    assert [(b.billing_reason, b.status, b.total) for b in bills] == [
        ("subscription_cycle", "paid", 6000), ("subscription_cycle", "paid", 6000),
        ("subscription_create", "paid", 6000)]  # fmt: skip
    read = api.subscriptions.retrieve(made.id)
    assert bills[0].created == bills[0].lines.data[0].period.start == read.current_period_start
    assert bills[0].status_transitions.finalized_at == bills[0].created + 3600
    assert [b.lines.data[0].period.end for b in bills[1:]] == [b.created for b in bills[:-1]]


def test_a_change_of_quantity_is_prorated_to_the_second(twin: Twin, api: Any) -> None:
    twin.control("POST", "clock", {"stop": True})
    who = customer(api)
    made = api.subscriptions.create(
        {"customer": who.id, "items": [{"price": recurring(api).id, "quantity": 1}]}
    )
    half = (made.current_period_end - made.current_period_start) // 2
    twin.control("POST", "clock", {"advance": half})
    item = made["items"].data[0]
    api.subscriptions.update(made.id, {"items": [{"id": item.id, "quantity": 3}]})
    waiting = api.invoice_items.list({"customer": who.id, "pending": True}).data
    assert sorted(row.amount for row in waiting) == [-1500, 4500]
    twin.control("POST", "clock", {"set": made.current_period_end})
    bill = api.invoices.list({"subscription": made.id}).data[0]
    assert sorted(line.amount for line in bill.lines.data) == [-1500, 4500, 9000]
    api.subscription_items.update(item.id, {"quantity": 1, "proration_behavior": "none"})
    assert api.invoice_items.list({"customer": who.id, "pending": True}).data == []


def test_a_failing_card_makes_a_subscription_past_due_and_then_ends_it(twin: Twin, api: Any) -> None:
    twin.control("POST", "clock", {"stop": True})
    who = customer(api)
    made = api.subscriptions.create({"customer": who.id, "items": [{"price": recurring(api).id}]})
    bad = api.payment_methods.create({"type": "card", "card": {"number": "4000000000000341"}})
    api.payment_methods.attach(bad.id, {"customer": who.id})
    api.customers.update(who.id, {"invoice_settings": {"default_payment_method": bad.id}})
    twin.control("POST", "clock", {"set": made.current_period_end + DAY})
    assert api.subscriptions.retrieve(made.id).status == "past_due"
    twin.control("POST", "clock", {"advance": 16 * DAY})
    assert api.subscriptions.retrieve(made.id).status == "canceled"
    bill = api.invoices.list({"subscription": made.id}).data[0]
    assert (bill.status, bill.attempt_count) == ("open", 4)


def test_a_subscription_whose_first_invoice_stays_unpaid_expires(twin: Twin, api: Any) -> None:
    twin.control("POST", "clock", {"stop": True})
    bad = {"default_payment_method": "pm_card_chargeCustomerFail"}
    who = customer(api, payment_method="pm_card_chargeCustomerFail", invoice_settings=bad)
    made = api.subscriptions.create({"customer": who.id, "items": [{"price": recurring(api).id}]})
    twin.control("POST", "clock", {"advance": 23 * 3600})
    assert api.subscriptions.retrieve(made.id).status == "incomplete_expired"
    assert api.invoices.retrieve(made.latest_invoice).status == "void"


def test_the_last_item_of_a_subscription_stays(api: Any) -> None:
    price = recurring(api)
    made = api.subscriptions.create({"customer": customer(api).id, "items": [{"price": price.id}]})
    last = made["items"].data[0].id
    change = {"items": [{"id": last, "deleted": True}]}
    assert refused(api.subscriptions.update, made.id, change).http_status == 400
    more = api.subscriptions.update(made.id, {"items": [{"price": recurring(api, 100).id, "quantity": 2}]})
    assert len(more["items"].data) == 2
    left = api.subscriptions.update(made.id, change)
    assert [item.quantity for item in left["items"].data] == [2]


def test_a_first_payment_that_fails_leaves_it_incomplete_or_makes_none(api: Any) -> None:
    bad = {"default_payment_method": "pm_card_chargeCustomerFail"}
    who = customer(api, payment_method="pm_card_chargeCustomerFail", invoice_settings=bad)
    wanted = {"customer": who.id, "items": [{"price": recurring(api).id}]}
    assert (
        refused(api.subscriptions.create, {**wanted, "payment_behavior": "error_if_incomplete"}).http_status
        == 402
    )
    assert api.subscriptions.list({"customer": who.id, "status": "all"}).data == []
    made = api.subscriptions.create(wanted)
    assert made.status == "incomplete"
    api.customers.update(who.id, {"invoice_settings": {"default_payment_method": "pm_card_visa"}})
    api.invoices.pay(made.latest_invoice)
    assert api.subscriptions.retrieve(made.id).status == "active"


def test_a_subscription_ends_at_once_or_with_its_period(twin: Twin, api: Any) -> None:
    twin.control("POST", "clock", {"stop": True})
    who, price = customer(api), recurring(api)
    now = api.subscriptions.create({"customer": who.id, "items": [{"price": price.id}]})
    assert api.subscriptions.cancel(now.id).status == "canceled"
    assert refused(api.subscriptions.cancel, now.id).http_status == 404
    later = api.subscriptions.create({"customer": who.id, "items": [{"price": price.id}]})
    api.subscriptions.update(later.id, {"cancel_at_period_end": True})
    twin.control("POST", "clock", {"set": later.current_period_end})
    ended = api.subscriptions.retrieve(later.id)
    assert (ended.status, ended.ended_at) == ("canceled", later.current_period_end)
    assert len(api.invoices.list({"subscription": later.id}).data) == 1


def test_sent_invoices_are_finalized_by_the_clock_with_their_due_date(twin: Twin, api: Any) -> None:
    twin.control("POST", "clock", {"stop": True})
    who = api.customers.create({"name": "By letter"})
    made = api.subscriptions.create(
        {
            "customer": who.id,
            "items": [{"price": recurring(api).id}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
    )
    assert api.invoices.retrieve(made.latest_invoice).status == "draft"
    twin.control("POST", "clock", {"advance": 3600})
    sent = api.invoices.retrieve(made.latest_invoice)
    assert (sent.status, sent.due_date - sent.created) == ("open", 30 * DAY)


# -- how the vendor answers


def test_lists_page_both_ways(api: Any) -> None:
    made = [api.customers.create({"name": str(n)}).id for n in range(7)]
    first = api.customers.list({"limit": 3})
    assert ([c.id for c in first.data], first.has_more) == (made[:3:-1], True)
    second = api.customers.list({"limit": 3, "starting_after": first.data[-1].id})
    assert [c.id for c in second.data] == [made[3], made[2], made[1]]
    back = api.customers.list({"limit": 2, "ending_before": second.data[-1].id})
    assert ([c.id for c in back.data], back.has_more) == ([made[3], made[2]], True)
    assert [c.id for c in api.customers.list({"limit": 2}).auto_paging_iter()] == made[::-1]
    assert refused(api.customers.list, {"starting_after": "cus_none"}).code == "resource_missing"
    assert refused(api.customers.list, {"limit": 101}).http_status == 400


def test_expansion_follows_paths_into_lists(api: Any) -> None:
    who = customer(api)
    made = paid(api, who.id)
    read = api.invoices.retrieve(made.id, {"expand": ["customer", "charge.payment_intent"]})
    assert (read.customer.name, read.charge.payment_intent.status) == ("Acme", "succeeded")
    listed = api.invoices.list({"customer": who.id, "expand": ["data.customer"]})
    assert listed.data[0].customer.id == who.id
    assert refused(api.invoices.retrieve, made.id, {"expand": ["color"]}).http_status == 400


def test_errors_have_the_vendors_form(twin: Twin, api: Any) -> None:
    assert isinstance(refused(twin.client("sk_test_wrong").v1.customers.list), stripe.AuthenticationError)
    lost = refused(api.invoices.retrieve, "in_none")
    assert (lost.http_status, lost.code, lost.error.param) == (404, "resource_missing", "id")
    lacking = refused(api.credit_notes.create, {"amount": 1})
    assert (lacking.code, lacking.error.param) == ("parameter_missing", "invoice")
    strange = refused(api.customers.create, {"colour": "red"})
    assert (strange.code, strange.error.param) == ("parameter_unknown", "colour")
    worded = refused(api.customers.create, {"balance": "ten"})
    assert worded.code == "parameter_invalid_integer"
    assert worded.request_id
    assert worded.request_id.startswith("req_")
    assert twin.call("GET", "/v1/nothing")[0] == 404


def test_the_version_asked_for_is_echoed_and_the_accounts_own_is_the_default(twin: Twin) -> None:
    assert twin.call("GET", "/v1/customers")[1]["stripe-version"] == "2023-08-16"
    assert twin.call("GET", "/v1/customers", headers={"stripe-version": "2024-06-20"})[1][
        "stripe-version"
    ] == ("2024-06-20")
    assert twin.call("GET", "/v1/customers", headers={"stripe-version": "latest"})[0] == 400


def test_events_tell_what_happened_with_what_was_before(api: Any) -> None:
    who = customer(api)
    made = opened(api, who.id)
    note = api.credit_notes.create({"invoice": made.id, "amount": 300})
    told = api.events.list({"type": "credit_note.created"}).data
    assert [event.data.object.id for event in told] == [note.id]
    changed = api.events.list({"types": ["invoice.updated"], "created": {"gte": made.created}}).data[0]
    assert changed.data.previous_attributes["amount_remaining"] == 1000
    assert api.events.retrieve(changed.id).request.id.startswith("req_")
    assert api.events.list({"created": {"lt": made.created - 5}}).data == []
    kinds = {event.type for event in api.events.list({"limit": 100}).data}
    assert {"customer.created", "invoice.created", "invoice.finalized", "payment_intent.created"} <= kinds


def test_everything_survives_a_restart_even_by_kill(tmp_path: Path) -> None:
    state = tmp_path / "twin.sqlite"
    with running_twin(state) as first:
        api: Any = first.client().v1
        who = customer(api)
        made = opened(api, who.id)
        first.control("POST", "clock", {"advance": 10 * DAY})
        key = {"idempotency_key": "same"}
        note = api.credit_notes.create({"invoice": made.id, "amount": 300}, key)
    with running_twin(state) as second:
        api = second.client().v1
        assert api.invoices.retrieve(made.id).amount_remaining == 700
        assert api.credit_notes.create({"invoice": made.id, "amount": 300}, key).id == note.id
        assert second.control("GET", "state")["clock"] >= made.created + 10 * DAY
        assert opened(api, who.id).number.endswith("-0002")


def test_a_twin_answers_on_loopback_with_its_key_alone(twin: Twin) -> None:
    assert twin.call("GET", "/v1/customers", headers={"authorization": ""})[0] == 401
    assert KEY not in str(
        twin.call("GET", "/v1/customers", headers={"authorization": "Bearer sk_test_other"})
    )
    assert twin.call("POST", "/v1/webhook_endpoints", "url=https://example.com/&enabled_events[]=*")[0] == 400
    assert twin.control("GET", "state")["clock"] > 1_767_225_600
