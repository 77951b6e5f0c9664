"""Rows of an export as entries: key, exact amount, currency, entity and day, by the roles of its columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from counterfoil.core.money import MoneyError, exponent
from counterfoil.reconcile.exports.table import ExportTable, is_empty
from counterfoil.reconcile.guess import Guess, Roles
from counterfoil.reconcile.keys import KeyGuess, named_keys
from counterfoil.reconcile.values import NumberForm, currency_of

NO_CURRENCY = "XXX"
"""ISO 4217: no currency is involved. Used where neither side names one."""


class BookEntry(NamedTuple):
    """One row with an amount. The sign is that of the left side."""

    row: int
    """Position in the table."""
    key: str
    """Key for people: as the file writes it."""
    amount: Decimal
    currency: str
    entity: str
    day: date | None
    fee: Decimal | None = None
    tax: Decimal | None = None


class Unreadable(NamedTuple):
    """A row whose amount cannot be read."""

    row: int
    text: str


@dataclass(slots=True)
class Book:
    """The entries of one side, and their match keys."""

    table: ExportTable
    entries: list[BookEntry] = field(default_factory=list)
    keys: list[tuple[str, ...]] = field(default_factory=list)
    """Match keys of each entry: one, or those that its text names."""
    unreadable: list[Unreadable] = field(default_factory=list)
    elsewhere: dict[str, Decimal] = field(default_factory=dict)
    """Sums by currency of rows that are compared in the database and are no entries here."""

    def totals(self) -> dict[str, Decimal]:
        """Return the sum of all rows by currency."""
        totals = dict(self.elsewhere)
        for entry in self.entries:
            totals[entry.currency] = totals.get(entry.currency, Decimal(0)) + entry.amount
        return totals

    def place(self, entry: BookEntry) -> int | str:
        """Return the line or row of an entry in its file."""
        return self.table.places[entry.row]


def books(left: ExportTable, right: ExportTable, guess: Guess) -> tuple[Book, Book]:
    """Return the entries of both sides. The amounts of the right side get the sign of the left one."""
    codes = currencies(left, guess.left), currencies(right, guess.right)
    return (
        book_of(left, guess, "left", default_currency(*codes, 0)),
        book_of(right, guess, "right", default_currency(*codes, 1)),
    )


def default_currency(left: set[str], right: set[str], side: int) -> str:
    """Return the currency of rows that name none: the only one of their side, or else of the other side.

    The sets are those of `currencies`.
    """
    defaults = [codes.copy().pop() if len(codes) == 1 else "" for codes in (left, right)]
    # A side that names no currency has that of the other side, if that has one only.
    return defaults[side] or next((d for d in defaults if d), NO_CURRENCY)


def currencies(table: ExportTable, roles: Roles) -> set[str]:
    """Return the currencies that a side names: as stated, in its column, or written beside its amounts.

    Beside amounts the search ends at the second one.
    """
    if roles.constant_currency:
        return {roles.constant_currency}
    if roles.currency:
        return {currency_of(value) for value in table.column(roles.currency) if not is_empty(value)} - {""}
    codes_in_amounts = set()
    columns = [table.column(name) for name in roles.amount.columns]
    for values in zip(*columns, strict=True):
        codes_in_amounts.add(roles.amount.read(values)[1])
        if len(codes_in_amounts) > 2:
            break
    return codes_in_amounts - {""}


def book_of(table: ExportTable, guess: Guess, side: Literal["left", "right"], default: str) -> Book:
    """Return the entries of one side; `default` is the currency of rows that name none."""
    roles, key = guess.left if side == "left" else guess.right, guess.key
    sign = 1 if side == "left" else guess.sign
    entities = {} if side == "left" else {v: k for k, v in guess.entities.items()}
    book = Book(table)
    amounts = [table.column(name) for name in roles.amount.columns]
    currencies = table.column(roles.currency) if roles.currency else None
    days = table.column(roles.date) if roles.date else None
    names = table.column(roles.entity) if roles.entity else None
    fees, taxes = (table.column(n) if n else None for n in (roles.fee, roles.tax))
    key_columns = (
        [table.column(n) for n in (key.left if side == "left" else key.right)] if key is not None else []
    )
    inside = key is not None and key.inside == side
    plain = NumberForm()
    for row in range(len(table)):
        values = tuple(column[row] for column in amounts)
        amount, written = roles.amount.read(values)
        if amount is None:
            if not all(map(is_empty, values)) or any(not is_empty(column[row]) for column in key_columns):
                book.unreadable.append(Unreadable(row, " ".join(str(v) for v in values if not is_empty(v))))
            continue
        code = currency_of(currencies[row]) if currencies is not None else ""
        parts = tuple(column[row] for column in key_columns)
        entry = BookEntry(
            row,
            " ".join(str(part).strip() for part in parts if not is_empty(part)),
            amount * sign if sign == -1 else amount,
            code or written or default,
            _entity(names[row], entities) if names is not None else "",
            roles.date_form.read(days[row]) if days is not None else None,
            _number(fees, row, plain),
            _number(taxes, row, plain),
        )
        book.entries.append(entry)
        book.keys.append(_match_keys(key, parts, inside))
    return book


def _match_keys(key: KeyGuess | None, parts: tuple[Any, ...], inside: bool) -> tuple[str, ...]:
    if key is None:
        return ()
    if inside:
        return named_keys(parts[0])
    texts = [key.text(part) for part in parts]
    return ("\x1f".join(texts),) if any(texts) else ()


def _entity(value: Any, names: dict[str, str]) -> str:
    text = str(value).strip() if value is not None else ""
    return names.get(text, text)


def _number(values: list[Any] | None, row: int, form: NumberForm) -> Decimal | None:
    number = form.read(values[row]) if values is not None else None
    return None if number is None else number.value


def decimals_of(currency: str) -> int:
    """Return the number of decimals of a currency; two where it is unknown."""
    try:
        return exponent(currency)
    except MoneyError:
        return 2
