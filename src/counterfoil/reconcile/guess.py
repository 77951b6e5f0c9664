"""Roles of the columns of two exports: key, amount, currency, date, entity, fee and tax, each with its confidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice, product
from typing import Any, Literal

from counterfoil.reconcile.columns import Column, columns_of, words_of
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable
from counterfoil.reconcile.keys import READINGS, KeyGuess, fullest, guess_key, named_keys
from counterfoil.reconcile.values import DateForm, NumberForm, currency_of

JOINED_ROWS = 20_000
"""Pairs of rows by which amounts, dates and entities are judged, at most."""
MAX_INSIDE_ROWS = 2_000_000
"""Rows of an export up to which values inside of texts are preferred to fewer equal ones: they are compared in memory."""
SAME_DAYS = 5
SURE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class AmountColumns:
    """An amount column, or a pair of debit and credit: the amount is debit less credit."""

    columns: tuple[str, ...]
    forms: tuple[NumberForm, ...]

    def read(self, values: Sequence[Any]) -> tuple[Decimal | None, str]:
        """Return the amount of a row and the currency written beside it; None for a row without an amount."""
        numbers = [form.read(value) for form, value in zip(self.forms, values, strict=True)]
        if len(numbers) == 1:
            return (None, "") if numbers[0] is None else (numbers[0].value, numbers[0].currency)
        if numbers[0] is None and numbers[1] is None:
            return None, ""
        debit, credit = (Decimal(0) if n is None else n.value for n in numbers)
        return debit - credit, next((n.currency for n in numbers if n is not None and n.currency), "")

    @property
    def text(self) -> str:
        return " - ".join(self.columns)


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of one side's columns."""

    amount: AmountColumns
    currency: str = ""
    constant_currency: str = ""
    date: str = ""
    date_form: DateForm = field(default_factory=DateForm)
    entity: str = ""
    fee: str = ""
    tax: str = ""


@dataclass(frozen=True, slots=True)
class Sureness:
    """Confidence in one guess, from 0 to 1, and its reason."""

    share: float
    why: str


@dataclass(frozen=True, slots=True)
class Guess:
    """Columns of two exports by their role, guessed or stated by a person."""

    left: Roles
    right: Roles
    key: KeyGuess | None
    sign: Literal[1, -1] = 1
    """-1: the right side writes the amounts of the left one with the other sign."""
    entities: dict[str, str] = field(default_factory=dict)
    """Names of the right side's entities by those of the left side, where they differ."""
    sure: dict[str, Sureness] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stated:
    """Columns that a person names: pairs of the left and the right one."""

    keys: tuple[tuple[str, str], ...] = ()
    amount: tuple[str, str] | None = None
    date: tuple[str, str] | None = None
    currency: tuple[str, str] | None = None
    """Columns, or a currency code for both sides."""
    entity: tuple[str, str] | None = None
    fee: tuple[str, str] | None = None
    tax: tuple[str, str] | None = None
    sign: Literal[0, 1, -1] = 0


def guess(left: ExportTable, right: ExportTable, stated: Stated) -> Guess:
    """Return the roles of the columns. Raises ExportRefused where no amount is found, or a stated column is missing."""
    return _Guesser(left, right, stated).guess()


class _Guesser:
    def __init__(self, left: ExportTable, right: ExportTable, stated: Stated) -> None:
        self._tables = left, right
        self._columns = columns_of(left), columns_of(right)
        self._stated = stated
        self._sure: dict[str, Sureness] = {}

    def guess(self) -> Guess:
        key = self._key()
        self._joined = list(islice(self._pairs_of_rows(key), JOINED_ROWS)) if key is not None else []
        amounts = self._amounts()
        sign = self._sign(amounts)
        dates = self._dates()
        roles = []
        for side in (0, 1):
            amount = amounts[side]
            used = (
                {*amount.columns, *(key.left if side == 0 else key.right if key else ())}
                if key
                else {*amount.columns}
            )
            currency, constant = self._currency(side)
            roles.append(
                Roles(
                    amount,
                    currency,
                    constant,
                    dates[side].name if dates is not None else "",
                    self._date_forms[side] if dates is not None else DateForm(),
                    fee=self._named(side, "fee", used),
                    tax=self._named(side, "tax", used),
                )
            )
        entity, entities = self._entity()
        roles = [replace(role, entity=entity[side]) for side, role in enumerate(roles)]
        return Guess(roles[0], roles[1], key, sign, entities, self._sure)

    # ------------------------------------------------------------------ key

    def _key(self) -> KeyGuess | None:
        large = max(table.rows for table in self._tables) > MAX_INSIDE_ROWS
        readings = READINGS[:2] if large else READINGS
        if self._stated.keys:
            lefts, rights = zip(*self._stated.keys, strict=True)
            names = [
                tuple(self._tables[side].columns[self._tables[side].position(n)] for n in side_names)
                for side, side_names in enumerate((lefts, rights))
            ]
            if len(names[0]) > 1:
                self._sure["key"] = Sureness(1.0, "as stated")
                return KeyGuess(names[0], names[1], "equal", 1.0)
            columns = [next(c for c in self._columns[n] if c.name == names[n][0]) for n in (0, 1)]
            stated = fullest(columns[0], columns[1], readings)
            self._sure["key"] = Sureness(1.0, f"as stated; {_overlap_words(stated)}")
            return stated
        key = guess_key(*self._columns, readings)
        if key is None:
            self._sure["key"] = Sureness(
                0.2, "no column of one side has values of the other side: rows are paired by amount and date"
            )
            return None
        self._sure["key"] = Sureness(min(1.0, key.overlap), _overlap_words(key))
        return key

    def _pairs_of_rows(self, key: KeyGuess | None) -> Iterator[tuple[int, int]]:
        """Yield pairs of rows whose key stands once on each side."""
        if key is None:
            return
        sides = []
        for table, names in zip(self._tables, (key.left, key.right), strict=True):
            columns = [table.column(name) for name in names]
            sides.append([tuple(key.text(v) for v in values) for values in zip(*columns, strict=True)])
        left, right = sides
        if key.reading == "inside":
            texts, keys = (right, left) if key.inside == "right" else (left, right)
            by_key = {k[0]: n for n, k in enumerate(keys) if k[0]}
            for n, text in enumerate(texts):
                hits = {by_key[k] for k in named_keys(text[0]) if k in by_key}
                if len(hits) == 1:
                    yield (hits.pop(), n) if key.inside == "right" else (n, hits.pop())
            return
        counts, others = Counter(left), Counter(right)
        places = {k: n for n, k in enumerate(right)}
        for n, k in enumerate(left):
            if any(k) and counts[k] == 1 and others.get(k) == 1:
                yield n, places[k]

    # ------------------------------------------------------------------ amount and sign

    def _amounts(self) -> tuple[AmountColumns, AmountColumns]:
        if self._stated.amount is not None:
            self._sure["amount"] = Sureness(1.0, "as stated")
            return self._stated_amount(0), self._stated_amount(1)
        choices = [self._amount_choices(side) for side in (0, 1)]
        for side, table in enumerate(self._tables):
            if not choices[side]:
                columns = ", ".join(f"{c.name} ({c.kind})" for c in self._columns[side][:20])
                raise ExportRefused(
                    f"{table.name} has no column of amounts. Name one with --amount. Its columns: {columns}."
                )
        best = max(
            ((self._agreement(a, b), _likeness(a, b), a, b) for a, b in product(*choices)),
            key=lambda c: (round(c[0], 2), c[1]),
        )
        if self._joined:
            why = f"{best[0]:.0%} of {len(self._joined):,} pairs of rows have the same amount"
            self._sure["amount"] = Sureness(best[0], why)
        else:
            self._sure["amount"] = Sureness(0.5, "by the names of the columns")
        for amount, name in ((best[2], "left"), (best[3], "right")):
            if not all(form.sure for form in amount.forms):
                mark = "a comma" if amount.forms[0].decimal == "." else "a point"
                self._sure["amount"] = Sureness(
                    min(0.5, self._sure["amount"].share),
                    f"{self._sure['amount'].why}; on the {name} side {mark} was read as the separator of thousands",
                )
        return best[2], best[3]

    def _stated_amount(self, side: int) -> AmountColumns:
        assert self._stated.amount is not None
        text = self._stated.amount[side]
        table = self._tables[side]
        names = [text]
        if text not in table.columns and " - " in text:
            names = text.split(" - ")
        columns = [self._columns[side][table.position(name)] for name in names]
        return AmountColumns(tuple(c.name for c in columns), tuple(c.numbers for c in columns))

    def _amount_choices(self, side: int) -> list[AmountColumns]:
        columns = [c for c in self._columns[side] if c.kind == "number"]
        pairs = [
            AmountColumns((debit.name, credit.name), (debit.numbers, credit.numbers))
            for debit, credit in product(columns, columns)
            if debit is not credit
            and debit.suggests("debit")
            and credit.suggests("credit")
            and _one_of_two(debit, credit)
        ]
        singles = [c for c in columns if c.has_decimals or c.suggests("amount")]
        singles = [c for c in singles if not (c.suggests("fee") or c.suggests("tax"))] or singles
        singles = singles or [c for c in columns if not c.suggests("key")] or columns
        return pairs or [AmountColumns((c.name,), (c.numbers,)) for c in singles]

    def _agreement(self, a: AmountColumns, b: AmountColumns) -> float:
        """Return the share of joined rows with the same amount, whatever the sign. Zeros say nothing."""
        pairs = self._amount_pairs((a, b))
        same = sum(abs(x) == abs(y) and x != 0 for x, y in pairs)
        return same / max(1, len(pairs))

    def _amount_pairs(self, amounts: tuple[AmountColumns, AmountColumns]) -> list[tuple[Decimal, Decimal]]:
        sides = [
            [table.column(name) for name in amount.columns]
            for table, amount in zip(self._tables, amounts, strict=True)
        ]
        pairs = []
        for rows in self._joined[:2_000]:
            read = [
                amount.read([column[row] for column in columns])[0]
                for amount, columns, row in zip(amounts, sides, rows, strict=True)
            ]
            if read[0] is not None and read[1] is not None:
                pairs.append((read[0], read[1]))
        return pairs

    def _sign(self, amounts: tuple[AmountColumns, AmountColumns]) -> Literal[1, -1]:
        if self._stated.sign:
            self._sure["sign"] = Sureness(1.0, "as stated")
            return self._stated.sign
        pairs = [(x, y) for x, y in self._amount_pairs(amounts) if x and abs(x) == abs(y)]
        opposite = sum(x == -y for x, y in pairs)
        if not pairs:
            self._sure["sign"] = Sureness(0.5, "no pair of rows shows it")
            return 1
        share = opposite / len(pairs)
        self._sure["sign"] = Sureness(
            max(share, 1 - share), f"{max(share, 1 - share):.0%} of the pairs of rows show it"
        )
        return -1 if share > 0.5 else 1

    # ------------------------------------------------------------------ dates

    def _dates(self) -> tuple[Column, Column] | None:
        stated = self._stated.date
        if stated is not None:
            chosen = tuple(self._columns[side][self._tables[side].position(stated[side])] for side in (0, 1))
            self._sure["date"] = Sureness(1.0, "as stated")
            self._date_forms = self._forms(chosen[0], chosen[1])
            for table, column, form in zip(self._tables, chosen, self._date_forms, strict=True):
                if not any(form.read(value) is not None for value in column.sample):
                    raise ExportRefused(f"The column {column.name} of {table.name} has no dates.")
            return chosen[0], chosen[1]
        choices = [[c for c in self._columns[side] if c.kind == "date"] for side in (0, 1)]
        if not all(choices):
            sides = " and ".join(t.name for t, c in zip(self._tables, choices, strict=True) if not c)
            self._sure["date"] = Sureness(0.0, f"not compared: no column of {sides} has dates")
            return None
        scored = []
        for a, b in product(*choices):
            forms = self._forms(a, b)
            scored.append((self._near(a, b, forms), _likeness(a, b), a, b, forms))
        share, _, a, b, forms = max(scored, key=lambda s: (round(s[0], 2), s[1]))
        self._date_forms = forms
        if self._joined:
            why = f"{share:.0%} of the pairs of rows are within {SAME_DAYS} days"
        else:
            why = "by the names of the columns"
        if not all(form.sure for form in forms):
            why += "; day and month may be swapped"
            share = min(share, 0.5)
        self._sure["date"] = Sureness(share if self._joined else 0.5, why)
        return a, b

    def _forms(self, a: Column, b: Column) -> tuple[DateForm, DateForm]:
        """Return the forms of two date columns; what one column leaves open is as the other shows it."""
        pairs = product(_possible(a.dates), _possible(b.dates))
        return max(pairs, key=lambda forms: self._near(a, b, forms))

    def _near(self, a: Column, b: Column, forms: tuple[DateForm, DateForm]) -> float:
        days = [(forms[0].read(a.values[x]), forms[1].read(b.values[y])) for x, y in self._joined[:2_000]]
        near = sum(x is not None and y is not None and abs((x - y).days) <= SAME_DAYS for x, y in days)
        equal = sum(x is not None and x == y for x, y in days)
        return (near + 0.001 * equal) / max(1, len(days))

    # ------------------------------------------------------------------ currency, entity, fee and tax

    def _currency(self, side: int) -> tuple[str, str]:
        """Return the column of the currency, and a currency of all rows."""
        stated = self._stated.currency
        if stated is not None:
            self._sure["currency"] = Sureness(1.0, "as stated")
            code = currency_of(stated[side])
            if stated[side] not in self._tables[side].columns and code:
                return "", code
            return self._tables[side].columns[self._tables[side].position(stated[side])], ""
        columns = [c for c in self._columns[side] if c.kind == "currency"]
        columns.sort(key=lambda c: not c.suggests("currency"))
        if columns:
            self._sure.setdefault("currency", Sureness(1.0, "its values are codes of ISO 4217"))
            return columns[0].name, ""
        return "", ""

    def _named(self, side: int, role: Literal["fee", "tax"], used: Iterable[str]) -> str:
        stated = self._stated.fee if role == "fee" else self._stated.tax
        if stated is not None:
            return (
                self._tables[side].columns[self._tables[side].position(stated[side])] if stated[side] else ""
            )
        columns = [
            c for c in self._columns[side] if c.kind == "number" and c.suggests(role) and c.name not in used
        ]
        columns = [
            c
            for c in columns
            if not any(word in ("rate", "percent", "code", "id") for word in words_of(c.name))
        ]
        return columns[0].name if columns else ""

    def _entity(self) -> tuple[tuple[str, str], dict[str, str]]:
        stated = self._stated.entity
        choices = [
            [
                c
                for c in self._columns[side]
                if c.kind == "text" and c.suggests("entity") and c.uniqueness < 0.5
            ]
            for side in (0, 1)
        ]
        if stated is not None:
            choices = [[self._columns[side][self._tables[side].position(stated[side])]] for side in (0, 1)]
        for a, b in product(*choices):
            agreements = Counter(
                (str(a.values[x]).strip(), str(b.values[y]).strip()) for x, y in self._joined
            )
            names = {
                left: max((n, r) for (l2, r), n in agreements.items() if l2 == left)[1]
                for left, _ in agreements
            }
            fitting = sum(n for (left, r), n in agreements.items() if names[left] == r)
            share = fitting / max(1, agreements.total())
            if stated is not None or share >= SURE_SHARE:
                why = (
                    f"{share:.0%} of the pairs of rows agree" if agreements else "by the names of the columns"
                )
                self._sure["entity"] = Sureness(1.0 if stated is not None else share, why)
                return (a.name, b.name), {left: r for left, r in names.items() if left != r}
        return ("", ""), {}


def _overlap_words(key: KeyGuess) -> str:
    """Return how the key is read, and how much of it stands on both sides."""
    share = f"{key.overlap:.0%}"
    return {
        "equal": f"{share} of the values stand on both sides",
        "loose": f"{share} of the values stand on both sides without punctuation and leading zeros",
        "inside": f"{share} of the texts of the {key.inside} side name a key of the other side",
    }[key.reading]


def _possible(form: DateForm) -> list[DateForm]:
    """Return the form, with day and month swapped too where its values leave that open."""
    return [form] if form.sure else [form, DateForm("dmy" if form.order == "mdy" else "mdy", sure=False)]


def _likeness(a: AmountColumns | Column, b: AmountColumns | Column) -> float:
    """Return how much the names of two columns suggest that they belong together."""
    score = 0.0
    names = [" ".join(x.columns) if isinstance(x, AmountColumns) else x.name for x in (a, b)]
    words = [set(words_of(name)) for name in names]
    score += len(words[0] & words[1])
    for side in words:
        score += 0.5 * bool(side & {"amount", "total", "gross", "betrag", "brutto", "gesamtbetrag"})
        score -= 0.25 * bool(
            side & {"net", "netto", "tax", "fee", "balance", "rate", "price", "quantity", "due", "vat", "id"}
        )
        score += 0.25 * bool(side & {"date", "datum"}) - 0.25 * bool(side & {"due", "created", "updated"})
    return score


def _one_of_two(debit: Column, credit: Column) -> bool:
    """Report whether most rows have an amount in only one of two columns."""
    both = [
        (debit.numbers.read(x), credit.numbers.read(y))
        for x, y in islice(zip(debit.values, credit.values, strict=True), 1_000)
    ]
    one = sum(bool(x and x.value) != bool(y and y.value) for x, y in both)
    return one >= 0.8 * max(1, len(both))
