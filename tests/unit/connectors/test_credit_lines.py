"""Lines of a credit note: any amount is spread exactly, and the last credit takes what is left of base and tax."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.connectors.sdk import Rejected
from counterfoil.connectors.stripe.credit_lines import invoice_lines, note_lines, spread
from counterfoil.core.errors import ErrorClass
from counterfoil.twins.stripe.amounts import share, taxes


def line(id: str, amount: int, *rates: tuple[str, bool]) -> dict[str, Any]:
    """Return a line of an invoice. Each rate is a percentage, and whether the amount includes it."""
    figures = taxes(amount, [(Decimal(rate), inclusive) for rate, inclusive in rates])
    pairs = zip(figures, rates, strict=True)
    return {
        "id": id,
        "amount": amount,
        "tax_amounts": [{"amount": t, "inclusive": inclusive} for t, (_, inclusive) in pairs],
    }


def credited(lines: list[dict[str, Any]], notes: list[dict[str, Any]], parts: list[tuple[str, int]]) -> int:
    """Compute the taxes of the parts as the vendor does, append them to `notes`, and return their total."""
    total = 0
    for id, amount in parts:
        of = next(row for row in lines if row["id"] == id)
        former = [note for note in notes if note["invoice_line_item"] == id]
        left = of["amount"] - sum(note["amount"] for note in former)
        assert 0 < amount <= left
        part_taxes = [
            {**tax, "amount": tax["amount"] - sum(note["tax_amounts"][n]["amount"] for note in former)
             if amount == left else share(tax["amount"], amount, of["amount"])}
            for n, tax in enumerate(of["tax_amounts"])
        ]  # fmt: skip
        notes.append({"invoice_line_item": id, "amount": amount, "tax_amounts": part_taxes})
        total += amount + sum(tax["amount"] for tax in part_taxes if not tax["inclusive"])
    return total


def gross(lines: list[dict[str, Any]]) -> int:
    return sum(
        row["amount"] + sum(t["amount"] for t in row["tax_amounts"] if not t["inclusive"]) for row in lines
    )


def issue(lines: list[dict[str, Any]], notes: list[dict[str, Any]], amount: int) -> None:
    parts = spread(amount, invoice_lines(lines, notes))
    assert isinstance(parts, list), parts
    assert credited(lines, notes, parts) == amount


RATES = st.sampled_from([(), (("8.25", False),), (("19", False),), (("19", True),), (("7", True),), (("0", False),),
                         (("8.25", False), ("1.5", False)), (("8.875", False), ("3", True))])  # fmt: skip


@st.composite
def invoices(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = draw(st.lists(st.tuples(st.integers(1, 10_000_000), RATES), min_size=1, max_size=30))
    return [line(f"il_{n}", amount, *rates) for n, (amount, rates) in enumerate(rows)]


@settings(max_examples=3000, deadline=None)
@given(invoices(), st.data())
def test_credits_of_any_size_add_up_to_the_invoice_with_each_tax(
    lines: list[dict[str, Any]], data: st.DataObject
) -> None:
    notes: list[dict[str, Any]] = []
    total = gross(lines)
    for _ in range(3):
        left = total - sum(gross([note]) for note in notes)
        if left > 100:
            # Parts that are not tiny against the lines: many tiny ones would round their taxes away.
            issue(lines, notes, data.draw(st.integers(left // 4, left // 2)))
    issue(lines, notes, total - sum(gross([note]) for note in notes))
    for row in lines:
        parts = [note for note in notes if note["invoice_line_item"] == row["id"]]
        assert sum(note["amount"] for note in parts) == row["amount"]
        for n, tax in enumerate(row["tax_amounts"]):
            assert sum(note["tax_amounts"][n]["amount"] for note in parts) == tax["amount"]


@pytest.mark.parametrize("rate", ["8.25", "8.875", "7.25", "19", "7", "8.1", "25"])
def test_every_amount_can_be_credited_on_one_line(rate: str) -> None:
    rows = [line("il_1", 50_000, (rate, False))]
    for amount in range(1, gross(rows) + 1, 7):
        issue(rows, [], amount)


def test_an_amount_between_two_parts_takes_a_cent_of_the_line_apart() -> None:
    # 23.09 and its tax are 24.99; 23.10 and its tax are 25.01.
    assert spread(2_500, invoice_lines([line("il_1", 10_000, ("8.25", False))], [])) == [
        ("il_1", 2_309),
        ("il_1", 1),
    ]


def test_cents_that_one_line_cannot_take_are_taken_by_another() -> None:
    # Of 3 with a tax of 1, two parts of 1 leave 1 with a tax of 1: that is 2 or nothing.
    rows = [line("il_1", 3, ("19", False)), line("il_2", 2)]
    notes: list[dict[str, Any]] = []
    credited(rows, notes, [("il_1", 1), ("il_1", 1)])
    for amount, parts in (
        (1, [("il_2", 1)]),
        (2, [("il_2", 2)]),
        (3, [("il_1", 1), ("il_2", 1)]),
        (4, [("il_1", 1), ("il_2", 2)]),
    ):
        assert spread(amount, invoice_lines(rows, notes)) == parts
    used_up = {"invoice_line_item": "il_2", "amount": 2, "tax_amounts": []}
    refused = spread(1, invoice_lines(rows, [*notes, used_up]))
    assert isinstance(refused, Rejected)
    assert (refused.error_class, refused.code) == (ErrorClass.INVALID, "no_split")


def test_inclusive_and_exclusive_taxes_of_one_invoice() -> None:
    rows = [line("il_1", 11_900, ("19", True)), line("il_2", 10_000, ("19", False)), line("il_3", 5_000)]
    assert spread(14_400, invoice_lines(rows, [])) == [("il_1", 5_950), ("il_2", 5_000), ("il_3", 2_500)]


@pytest.mark.parametrize(
    ("currency", "amount", "rate", "credit"),
    [("JPY", 10_001, "10", 333), ("MGA", 999, "20", 1_198), ("KWD", 12_340, "5", 4_320), ("UGX", 250_000, "18", 10_000),
     ("ISK", 123_400, "24", 5_100)],
)  # fmt: skip
def test_amounts_are_minor_units_of_any_currency(currency: str, amount: int, rate: str, credit: int) -> None:
    rows = [line(currency, amount, (rate, False))]
    notes: list[dict[str, Any]] = []
    issue(rows, notes, credit)
    issue(rows, notes, gross(rows) - credit)
    assert gross(notes) == gross(rows)


def test_a_line_below_zero_has_nothing_to_credit() -> None:
    rows = [line("il_1", 10_000, ("8.25", False)), line("il_2", -4_000, ("8.25", False))]
    assert spread(6_495, invoice_lines(rows, [])) == [("il_1", 6_000)]


def test_more_than_the_lines_have_left_is_refused() -> None:
    rows = [line("il_1", 10_000, ("8.25", False))]
    notes: list[dict[str, Any]] = []
    issue(rows, notes, 10_000)
    refused = spread(826, invoice_lines(rows, notes))
    assert isinstance(refused, Rejected)
    assert refused.error_class is ErrorClass.REFUSED
    issue(rows, notes, 825)


def test_lines_of_newer_versions_have_their_taxes_elsewhere() -> None:
    taxes_of_line = [
        {"amount": 825, "tax_behavior": "exclusive"},
        {"amount": 100, "tax_behavior": "inclusive"},
    ]
    (row,) = invoice_lines([{"id": "il_1", "amount": 10_000, "taxes": taxes_of_line}], [])
    assert (row.left, row.taxes) == (10_000, (825,))


def test_parts_in_the_form_of_the_vendor() -> None:
    assert note_lines([("il_1", 5)]) == [
        {"type": "invoice_line_item", "invoice_line_item": "il_1", "amount": 5}
    ]
