"""Two exports side by side, without configuration: what was guessed, what matches, and each difference with its cause."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from counterfoil.reconcile.compare import BookComparison, Difference, compare
from counterfoil.reconcile.entries import Book, BookEntry, books, decimals_of
from counterfoil.reconcile.exports.queries import joined_name, read_exports
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable, joined
from counterfoil.reconcile.guess import Guess, Roles, Stated, guess
from counterfoil.reconcile.large.company_engine import compare_in_engine
from counterfoil.reconcile.large.engine import (
    MAX_WHOLE_ROWS,
    KeysInexact,
    PairsUnsure,
    compare_large,
    connect,
    guess_by_pairs,
    guess_large,
)
from counterfoil.reconcile.large.parquet import ParquetSide, parquet_rows
from counterfoil.reconcile.large.sides import AmountsTooLong, SpooledSide
from counterfoil.reconcile.large.spool import Spool, SpooledTable

MAX_NAMED_ROWS = 20
EXACT = Context(prec=100)
"""Digits of any sum: of amounts with 38 digits, and of others with 30 decimals."""
SMALL_ROWS = 20_000
"""Rows of an export that Python compares in memory."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The comparison of two exports."""

    guess: Guess
    comparison: BookComparison
    ties: list[str] = field(default_factory=list)
    """Totals that a file itself states: whether its rows add up to them, in sentences."""
    broken_ties: int = 0
    unjudged: int = 0
    """Groups that differ and are too many to name their causes."""

    @property
    def agrees(self) -> bool:
        """True if nothing differs, every amount was read, and stated totals are those of the rows."""
        comparison = self.comparison
        unreadable = comparison.left.unreadable or comparison.right.unreadable
        return not (comparison.differences or unreadable or self.broken_ties or self.unjudged)

    def data(self) -> dict[str, Any]:
        """Return the report as JSON: amounts are decimal texts."""
        with localcontext(EXACT):
            return self._data()

    def _data(self) -> dict[str, Any]:
        c = self.comparison
        totals = c.left.totals(), c.right.totals()
        currencies = sorted(totals[0].keys() | totals[1].keys())
        return {
            "guessed": guessed(self.guess),
            "matched": c.count,
            "matched_by_shape": dict(sorted(c.shapes.items())),
            "totals": {
                "left": {k: money(v, k) for k, v in sorted(totals[0].items())},
                "right": {k: money(v, k) for k, v in sorted(totals[1].items())},
                "difference": {
                    k: money(totals[0].get(k, Decimal(0)) - totals[1].get(k, Decimal(0)), k)
                    for k in currencies
                },
            },
            "causes": dict(sorted(Counter(d.cause for d in c.differences).items())),
            "differences": [difference_data(d, c) for d in c.differences],
            "unjudged": self.unjudged,
            "unreadable": [
                {"side": side, "place": book.table.places[u.row], "amount": u.text}
                for side, book in (("left", c.left), ("right", c.right))
                for u in book.unreadable
            ],
            "stated_totals": self.ties,
            "notes": [
                f"{book.table.name}: {note}" for book in (c.left, c.right) for note in book.table.notes
            ],
            "rows": {"left": c.left.table.rows, "right": c.right.table.rows},
        }


def observe(
    left: str, right: str, stated: Stated | None = None, *, small_rows: int = SMALL_ROWS, engine: str = ""
) -> Observed:
    """Compare two files or queries, or two tables of a database by its address. Raises ExportRefused.

    Exports with more than `small_rows` rows are compared in a database on disk, with the same report.
    """
    stated = stated or Stated()
    if engine:
        with localcontext(EXACT):
            return _observed(*compare_in_engine(engine, left, right, stated))
    with localcontext(EXACT), ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="counterfoil-")))
        spool = stack.enter_context(Spool(folder, small_rows))
        parquet = [parquet_rows(side) for side in (left, right)]
        if all(parquet) and max(parquet) > small_rows:
            database = stack.enter_context(connect(folder))
            sides = [ParquetSide(Path(side), database) for side in (left, right)]
            with suppress(KeysInexact, AmountsTooLong):
                for by_pairs, guesser in ((True, guess_by_pairs), (False, guess_large)):
                    chosen = guesser(sides, stated)
                    if chosen and sides[0].reads(chosen, "left") and sides[1].reads(chosen, "right"):
                        with suppress(PairsUnsure):
                            return _observed(*compare_large(database, sides, chosen, by_pairs=by_pairs))
        tables = [read_exports(side, spool.builder) for side in (left, right)]
        if all(not isinstance(table, SpooledTable) for side in tables for table in side):
            one, two = (joined(joined_name(side), side) for side in tables)
            return observe_tables(one, two, stated)
        database = stack.enter_context(connect(folder))
        spooled = [SpooledSide(spool.spooled(joined_name(side), side), database, folder) for side in tables]
        chosen = guess_large(spooled, stated)
        if chosen is None:
            return observe_tables(spooled[0].header.whole(), spooled[1].header.whole(), stated)
        try:
            return _observed(*compare_large(database, spooled, chosen))
        except AmountsTooLong:
            if max(side.header.rows for side in spooled) > MAX_WHOLE_ROWS:
                raise
            return observe_tables(spooled[0].header.whole(), spooled[1].header.whole(), stated)


def observe_tables(left: ExportTable, right: ExportTable, stated: Stated) -> Observed:
    chosen = guess(left, right, stated)
    one, two = books(left, right, chosen)
    return _observed(chosen, compare(one, two, keyed=chosen.key is not None))


def _observed(chosen: Guess, comparison: BookComparison, unjudged: int = 0) -> Observed:
    ties: list[str] = []
    sides = ((comparison.left, chosen.left, 1), (comparison.right, chosen.right, chosen.sign))
    for book, _, _ in sides:
        if not book.entries and not book.elsewhere:
            raise ExportRefused(f"{book.table.name} has no row with an amount.")
    broken = sum(_tie(book, roles, sign, ties) for book, roles, sign in sides)
    return Observed(chosen, comparison, ties, broken, unjudged)


def _tie(book: Book, roles: Roles, sign: int, ties: list[str]) -> int:
    """Compare the sum of a file's rows with the total that the file states below them; return 1 if they differ."""
    positions = [book.table.position(name) for name in roles.amount.columns]
    for stated in book.table.stated:
        amount, _ = roles.amount.read([stated.values[p] for p in positions])
        if amount is None:
            continue
        sums = book.totals().values()
        totals = {sum(sums, Decimal(0)) * sign, *(v * sign for v in sums)}
        place = f"{book.table.name}, {book.table.unit} {stated.row}"
        if amount in totals:
            ties.append(f"{place} states a total of {amount}, and the rows add up to it.")
            return 0
        total = sum(sums, Decimal(0)) * sign
        rest = f"{amount - total} is missing" if amount > total else f"{total - amount} is too much"
        ties.append(f"{place} states a total of {amount}, and the rows add up to {total}: {rest}.")
        return 1
    return 0


# ------------------------------------------------------------------ parts of the report


def money(amount: Decimal, currency: str) -> str:
    """Return an amount as decimal text, with at least the decimals of its currency."""
    whole, _, fraction = f"{amount:f}".partition(".")
    fraction = fraction.rstrip("0").ljust(decimals_of(currency), "0")
    return f"{whole}.{fraction}" if fraction else whole


def guessed(chosen: Guess) -> dict[str, Any]:
    """Return the guessed columns by role, each with its confidence and reason."""
    sides = {"left": chosen.left, "right": chosen.right}
    roles: dict[str, Any] = {
        "key": {
            "left": list(chosen.key.left) if chosen.key else [],
            "right": list(chosen.key.right) if chosen.key else [],
        },
        "amount": {side: roles.amount.text for side, roles in sides.items()},
        "currency": {side: roles.currency or roles.constant_currency for side, roles in sides.items()},
        "date": {side: roles.date for side, roles in sides.items()},
        "entity": {side: roles.entity for side, roles in sides.items()},
        "fee": {side: roles.fee for side, roles in sides.items()},
        "tax": {side: roles.tax for side, roles in sides.items()},
        "sign": {"left": "as written", "right": "as written" if chosen.sign == 1 else "opposite"},
    }
    answer = {}
    for role, columns in roles.items():
        sure = chosen.sure.get(role)
        if not any(columns.values()) and sure is None:
            continue
        answer[role] = columns | (
            {"confidence": round(sure.share, 2), "why": sure.why} if sure is not None else {}
        )
    return answer


def difference_data(d: Difference, comparison: BookComparison) -> dict[str, Any]:
    """Return one difference. `amount` is left less right; with two currencies, in that of the left side."""
    currency = (d.left or d.right)[0].currency
    amounts = d.amounts
    return {
        "cause": d.cause,
        "key": d.key,
        "left": _side(d.left),
        "right": _side(d.right),
        "amount": money(amounts[currency], currency),
        "currency": currency,
        "amounts": {k: money(v, k) for k, v in sorted(amounts.items())},
        "why": d.why,
        "left_rows": [comparison.left.place(e) for e in d.left[:MAX_NAMED_ROWS]],
        "right_rows": [comparison.right.place(e) for e in d.right[:MAX_NAMED_ROWS]],
    }


def _side(entries: tuple[BookEntry, ...]) -> str | None:
    """Return the sum of one side's rows in the currency of the first; None if it has none."""
    if not entries:
        return None
    currency = entries[0].currency
    return money(sum((e.amount for e in entries if e.currency == currency), Decimal(0)), currency)
