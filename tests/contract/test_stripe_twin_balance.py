"""The Stripe twin keeps the balance of a customer: its transactions, their types, and what invoices use of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.stripe_twin_api import customer, invoice, opened, paid, refused
from tests.contract.stripe_twin_process import Twin, running_twin


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


def moves(api: Any, who: str) -> list[tuple[str, int, int]]:
    """Type, amount and ending balance of each transaction, oldest first."""
    rows = api.customers.balance_transactions.list(who).data
    return [(row.type, row.amount, row.ending_balance) for row in reversed(rows)]


def test_a_transaction_is_listed_retrieved_and_only_its_texts_change(api: Any) -> None:
    who = customer(api, balance=-250)
    entries = api.customers.balance_transactions
    added = entries.create(
        who.id, {"amount": -100, "currency": "eur", "description": "Goodwill", "metadata": {"case": "7"}}
    )
    assert (added.type, added.currency, added.credit_note, added.invoice) == ("adjustment", "eur", None, None)
    changed = entries.update(who.id, added.id, {"description": "Late", "metadata": {"case": "", "erp": "9"}})
    assert (changed.description, changed.metadata.to_dict(), changed.amount) == ("Late", {"erp": "9"}, -100)
    assert entries.retrieve(who.id, added.id).ending_balance == -350
    assert moves(api, who.id) == [("initial", -250, -250), ("adjustment", -100, -350)]
    assert refused(entries.update, who.id, added.id, {"amount": 5}).code == "parameter_unknown"
    assert refused(entries.retrieve, customer(api).id, added.id).http_status == 404
    assert refused(entries.create, who.id, {"amount": 0, "currency": "eur"}).http_status == 400
    long = {"amount": 1, "currency": "eur", "description": "x" * 351}
    assert refused(entries.create, who.id, long).param == "description"
    assert moves(api, who.id)[-1] == ("adjustment", -100, -350)


def test_a_finalized_invoice_uses_credit_and_collects_debt(api: Any) -> None:
    who = customer(api)
    api.customers.balance_transactions.create(who.id, {"amount": -1500, "currency": "eur"})
    first, second = opened(api, who.id), opened(api, who.id)
    assert (first.status, first.amount_due, first.starting_balance, first.ending_balance) == (
        "paid", 0, -1500, -500)  # fmt: skip
    assert (second.amount_due, second.ending_balance) == (500, 0)
    api.customers.balance_transactions.create(who.id, {"amount": 300, "currency": "eur"})
    assert opened(api, who.id).amount_due == 1300
    assert moves(api, who.id) == [
        ("adjustment", -1500, -1500), ("applied_to_invoice", 1000, -500), ("applied_to_invoice", 500, 0),
        ("adjustment", 300, 300), ("applied_to_invoice", -300, 0),
    ]  # fmt: skip
    newest = api.customers.balance_transactions.list(who.id).data[0]
    assert api.invoices.retrieve(newest.invoice).starting_balance == 300


def test_what_is_too_small_to_collect_is_debt_of_the_next_invoice(api: Any) -> None:
    who = customer(api)
    api.customers.balance_transactions.create(who.id, {"amount": -970, "currency": "eur"})
    small = opened(api, who.id)
    assert (small.status, small.total, small.amount_due, small.ending_balance) == ("paid", 1000, 0, 30)
    assert opened(api, who.id).amount_due == 1030
    assert moves(api, who.id)[1:] == [
        ("applied_to_invoice", 970, 0), ("invoice_too_small", 30, 30), ("applied_to_invoice", -30, 0)
    ]  # fmt: skip


def test_voiding_and_credit_notes_move_the_balance(api: Any) -> None:
    who = customer(api)
    api.customers.balance_transactions.create(who.id, {"amount": -400, "currency": "eur"})
    api.invoices.void_invoice(opened(api, who.id).id)
    done = paid(api, who.id)
    note = api.credit_notes.create({"invoice": done.id, "amount": 600, "credit_amount": 600})
    assert moves(api, who.id) == [
        ("adjustment", -400, -400), ("applied_to_invoice", 400, 0), ("unapplied_from_invoice", -400, -400),
        ("applied_to_invoice", 400, 0), ("credit_note", -600, -600),
    ]  # fmt: skip
    entry = api.customers.balance_transactions.retrieve(who.id, note.customer_balance_transaction)
    assert (entry.credit_note, entry.invoice) == (note.id, done.id)
    assert opened(api, who.id).amount_due == 400


def test_every_move_of_the_balance_is_an_event_of_the_customer(twin: Twin, api: Any) -> None:
    who = customer(api)
    api.customers.balance_transactions.create(who.id, {"amount": -30, "currency": "eur"})
    opened(api, who.id)
    seen = [
        (event.data.previous_attributes["balance"], event.data.object.balance)
        for event in api.events.list({"type": "customer.updated", "limit": 2}).data
        if event.data.object.id == who.id
    ]
    assert seen == [(-30, 0), (0, -30)]


def test_the_invoices_of_a_deleted_customer_rest(twin: Twin, api: Any) -> None:
    who = customer(api)
    price = {"product": api.products.create({"name": "Plan"}).id, "currency": "eur", "unit_amount": 900,
             "recurring": {"interval": "week"}}  # fmt: skip
    api.subscriptions.create({"customer": who.id, "items": [{"price": api.prices.create(price).id}]})
    draft = invoice(api, who.id, auto_advance=True)
    left = api.invoices.finalize_invoice(invoice(api, who.id, auto_advance=True).id)
    api.customers.delete(who.id)
    twin.control("POST", "clock", {"advance": 30 * 86_400})
    assert [api.invoices.retrieve(one.id).status for one in (draft, left)] == ["draft", "open"]
    assert api.subscriptions.list({"customer": who.id, "status": "all"}).data[0].status == "canceled"


def test_the_credit_by_currency_is_shown_on_request(api: Any) -> None:
    who = customer(api, balance=-250)
    assert "invoice_credit_balance" not in who
    expand = {"expand": ["invoice_credit_balance", "tax_ids"]}
    assert api.customers.retrieve(who.id, expand).invoice_credit_balance.to_dict() == {}
    api.customers.balance_transactions.create(who.id, {"amount": -50, "currency": "chf"})
    now = api.customers.retrieve(who.id, expand)
    assert (now.invoice_credit_balance.to_dict(), now.tax_ids.data) == ({"chf": 300}, [])
