"""Columns of an export: the kind of each, and what its name suggests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from counterfoil.reconcile.exports.table import ExportTable, is_empty
from counterfoil.reconcile.values import DateForm, NumberForm, date_form, is_currency, number_form

Role = Literal["key", "amount", "debit", "credit", "date", "currency", "entity", "fee", "tax"]
Kind = Literal["empty", "date", "currency", "number", "text"]
SAMPLE_ROWS = 5_000
NEARLY_ALL_SHARE = 0.95
_WORDS: dict[Role, str] = {
    "key": (
        "id key number no nr num ref reference document doc invoice order transaction txn tx external receipt voucher entry "
        "beleg belegnummer rechnung rechnungsnummer referenz facture piece numero factura external_id memo description "
        "payment charge credit_note"
    ),
    "amount": "amount total gross net value sum amt betrag summe brutto netto gesamtbetrag montant importe paid price balance",
    "debit": "debit soll dr withdrawal outflow debe",
    "credit": "credit haben cr deposit inflow haber",
    "date": "date datum day posted created issued booking booked buchung buchungsdatum valuta time at on fecha period month",
    "currency": "currency ccy cur curr waehrung währung devise moneda iso",
    "entity": "entity company firma gesellschaft subsidiary organisation organization org mandant buchungskreis ledger unit",
    "fee": "fee fees gebuehr gebühr commission charges frais",
    "tax": "tax vat mwst ust gst steuer tva iva salestax",
}
_WORD_SETS = {role: frozenset(words.split()) for role, words in _WORDS.items()}
_SPLIT = re.compile(r"[^\w]+|_+|(?<=[a-zäöü])(?=[A-ZÄÖÜ])")


def words_of(name: str) -> list[str]:
    """Return the words of a column's name, in lower case: `Invoice No.`, `invoice_no` and `invoiceNo` have the same."""
    return [word.casefold() for word in _SPLIT.split(name) if word]


def suggests(name: str, role: Role) -> bool:
    """Report whether the name of a column says that it has this role."""
    words = words_of(name)
    vocabulary = _WORD_SETS[role]
    return any(word in vocabulary for word in words) or "".join(words) in vocabulary


@dataclass(frozen=True)
class Column:
    """One column of an export, judged by a sample of its values."""

    table: ExportTable
    position: int

    @property
    def name(self) -> str:
        return self.table.columns[self.position]

    @property
    def values(self) -> Sequence[Any]:
        return self.table.data[self.position]

    @cached_property
    def sample(self) -> list[Any]:
        """Values that are not empty, from the whole length of the file."""
        step = max(1, len(self.values) // SAMPLE_ROWS)
        return [value for value in self.values[::step] if not is_empty(value)]

    @cached_property
    def numbers(self) -> NumberForm:
        return number_form(self.sample)

    @cached_property
    def dates(self) -> DateForm:
        return date_form(self.sample)

    @cached_property
    def kind(self) -> Kind:
        if not self.sample:
            return "empty"
        if self._share(self.dates.read) >= NEARLY_ALL_SHARE and (
            suggests(self.name, "date") or self._share(self.numbers.read) < NEARLY_ALL_SHARE
        ):
            return "date"
        if self._share(lambda value: value if is_currency(value) else None) >= NEARLY_ALL_SHARE:
            return "currency"
        return "number" if self._share(self.numbers.read) >= NEARLY_ALL_SHARE else "text"

    def _share(self, read: Any) -> float:
        return sum(read(value) is not None for value in self.sample) / len(self.sample)

    @cached_property
    def has_decimals(self) -> bool:
        """Some of its numbers have decimals, a currency or the signs of accounting."""
        read = (self.numbers.read(value) for value in self.sample)
        return any(
            n is not None and (n.currency or n.value != n.value.to_integral_value()) for n in read
        ) or any(isinstance(value, str) and re.search(r"[.,]\d\d\b", value) for value in self.sample[:200])

    @cached_property
    def uniqueness(self) -> float:
        """Share of different values among those of the sample that are not empty."""
        return len(set(map(str, self.sample))) / len(self.sample) if self.sample else 0.0

    @cached_property
    def is_constant(self) -> bool:
        return len(Counter(map(str, self.sample))) == 1

    def suggests(self, role: Role) -> bool:
        return suggests(self.name, role)


def columns_of(table: ExportTable) -> list[Column]:
    return [Column(table, position) for position in range(len(table.columns))]
