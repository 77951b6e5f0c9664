"""The text of a search: words of names and numbers, and amounts as people of several countries write them."""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from counterfoil.core.money import EXPONENTS, INT64_MAX, Money
from counterfoil.core.search_words import search_words

MAX_QUERY_CHARS = 200
MAX_QUERY_WORDS = 8
"""Further words of a search are left out."""
_NUMBER = re.compile(r"[+\-−]?\d[\d.,'’]*", re.ASCII)
_WITH_CURRENCY = re.compile(r"([A-Za-z]{3})([+\-−]?\d[\d.,'’]*)|([+\-−]?\d[\d.,'’]*)([A-Za-z]{3})", re.ASCII)
_PLAIN = re.compile(r"\d+", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}([.,'’])\d{3}(?:\1\d{3})*", re.ASCII)
_DECIMAL = re.compile(
    r"(?P<whole>\d+|\d{1,3}(?P<group>[.,'’])\d{3}(?:(?P=group)\d{3})*)(?P<mark>[.,])(?P<part>\d{1,4})",
    re.ASCII,
)


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A search, read. An integer is a word and an amount: it may be part of a number."""

    text: str
    """The text without blanks around it, and without the sign before a ticket's number."""
    words: tuple[str, ...] = ()
    """Folded words, integers among them."""
    names: tuple[str, ...] = ()
    """Folded words without the amounts."""
    amounts: tuple[Money, ...] = ()
    """Every amount that the text may mean, without sign."""
    exact: bool = False
    """An amount has decimals or a currency, so that it is no part of a number."""


def read_query(text: str) -> SearchQuery:
    """Return a search text, read. `1,234.50`, `1.234,50` and `1234.50 USD` are the same amount."""
    text = text.strip()[:MAX_QUERY_CHARS].strip().removeprefix("#")
    tokens = [part for token in text.split() for part in _split(token)]
    values: list[Decimal] = []
    words: list[str] = []
    names: list[str] = []
    currencies: list[str] = []
    exact = False
    for n, token in enumerate(tokens):
        read = _values(token)
        beside = [*tokens[max(n - 1, 0) : n], *tokens[n + 1 : n + 2]]
        if token.upper() in EXPONENTS and any(map(_values, beside)):
            currencies.append(token.upper())
            continue
        values += read
        if read and not _PLAIN.fullmatch(token):
            exact = True
            continue
        words += search_words(token)
        names += [] if read else search_words(token)
    return SearchQuery(
        text=text,
        words=tuple(dict.fromkeys(() if currencies and not names else words))[:MAX_QUERY_WORDS],
        names=tuple(dict.fromkeys(names))[:MAX_QUERY_WORDS],
        amounts=tuple(dict.fromkeys(money for value in values for money in _monies(value, currencies))),
        exact=exact or bool(currencies),
    )


def _split(token: str) -> list[str]:
    """Return `USD` and `12.50` of `USD12.50`; other tokens are whole."""
    match = _WITH_CURRENCY.fullmatch(token)
    parts = [part for part in match.groups() if part] if match else []
    return parts if any(part.upper() in EXPONENTS for part in parts) else [token]


def _values(token: str) -> list[Decimal]:
    """Return the numbers that a token may mean, without sign; none for a token that is no number.

    `1,234` is a thousand in most currencies, and a number with three decimals in some.
    """
    if not _NUMBER.fullmatch(token):
        return []
    digits = token.lstrip("+-−")
    if _PLAIN.fullmatch(digits):
        return [Decimal(digits)]
    values = []
    if match := _GROUPED.fullmatch(digits):
        values.append(Decimal(digits.replace(match[1], "")))
    match = _DECIMAL.fullmatch(digits)
    if match and match["group"] != match["mark"]:
        whole = match["whole"].replace(match["group"], "") if match["group"] else match["whole"]
        values.append(Decimal(f"{whole}.{match['part']}"))
    return values


def _monies(value: Decimal, currencies: list[str]) -> list[Money]:
    """Return a number as money: in the named currencies, else in each that has no fewer decimals."""
    monies = []
    for currency in currencies or EXPONENTS:
        minor = value.scaleb(EXPONENTS[currency])
        if minor == minor.to_integral_value() and 0 < minor <= INT64_MAX:
            monies.append(Money(int(minor), currency))
    return monies
