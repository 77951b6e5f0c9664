"""Amounts of entries in the currency of the company, and what is left of an entry to take back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.connectors.tryton.entry_amounts import BookedAmount, functional_amounts
from counterfoil.connectors.tryton.entry_body import described, reference_of
from counterfoil.connectors.tryton.entry_reversals import EntryLine, check_left, divided, originals_of
from counterfoil.core.errors import Refused

CENT = Decimal("0.01")
RATE = Decimal("1.0850")
amounts = st.decimals("0.01", "9999.99", places=2)


@given(st.lists(amounts, min_size=1, max_size=6), amounts)
def test_payments_of_a_whole_document_take_its_whole_functional_amount(
    parts: Sequence[Decimal], booked: Decimal
) -> None:
    whole = {"invoice": BookedAmount(sum(parts, Decimal(0)), booked)}
    taken = functional_amounts([(-part, "invoice") for part in parts], whole, RATE, CENT)
    assert sum(taken) == -booked
    assert all(amount == amount.quantize(CENT) for amount in taken)


def test_lines_without_a_source_have_the_rate_of_the_day_rounded_half_to_even() -> None:
    lines = [(Decimal("0.10"), None), (Decimal("-0.30"), None), (Decimal("1.00"), "settled")]
    settled: dict[Any, BookedAmount] = {"settled": BookedAmount(Decimal(0), Decimal(0))}
    assert functional_amounts(lines, settled, Decimal("0.05"), CENT) == [
        Decimal("0.00"), Decimal("-0.02"), Decimal("0.05"),
    ]  # fmt: skip


def booked(
    number: int, account: int, amount: str, party: int | None = None, document: int | None = None
) -> Any:
    side = Decimal(amount)
    return {
        "id": number, "account": {"id": account}, "party": party, "invoice_payment": document,
        "debit": max(side, Decimal(0)), "credit": max(-side, Decimal(0)), "second_currency": None,
    }  # fmt: skip


def test_a_line_meets_the_original_of_its_amount_before_a_larger_one() -> None:
    originals = [booked(1, 12, "-30", 7, 1), booked(2, 12, "-20", 7, 2), booked(3, 10, "50")]
    lines = [EntryLine(12, 7, Decimal(20)), EntryLine(12, 7, Decimal(5), 1), EntryLine(10, None, Decimal(50))]
    assert [match and match["id"] for match in originals_of(lines, originals)] == [2, 1, None]


@given(st.lists(amounts, min_size=1, max_size=4), st.data())
def test_a_return_is_divided_among_what_it_takes_back(parts: Sequence[Decimal], data: st.DataObject) -> None:
    """However the returns of a payment are cut, each document and the account get back what they had."""
    originals = [booked(n, 12, f"-{part}", 7, n or None) for n, part in enumerate(parts)]
    cut = Decimal(data.draw(st.integers(0, int(sum(parts) * 100)))) / 100
    named = data.draw(st.sampled_from([None, *range(1, len(parts))]))
    earlier: list[Any] = []
    back = {None: Decimal(0)} | {n: Decimal(0) for n in range(1, len(parts))}
    for amount in filter(None, (cut, sum(parts, Decimal(0)) - cut)):
        lines = divided([EntryLine(12, 7, amount, named)], originals, earlier)
        assert sum(line.amount for _, line in lines) == amount
        if amount > max(parts):
            assert all(line.amount <= parts[line.document or 0] for _, line in lines)
        for _, line in lines:
            back[line.document] += line.amount
            earlier.append(booked(90, 12, str(line.amount), 7, line.document))
    if cut in (0, sum(parts)) and (len(parts) > 1 or named is None):
        assert back == {n or None: part for n, part in enumerate(parts)}


@pytest.mark.parametrize(
    ("amount", "earlier", "code"),
    [
        ("100", [], None),
        ("60", ["40"], None),
        ("60", ["41"], "already_reversed"),
        ("0.01", ["100"], "already_reversed"),
        ("-5", [], "reverses_nothing"),
    ],
)
def test_no_more_is_taken_back_than_earlier_reversals_left(
    amount: str, earlier: Sequence[str], code: str | None
) -> None:
    lines = [EntryLine(12, 7, Decimal(amount)), EntryLine(52, None, -Decimal(amount))]
    others = [booked(9, 12, part, 7) for part in earlier]
    if code is None:
        return check_left(lines, [booked(1, 12, "-100", 7)], others, "ch_1")
    with pytest.raises(Refused) as caught:
        check_left(lines, [booked(1, 12, "-100", 7)], others, "ch_1")
    assert caught.value.code == code
    return None


def test_a_line_without_a_party_may_have_a_fee_of_the_reversal() -> None:
    originals = [booked(1, 10, "100")]
    check_left([EntryLine(10, None, Decimal(-115))], originals, [], "ch_1")
    with pytest.raises(Refused):
        check_left([EntryLine(10, None, Decimal(-15))], originals, [booked(2, 10, "-100")], "ch_1")


@pytest.mark.parametrize("reference", ["ch_1", "a b", "a%_\\", "[x"])
def test_reference_is_read_back_from_the_description(reference: str) -> None:
    for text in ("", "Globex [x] y", "] z"):
        assert reference_of(described(reference, text)) == reference


@pytest.mark.parametrize("text", [None, "", "By hand", "[", "[x", "[x]y", " [x] y", "CN-1 applied [k]"])
def test_descriptions_by_hand_have_no_reference(text: str | None) -> None:
    assert reference_of(text) is None
