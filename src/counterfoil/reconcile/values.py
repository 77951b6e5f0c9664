"""Numbers and dates as people and systems write them. The form is a property of a column, not of one value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, NamedTuple

from counterfoil.core.money import EXPONENTS

SYMBOLS = {"€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN"}
MAX_DIGITS = 30
MAX_FLOAT_DIGITS = 15
"""Digits of a binary fraction that are those which a spreadsheet shows."""
_SYMBOL = "|".join(re.escape(s) for s in sorted(SYMBOLS, key=len, reverse=True))
_NUMBER = re.compile(
    rf"""
    (?P<open>\()?\s*
    (?P<minus>[-+\u2212])?\s*
    (?:(?P<before>[A-Z]{{3}}|{_SYMBOL})\s*)?
    (?P<second>[-+\u2212])?\s*
    (?P<digits>\d[\d.,'\u2019 \u00a0\u202f]*|[.,]\d+)\s*
    (?P<trailing>-)?\s*
    (?:(?P<after>[A-Z]{{3}}|{_SYMBOL})\s*)?
    (?P<side>CR|DR|Cr|Dr|C|D|S|H)?\s*
    (?P<close>\))?
    """,
    re.VERBOSE,
)
_SPACES = re.compile(r"['\u2019 \u00a0\u202f]")
Mark = Literal[".", ","]


class WrittenNumber(NamedTuple):
    value: Decimal
    currency: str = ""


@dataclass(frozen=True, slots=True)
class NumberForm:
    """Notation of the numbers of a column. `sure` is False where every value fits both decimal marks."""

    decimal: Mark = "."
    sure: bool = True
    mixed: bool = False
    """Some values have the other decimal mark, beyond doubt."""

    def read(self, value: Any) -> WrittenNumber | None:
        """Return the number of a cell; None for one that is no number."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | Decimal):
            return WrittenNumber(Decimal(value))
        if isinstance(value, float):
            # A spreadsheet stores binary fractions; 15 digits are those that it shows.
            return (
                WrittenNumber(Decimal(f"{value:.15g}"))
                if isfinite(value) and abs(value) < 10**MAX_FLOAT_DIGITS
                else None
            )
        return None

    def _text(self, text: str) -> WrittenNumber | None:
        match = _NUMBER.fullmatch(text.strip())
        if match is None or (match["open"] is None) != (match["close"] is None):
            return None
        digits = _SPACES.sub("", match["digits"])
        mark = _certain_mark(digits) or self.decimal
        whole, _, fraction = digits.rpartition(mark) if mark in digits else (digits, "", "")
        other = "," if mark == "." else "."
        groups = whole.split(other)
        if mark in whole or other in fraction or (not fraction.isdigit() and fraction):
            return None
        # Groups have three digits, in India two but for the last one: 05.06.26 is a date.
        if len(groups) > 1 and (
            not all(len(g) in (2, 3) for g in groups[1:]) or len(groups[-1]) != 3 or len(groups[0]) > 3
        ):
            return None
        number = "".join(groups) + (f".{fraction}" if fraction else "")
        if not number or len(number) > MAX_DIGITS:
            return None
        value = Decimal(number)
        minus = [match["minus"], match["second"], match["trailing"]]
        negative = match["open"] is not None or any(sign in ("-", "\u2212") for sign in minus if sign)
        if (match["side"] or "").upper() in ("DR", "D", "S"):
            negative = not negative
        currency = match["before"] or match["after"] or ""
        if currency and not is_currency(currency):
            return None
        return WrittenNumber(-value if negative else value, SYMBOLS.get(currency, currency))


def _certain_mark(digits: str) -> Mark | None:
    """Return the decimal mark of one number, if only one is possible."""
    dots, commas = digits.count("."), digits.count(",")
    if dots and commas:
        return "." if digits.rfind(".") > digits.rfind(",") else ","
    if dots + commas != 1:
        return None if not dots and not commas else ("," if dots else ".")
    mark: Mark = "." if dots else ","
    whole, _, fraction = digits.partition(mark)
    if len(fraction) != 3 or len(whole) > 3 or whole in ("", "0"):
        return mark
    return None


def number_form(values: Iterable[Any]) -> NumberForm:
    """Return the form of the numbers of a column."""
    certain: Counter[Mark] = Counter()
    open_marks: Counter[Mark] = Counter()
    for value in values:
        match = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            continue
        digits = _SPACES.sub("", match["digits"])
        mark = _certain_mark(digits)
        if mark is not None:
            certain[mark] += 1
        elif "." in digits or "," in digits:
            open_marks["." if "." in digits else ","] += 1
    if certain:
        return NumberForm(certain.most_common(1)[0][0], mixed=len(certain) > 1)
    if open_marks:
        # Money has rarely three decimals, so a single mark before three digits separates thousands.
        thousands = open_marks.most_common(1)[0][0]
        return NumberForm("," if thousands == "." else ".", sure=False)
    return NumberForm()


def is_currency(text: Any) -> bool:
    """Report whether a text is a currency code of ISO 4217 or a currency sign."""
    if not isinstance(text, str):
        return False
    code = SYMBOLS.get(text.strip(), text.strip())
    return code in EXPONENTS


def currency_of(text: Any) -> str:
    """Return the code of a currency in any case, or its sign; empty for other text."""
    code = str(text).strip() if text is not None else ""
    code = SYMBOLS.get(code, code.upper())
    return code if is_currency(code) else ""


# ------------------------------------------------------------------ dates

Order = Literal["ymd", "dmy", "mdy"]
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar janvier ene enero", "feb february februar fevrier février febrero",
            "mar march mär märz mars marzo mrz", "apr april avril abr abril", "may mai mayo",
            "jun june juni juin junio", "jul july juli juillet julio", "aug august aout août ago agosto",
            "sep sept september septembre septiembre", "oct october okt oktober octobre octubre",
            "nov november novembre noviembre", "dec december dez dezember decembre décembre dic diciembre",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_TIME = r"(?:[T ,]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[AaPp][Mm])?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
_YMD = re.compile(rf"(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}}){_TIME}")
_PACKED = re.compile(r"((?:19|20)\d{2})(\d{2})(\d{2})")
_XXY = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})[-/.](\d{{4}}|\d{{2}}){_TIME}")
_NAMED = re.compile(rf"(\d{{1,2}})[-./ ]+([^\W\d_]+)\.?[-./ ,]+(\d{{4}}|\d{{2}}){_TIME}")
_NAME_FIRST = re.compile(rf"([^\W\d_]+)\.?\s+(\d{{1,2}}),?\s+(\d{{4}}){_TIME}")


@dataclass(frozen=True, slots=True)
class DateForm:
    """Notation of the dates of a column. `sure` is False where day and month may be swapped in every value."""

    order: Order = "ymd"
    sure: bool = True

    def read(self, value: Any) -> date | None:
        """Return the day of a cell; None for one that is no date. The time of the day is left out."""
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        return self._text(value.strip()) if isinstance(value, str) else None

    def _text(self, text: str) -> date | None:
        if match := _YMD.fullmatch(text) or _PACKED.fullmatch(text):
            return _day(*map(int, match.groups()))
        if match := _XXY.fullmatch(text):
            first, second, year = int(match[1]), int(match[3]), _year(match[4])
            return _day(year, second, first) if self.order != "mdy" else _day(year, first, second)
        if match := _NAMED.fullmatch(text):
            return _day(_year(match[3]), _MONTHS.get(match[2].casefold(), 0), int(match[1]))
        if match := _NAME_FIRST.fullmatch(text):
            return _day(_year(match[3]), _MONTHS.get(match[1].casefold(), 0), int(match[2]))
        return None


def _year(text: str) -> int:
    year = int(text)
    return year if year > 99 else 2000 + year if year < 70 else 1900 + year


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def date_form(values: Iterable[Any]) -> DateForm:
    """Return the form of the dates of a column."""
    orders: Counter[Order] = Counter()
    separators: Counter[str] = Counter()
    for value in values:
        match = _XXY.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            continue
        separators[match[2]] += 1
        if int(match[1]) > 12:
            orders["dmy"] += 1
        elif int(match[3]) > 12:
            orders["mdy"] += 1
    if orders:
        return DateForm(orders.most_common(1)[0][0], sure=len(orders) == 1)
    if separators:
        slashes = separators["/"] > separators["."] + separators["-"]
        return DateForm("mdy" if slashes else "dmy", sure=separators["."] == separators.total())
    return DateForm()
