"""References of which some stand alone and some inside of a text: no mix of both is a difference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.reconcile.exports.table import ExportTable
from counterfoil.reconcile.guess import Stated
from counterfoil.reconcile.observe import observe_tables

TEXTS = ("{}", "{}", "payment for {} thanks", "{}, with thanks", "Wire: {}.", "SEPA ({})", " {} ")
KEYS = ("INV-{:05}", "{}", "R{}", "2026/{}", "inv_{}")
KEY = Stated(keys=(("inv", "text"),))


def table(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> ExportTable:
    data = [list(column) for column in zip(*rows, strict=True)]
    return ExportTable(name, list(columns), data, range(2, len(rows) + 2))


def mixed(key: str, texts: Sequence[str]) -> tuple[ExportTable, ExportTable]:
    """Return invoices, and payments whose texts name them."""
    keys = [key.format(n) for n in range(1000, 1000 + len(texts))]
    amounts = [f"{n * 7 + 10}.{n % 90 + 10}" for n in range(len(texts))]
    payments = [text.format(k) for text, k in zip(texts, keys, strict=True)]
    return (
        table("invoices", ("inv", "amount"), list(zip(keys, amounts, strict=True))),
        table("payments", ("text", "amount"), list(zip(payments, amounts, strict=True))),
    )


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(KEYS),
    st.lists(st.sampled_from(TEXTS), min_size=3, max_size=60),
    st.booleans(),
    st.booleans(),
)
def test_no_mix_of_clean_and_embedded_references_differs(
    key: str, texts: list[str], stated: bool, swapped: bool
) -> None:
    left, right = mixed(key, texts)
    keys = Stated(keys=(("text", "inv"),)) if swapped else KEY
    left, right = (right, left) if swapped else (left, right)
    observed = observe_tables(left, right, keys if stated else Stated())
    assert observed.agrees, observed.data()
    assert observed.comparison.count == len(texts)


@pytest.mark.parametrize(
    ("texts", "reading"),
    [
        (["{}"] * 100, "100% of the values stand on both sides"),
        (["{}"] * 60 + ["payment for {} thanks"] * 40, "100% of the texts of the right side name a key"),
    ],
)
@pytest.mark.parametrize("stated", [Stated(), KEY])
def test_the_reading_that_matches_most_is_named(texts: list[str], reading: str, stated: Stated) -> None:
    observed = observe_tables(*mixed("INV-{:05}", texts), stated)
    assert observed.agrees
    assert reading in observed.data()["guessed"]["key"]["why"]


def test_a_stated_key_is_read_without_punctuation_where_that_matches_most() -> None:
    left, right = mixed("INV-{:05}", ["{}"] * 20)
    right.data[0] = [text.replace("-0", " ") for text in right.data[0]]
    observed = observe_tables(left, right, KEY)
    assert observed.agrees
    assert "without punctuation" in observed.data()["guessed"]["key"]["why"]


def test_one_embedded_reference_among_many_clean_ones_is_matched() -> None:
    observed = observe_tables(*mixed("{}", [*["{}"] * 99, "payment for {} thanks"]), Stated())
    assert observed.agrees


def test_a_text_column_wins_over_a_reference_that_is_often_empty() -> None:
    left, right = mixed("INV-{:05}", ["payment for {} thanks"] * 50)
    keys = left.data[0]
    right.columns.append("ref")
    right.data.append([k if n % 2 else f"OTHER-{n}" for n, k in enumerate(keys)])
    observed = observe_tables(left, right, Stated())
    assert observed.agrees, observed.data()["guessed"]
