"""Comparison of two large exports: roles by a sample of keys, groups in DuckDB, causes of differences in Python."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.reconcile.columns import Column, columns_of
from counterfoil.reconcile.compare import Agreement, BookComparison, compare, usual_days
from counterfoil.reconcile.entries import Book, book_of, default_currency
from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.guess import SURE_SHARE, Guess, Stated, guess
from counterfoil.reconcile.keys import best_pair, candidates
from counterfoil.reconcile.large.setwise import SetResult, compare_sets, totals
from counterfoil.reconcile.large.sides import LargeSide, SideName

SIDES: tuple[SideName, SideName] = ("left", "right")
MEMORY_MEGABYTES = 2_000
"""Memory of DuckDB; beyond, it writes into the temporary folder."""
SAMPLED_ROWS = 10_000
"""Rows by which the roles of columns are guessed, about."""
MAX_WHOLE_ROWS = 2_000_000
"""Rows that Python compares where keys stand inside of texts, or no column is a key."""


class KeysInexact(Exception):
    """Keys that SQL may read otherwise than Python."""


def connect(folder: Path) -> Any:
    """Return an empty database whose memory is limited and whose temporary files are in the folder."""
    import duckdb

    return duckdb.connect(
        config={
            "memory_limit": f"{MEMORY_MEGABYTES}MB",
            "temp_directory": str(folder),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )


def guess_large(sides: Sequence[LargeSide], stated: Stated) -> Guess | None:
    """Return the roles of the columns by a sample of the same keys on both sides; None without a key of its own column.

    Raises ExportRefused where that leaves too many rows for Python.
    """
    share = max(1, max(side.header.rows for side in sides) // SAMPLED_ROWS)
    last = None
    for loose in (False, True):
        names = _key_columns(sides, stated, share, loose)
        if names is None:
            continue
        samples = [side.rows_of_class(c, share, loose) for side, c in zip(sides, names, strict=True)]
        if not all(len(sample) for sample in samples):
            continue
        chosen = guess(samples[0], samples[1], stated)
        if chosen.key is not None and chosen.key.reading != "inside":
            last = chosen
            if share == 1 or chosen.key.overlap >= SURE_SHARE:
                break
    if last is None and max(side.header.rows for side in sides) > MAX_WHOLE_ROWS:
        raise ExportRefused(_unsure(sides))
    return last


def _key_columns(
    sides: Sequence[LargeSide], stated: Stated, share: int, loose: bool
) -> tuple[str, str] | None:
    """Return the columns that are likely to be the key, or a part of it, by values of one class."""
    if share == 1:
        return sides[0].header.columns[0], sides[1].header.columns[0]
    if stated.keys:
        left, right = (
            side.header.columns[side.header.position(column)]
            for side, column in zip(sides, stated.keys[0], strict=True)
        )
        return left, right
    names = [[c.name for c in candidates(columns_of(side.head()))] for side in sides]
    if len(names[0]) == len(names[1]) == 1:
        return names[0][0], names[1][0]
    columns = [
        [Column(side.values_of_class(name, share, loose), 0) for name in side_names]
        for side, side_names in zip(sides, names, strict=True)
    ]
    pair = best_pair(columns[0], columns[1])
    return (pair.left[0], pair.right[0]) if pair is not None else None


def _unsure(sides: Sequence[LargeSide]) -> str:
    left, right = (side.header for side in sides)
    return (
        f"{left.name} has {left.rows:,} rows and {right.name} has {right.rows:,}: too many to compare without a column "
        "that names the document on both sides, and no such column was found. Name it with --keys LEFT=RIGHT. Columns "
        f"on the left: {', '.join(left.columns[:20])}; on the right: {', '.join(right.columns[:20])}."
    )


def compare_large(database: Any, sides: Sequence[LargeSide], chosen: Guess) -> tuple[BookComparison, int]:
    """Return the comparison, and the number of groups that differ and were not judged."""
    codes = [side.currencies(roles) for side, roles in zip(sides, (chosen.left, chosen.right), strict=True)]
    defaults = [default_currency(codes[0], codes[1], n) for n in (0, 1)]
    result = None
    while result is None:
        unreadable = [
            side.load(chosen, name, default)
            for side, name, default in zip(sides, SIDES, defaults, strict=True)
        ]
        sums = [totals(database, name) for name in SIDES]
        result = compare_sets(database, (sums[0][0], sums[1][0]), sides[0].inexact, usual_days)
        if result is None:
            possible = [side.collapse_spaces() for side in sides]
            if not all(possible):
                raise KeysInexact
    books = []
    for n, (side, rows) in enumerate(zip(sides, (result.left, result.right), strict=True)):
        table = side.picked(sorted({*rows, *unreadable[n]}))
        book = book_of(table, chosen, SIDES[n], defaults[n])
        book.elsewhere = less(sums[n][1], book)
        books.append(book)
    agreement = Agreement(dict(result.shapes), _matched(books[0], result), dict(result.lags))
    return compare(books[0], books[1], keyed=True, agreement=agreement), result.unjudged_groups


def less(sums: dict[str, Decimal], book: Book) -> dict[str, Decimal]:
    """Return the sums of the rows that are not in the book."""
    entries = book.totals()
    return {currency: amount - entries.get(currency, Decimal(0)) for currency, amount in sums.items()}


def _matched(left: Book, result: SetResult) -> dict[str, Decimal]:
    sums = ((c, amount - result.unjudged.get(c, Decimal(0))) for c, amount in left.elsewhere.items())
    return {currency: amount for currency, amount in sums if amount}
