"""What credit memos leave of an invoice: each tax to the cent, and lines that add up."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from counterfoil.connectors.tryton.remainders import (
    CreditPart,
    TaxedLine,
    TaxRow,
    remaining_nets,
    remaining_taxes,
)

CENT = Decimal("0.01")
cents = st.integers(-50_000, 90_000).map(lambda n: n * CENT)
shares = st.fractions(0, 1, max_denominator=97).map(lambda f: Decimal(f.numerator) / f.denominator)
lines = st.builds(TaxedLine, cents, st.sampled_from([(), (7,), (8, 9)]))
rows = st.builds(TaxRow, st.sampled_from(["US-TX", "DE-19"]), cents, cents)
parts = st.builds(
    CreditPart, shares, st.lists(lines, max_size=3).map(tuple), st.lists(rows, max_size=2).map(tuple)
)


@given(st.lists(lines, min_size=1, max_size=6), st.lists(parts, max_size=3), cents)
def test_nets_add_up_to_the_cent(
    of_invoice: list[TaxedLine], credits: list[CreditPart], net: Decimal
) -> None:
    nets = remaining_nets(of_invoice, credits, net, CENT)
    assert sum(nets) == net
    assert all(amount == amount.quantize(CENT) for amount in nets)


@given(st.lists(rows, max_size=4, unique_by=lambda row: row.tax), st.lists(rows, max_size=3))
def test_credits_and_the_rest_take_back_each_tax_exactly(
    of_invoice: list[TaxRow], credited: list[TaxRow]
) -> None:
    left = remaining_taxes(of_invoice, [CreditPart(Decimal(1), (), (row,)) for row in credited], CENT)
    for before, after in zip(of_invoice, left, strict=True):
        credits = [row for row in credited if row.tax == before.tax]
        assert after.amount + sum(row.amount for row in credits) == before.amount
        assert after.base + sum(row.base for row in credits) == before.base


def test_a_credit_is_borne_once_where_a_tax_has_two_rows() -> None:
    row, credit = TaxRow("US-TX", Decimal(100), Decimal(8)), TaxRow("US-TX", Decimal(50), Decimal(4))
    left = remaining_taxes([row, row], [CreditPart(Decimal(1), (), (credit,))], CENT)
    assert [tax.amount for tax in left] == [4, 8]


def test_lines_with_a_tax_of_zero_keep_what_is_left_of_its_base() -> None:
    of_invoice = [TaxedLine(Decimal(60), (7,)), TaxedLine(Decimal(40), (7,)), TaxedLine(Decimal(100), ())]
    credit = CreditPart(Decimal("0.5"), (TaxedLine(Decimal(20), (7,)), TaxedLine(Decimal(30), ())), ())
    assert remaining_nets(of_invoice, [credit], Decimal(175), CENT) == [54, 36, 85]
