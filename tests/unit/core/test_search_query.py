"""Search texts: words without case and accents, and amounts as people of several countries write them."""

from __future__ import annotations

import pytest

from counterfoil.core.money import Money
from counterfoil.core.search_query import MAX_QUERY_CHARS, MAX_QUERY_WORDS, read_query
from counterfoil.core.search_words import object_words, search_words, word_variants


@pytest.mark.parametrize(
    "text", ["1,234.50", "1234.50", "1.234,50", "1234,50", "1'234.50", "-1,234.50", "1,234.50 USD", "usd 1234.5", "USD1234.50", "1.234,50usd"]
)  # fmt: skip
def test_an_amount_is_read_however_it_is_written(text: str) -> None:
    query = read_query(text)
    assert Money(123_450, "USD") in query.amounts
    assert query.exact
    assert query.words == ()


def test_a_currency_beside_an_amount_is_the_only_one() -> None:
    assert read_query("1234.50 eur").amounts == (Money(123_450, "EUR"),)
    assert read_query("1234 jpy").amounts == (Money(1_234, "JPY"),)
    assert read_query("12.345 jpy").amounts == (Money(12_345, "JPY"),)


def test_a_mark_between_three_digits_may_be_of_either_kind() -> None:
    assert set(read_query("1.234 kwd").amounts) == {Money(1_234_000, "KWD"), Money(1_234, "KWD")}
    assert read_query("1,234,567 usd").amounts == (Money(123_456_700, "USD"),)


def test_an_integer_is_a_word_and_an_amount() -> None:
    query = read_query("#4812")
    assert (query.text, query.words, query.names, query.exact) == ("4812", ("4812",), (), False)
    assert Money(481_200, "USD") in query.amounts


def test_words_stand_beside_an_amount() -> None:
    query = read_query("  Müller  &  Söhne 979.88 ")
    assert query.words == query.names == ("muller", "sohne")
    assert Money(97_988, "EUR") in query.amounts


@pytest.mark.parametrize("text", ["INV-2026-01482", "usd", "1.2.3", "1,23,4", "12..5", "", "٣٤"])
def test_what_is_no_amount_has_none(text: str) -> None:
    assert read_query(text).amounts == ()


def test_a_long_text_is_cut_and_too_large_a_number_is_no_amount() -> None:
    assert read_query("9" * 60).amounts == ()
    assert read_query("0").amounts == ()
    many = read_query(" ".join(f"word{n}" for n in range(60)))
    assert len(many.words) == MAX_QUERY_WORDS
    assert len(many.text) <= MAX_QUERY_CHARS


def test_words_have_no_case_and_no_accents() -> None:
    assert search_words("Škoda-Łódź STRASSE Straße Ærø") == ["skoda", "lodz", "strasse", "aero"]
    assert object_words({"number": "INV-2026-1", "legal_name": "Ü AG", "customer_id": "cust_1", "name": 5}) == [
        "1", "2026", "ag", "inv", "u",
    ]  # fmt: skip


def test_near_words_share_a_variant() -> None:
    for near in ("nortwind", "northwindd", "nrothwind", "northwing"):
        assert {*word_variants(near)} & {*word_variants("northwind")}, near
    assert not {*word_variants("southwest")} & {*word_variants("northwind")}
    assert word_variants("0148") == word_variants("abc") == []
