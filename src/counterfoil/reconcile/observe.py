"""Two exports side by side, without configuration: what was guessed, what matches, and each difference with its cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from counterfoil.reconcile.compare import BookComparison, Difference, compare
from counterfoil.reconcile.entries import Book, BookEntry, books, decimals_of
from counterfoil.reconcile.exports.queries import read_export
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable
from counterfoil.reconcile.guess import Guess, Roles, Stated, guess

MAX_NAMED_ROWS = 20


@dataclass(frozen=True, slots=True)
class Observed:
    """The comparison of two exports."""

    guess: Guess
    comparison: BookComparison
    ties: list[str] = field(default_factory=list)
    """Totals that a file itself states: whether its rows add up to them, in sentences."""
    broken_ties: int = 0

    @property
    def agrees(self) -> bool:
        """True if nothing differs, every amount was read, and stated totals are those of the rows."""
        comparison = self.comparison
        unreadable = comparison.left.unreadable or comparison.right.unreadable
        return not comparison.differences and not unreadable and not self.broken_ties

    def data(self) -> dict[str, Any]:
        """Return the report as JSON: amounts are decimal texts."""
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
            "unreadable": [
                {"side": side, "place": book.table.places[u.row], "amount": u.text}
                for side, book in (("left", c.left), ("right", c.right))
                for u in book.unreadable
            ],
            "stated_totals": self.ties,
            "notes": [
                f"{book.table.name}: {note}" for book in (c.left, c.right) for note in book.table.notes
            ],
            "rows": {"left": len(c.left.table), "right": len(c.right.table)},
        }


def observe(left: str, right: str, stated: Stated | None = None) -> Observed:
    """Compare two files or queries. Raises ExportRefused for one that cannot be read."""
    tables = read_export(left), read_export(right)
    return observe_tables(*tables, stated or Stated())


def observe_tables(left: ExportTable, right: ExportTable, stated: Stated) -> Observed:
    chosen = guess(left, right, stated)
    one, two = books(left, right, chosen)
    for book in (one, two):
        if not book.entries:
            raise ExportRefused(f"{book.table.name} has no row with an amount.")
    comparison = compare(one, two, keyed=chosen.key is not None)
    observed = Observed(chosen, comparison)
    broken = sum(
        _tie(book, roles, sign, observed.ties)
        for book, roles, sign in ((one, chosen.left, 1), (two, chosen.right, chosen.sign))
    )
    return Observed(chosen, comparison, observed.ties, broken)


def _tie(book: Book, roles: Roles, sign: int, ties: list[str]) -> int:
    """Compare the sum of a file's rows with the total that the file states below them; return 1 if they differ."""
    positions = [book.table.position(name) for name in roles.amount.columns]
    for stated in book.table.stated:
        amount, _ = roles.amount.read([stated.values[p] for p in positions])
        if amount is None:
            continue
        totals = {
            sum((e.amount for e in book.entries), Decimal(0)) * sign,
            *(v * sign for v in book.totals().values()),
        }
        place = f"{book.table.name}, {book.table.unit} {stated.row}"
        if amount in totals:
            ties.append(f"{place} states a total of {amount}, and the rows add up to it.")
            return 0
        total = sum((e.amount for e in book.entries), Decimal(0)) * sign
        ties.append(
            f"{place} states a total of {amount}, and the rows add up to {total}: {amount - total} is missing."
        )
        return 1
    return 0


# ------------------------------------------------------------------ parts of the report


def money(amount: Decimal, currency: str) -> str:
    """Return an amount as decimal text, with at least the decimals of its currency."""
    decimals = decimals_of(currency)
    exponent = amount.as_tuple().exponent
    return (
        f"{amount:.{decimals}f}"
        if isinstance(exponent, int) and -exponent <= decimals
        else f"{amount.normalize():f}"
    )


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
