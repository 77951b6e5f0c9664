"""The Stripe twin taxes lines, invoices and credit notes as the vendor does, and knows who pays no tax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.stripe_twin_api import customer, invoice, opened, paid, refused
from tests.contract.stripe_twin_process import Twin, running_twin


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        running.control("POST", "clock", {"stop": True})
        yield running


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


def rate(api: Any, percentage: str, inclusive: bool = False) -> Any:
    return api.tax_rates.create({
        "display_name": "VAT", "inclusive": inclusive, "percentage": percentage, "country": "DE", "tax_type": "vat"
    })  # fmt: skip


@pytest.mark.parametrize(
    ("percentage", "inclusive", "tax", "total", "net"),
    [
        ("19", False, 1900, 11_900, 10_000),
        ("7", False, 700, 10_700, 10_000),
        ("0", False, 0, 10_000, 10_000),
        ("19", True, 1597, 10_000, 8403),
        ("7", True, 654, 10_000, 9346),
        ("0", True, 0, 10_000, 10_000),
    ],
)
def test_a_rate_is_added_or_contained_and_is_credited_in_full(
    api: Any, percentage: str, inclusive: bool, tax: int, total: int, net: int
) -> None:
    vat = rate(api, percentage, inclusive)
    done = paid(api, customer(api).id, {"amount": 10_000, "tax_rates": [vat.id]})
    assert (done.tax, done.total, done.total_excluding_tax) == (tax, total, net)
    shown = done.total_tax_amounts[0]
    assert (shown.amount, shown.inclusive, shown.taxable_amount, shown.taxability_reason) == (
        tax, inclusive, net, None)  # fmt: skip
    line = {"type": "invoice_line_item", "invoice_line_item": done.lines.data[0].id, "amount": 10_000}
    note = api.credit_notes.create({"invoice": done.id, "lines": [line], "refund_amount": total})
    assert (note.total, note.subtotal, note.total_excluding_tax, note.subtotal_excluding_tax) == (
        total, 10_000, net, net)  # fmt: skip
    assert [(one.amount, one.inclusive, one.taxable_amount) for one in note.tax_amounts] == [
        (tax, inclusive, net)
    ]
    assert api.refunds.retrieve(note.refund).amount == total


@pytest.mark.parametrize(
    ("status", "reason"), [("exempt", "customer_exempt"), ("reverse", "reverse_charge"), ("none", None)]
)
def test_the_tax_status_of_a_customer_gives_the_reason(api: Any, status: str, reason: str | None) -> None:
    vat, inside = rate(api, "19"), rate(api, "7", inclusive=True)
    who = customer(api, tax_exempt=status)
    draft = invoice(
        api, who.id, {"amount": 1000, "tax_rates": [vat.id]}, {"amount": 1070, "tax_rates": [inside.id]}
    )
    expected = [190, 70] if reason is None else [0, 0]
    assert [(one.amount, one.taxability_reason) for one in draft.total_tax_amounts] == [
        (amount, reason) for amount in expected
    ]
    done = api.invoices.pay(draft.id)
    free = {"type": "custom_line_item", "description": "Goodwill", "unit_amount": 500, "tax_rates": [vat.id]}
    part = {"type": "invoice_line_item", "invoice_line_item": done.lines.data[0].id, "amount": 400}
    note = api.credit_notes.preview({"invoice": done.id, "lines": [free, part], "out_of_band_amount":
                                     1071 if reason is None else 900})  # fmt: skip
    assert [(one.amount, one.taxable_amount, one.taxability_reason) for one in note.tax_amounts] == [
        (171 if reason is None else 0, 900, reason)
    ]


def test_a_draft_follows_the_tax_status_of_its_customer_and_an_open_invoice_does_not(api: Any) -> None:
    vat = rate(api, "19")
    who = customer(api)
    line = {"amount": 1000, "tax_rates": [vat.id]}
    draft, done = invoice(api, who.id, line), opened(api, who.id, line)
    api.customers.update(who.id, {"tax_exempt": "reverse"})
    assert api.invoices.retrieve(done.id).total == 1190
    now = api.invoices.retrieve(draft.id)
    assert (now.total, now.customer_tax_exempt) == (1000, "reverse")
    assert now.lines.data[0].tax_amounts[0].taxability_reason == "reverse_charge"
    assert api.customers.update(who.id, {"tax_exempt": ""}).tax_exempt == "none"
    assert api.invoices.finalize_invoice(draft.id).total == 1190


def test_a_tax_behaviour_is_final_and_comes_with_inline_prices(api: Any) -> None:
    product = api.products.create({"name": "Seats"}).id
    data = {"currency": "eur", "product": product, "unit_amount": 250, "tax_behavior": "inclusive"}
    draft = invoice(api, customer(api).id, {"price_data": data, "quantity": 4})
    price = draft.lines.data[0].price
    assert (draft.total, price.tax_behavior, price.active) == (1000, "inclusive", False)
    open_ = api.prices.create({"product": product, "currency": "eur", "unit_amount": 5})
    assert api.prices.update(open_.id, {"tax_behavior": "exclusive"}).tax_behavior == "exclusive"
    assert refused(api.prices.update, open_.id, {"tax_behavior": "inclusive"}).param == "tax_behavior"
    assert api.prices.update(open_.id, {"tax_behavior": "exclusive", "nickname": "x"}).nickname == "x"


def test_tax_ids_are_checked_shown_on_drafts_and_kept_on_final_invoices(twin: Twin, api: Any) -> None:
    who = customer(api)
    draft = invoice(api, who.id)
    good, bad, slow = (
        api.customers.tax_ids.create(who.id, {"type": "eu_vat", "value": value})
        for value in ("DE000000000", "AT111111111", "EL222222222")
    )
    assert (good.country, slow.country, good.verification.status) == ("DE", "GR", "pending")
    assert (
        refused(api.customers.tax_ids.create, who.id, {"type": "eu_vat", "value": "19"}).code
        == "tax_id_invalid"
    )
    twin.control("POST", "clock", {"advance": 5})
    listed = {one.value: one.verification.status for one in api.customers.tax_ids.list(who.id).data}
    assert listed == {"DE000000000": "verified", "AT111111111": "unverified", "EL222222222": "pending"}
    assert api.customers.tax_ids.delete(who.id, bad.id).deleted is True
    final = api.invoices.finalize_invoice(draft.id)
    api.customers.tax_ids.delete(who.id, slow.id)
    kept = [(one.type, one.value) for one in api.invoices.retrieve(final.id).customer_tax_ids]
    assert kept == [("eu_vat", "DE000000000"), ("eu_vat", "EL222222222")]
    assert refused(api.customers.tax_ids.retrieve, customer(api).id, good.id).http_status == 404
    types = [event.type for event in api.events.list({"types": [
        "customer.tax_id.created", "customer.tax_id.updated", "customer.tax_id.deleted"]}).data]  # fmt: skip
    assert sorted(types) == ["customer.tax_id.created"] * 3 + ["customer.tax_id.deleted"] * 2 + [
        "customer.tax_id.updated"] * 2  # fmt: skip


def test_the_lines_of_a_credit_note_are_previewed_and_then_issued_the_same(api: Any) -> None:
    vat, inside = rate(api, "19"), rate(api, "7", inclusive=True)
    done = paid(
        api, customer(api).id,
        {"unit_amount_decimal": "333.5", "quantity": 3, "tax_rates": [vat.id], "description": "Seats"},
        {"amount": 1070, "tax_rates": [inside.id]},
    )  # fmt: skip
    first, second = (line.id for line in done.lines.data)
    lines = [
        {"type": "invoice_line_item", "invoice_line_item": first, "quantity": 2},
        {"type": "invoice_line_item", "invoice_line_item": second, "amount": 535},
        {"type": "custom_line_item", "description": "Sorry", "unit_amount": 50, "quantity": 2, "tax_rates": [vat.id]},
    ]  # fmt: skip
    # 667 of 1001 with 127 of 190, 535 with 35 of 70 inside, 100 with 19.
    asked = {
        "invoice": done.id,
        "lines": lines,
        "credit_amount": 448,
        "refund_amount": 500,
        "out_of_band_amount": 500,
    }
    seen = api.credit_notes.preview(asked)
    assert (seen.subtotal, seen.total, seen.total_excluding_tax) == (1302, 1448, 1267)
    page = api.credit_notes.preview_lines.list({**asked, "limit": 2})
    assert (len(page.data), page.has_more) == (2, True)
    assert api.credit_notes.list({"invoice": done.id}).data == []
    note = api.credit_notes.create(asked)
    shown = [(line.type, line.amount, line.amount_excluding_tax, [tax.amount for tax in line.tax_amounts])
             for line in api.credit_notes.line_items.list(note.id).data]  # fmt: skip
    assert shown == [
        ("invoice_line_item", 667, 667, [127]), ("invoice_line_item", 535, 500, [35]),
        ("custom_line_item", 100, 100, [19]),
    ]  # fmt: skip
    assert {tax.tax_rate: (tax.amount, tax.taxable_amount) for tax in note.tax_amounts} == {
        vat.id: (146, 767), inside.id: (35, 500)}  # fmt: skip
    assert (note.out_of_band_amount, api.refunds.retrieve(note.refund).amount) == (500, 500)
    assert api.invoices.retrieve(done.id).post_payment_credit_notes_amount == 1448
    rest = {"type": "invoice_line_item", "invoice_line_item": first, "quantity": 2}
    assert refused(api.credit_notes.create, {"invoice": done.id, "lines": [rest]}).http_status == 400


def test_effective_at_is_the_time_of_issue_unless_it_is_set(twin: Twin, api: Any) -> None:
    who = customer(api)
    now = twin.control("GET", "state")["clock"]
    day = now - 40 * 86_400
    plain, dated = paid(api, who.id), paid(api, who.id, effective_at=day)
    assert (plain.effective_at, dated.effective_at) == (plain.status_transitions.finalized_at, day)
    assert refused(api.invoices.update, dated.id, {"effective_at": now}).code == "invoice_not_editable"
    draft = invoice(api, who.id)
    assert draft.effective_at is None
    assert api.invoices.update(draft.id, {"effective_at": day}).effective_at == day
    issued = {"invoice": plain.id, "amount": 100, "out_of_band_amount": 100}
    note, old = api.credit_notes.create(issued), api.credit_notes.create({**issued, "effective_at": day})
    assert (note.effective_at, old.effective_at, old.created) == (note.created, day, now)
