"""Comparison of two large exports: roles by a sample of keys, groups in DuckDB, causes of differences in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.reconcile.columns import Column, columns_of
from counterfoil.reconcile.compare import Agreement, BookComparison, compare, usual_days
from counterfoil.reconcile.entries import Book, book_of, default_currency
from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.guess import SURE_SHARE, Guess, Stated, Sureness, guess
from counterfoil.reconcile.keys import best_pair, candidates
from counterfoil.reconcile.large.parquet import ParquetSide
from counterfoil.reconcile.large.setwise import Layout, SetResult, compare_sets
from counterfoil.reconcile.large.sides import MAX_AMOUNT_DIGITS, AmountsTooLong, LargeSide, SideName, SideRows

SIDES: tuple[SideName, SideName] = ("left", "right")
MEMORY_MEGABYTES = 2_000
"""Memory of DuckDB; beyond, it writes into the temporary folder."""
SAMPLED_ROWS = 5_000
"""Rows by which the roles of columns are guessed, about."""
MAX_WHOLE_ROWS = 2_000_000
"""Rows that Python compares where keys stand inside of texts, or no column is a key."""


class KeysInexact(Exception):
    """Keys that SQL may read otherwise than Python."""


class PairsUnsure(Exception):
    """Roles guessed by pairs of rows, where too few of all rows have a pair, or keys repeat on both sides."""


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


def guess_by_pairs(sides: Sequence[ParquetSide], stated: Stated) -> Guess | None:
    """Return the roles of the columns by pairs among the first rows; None if these do not say them.

    The comparison must confirm the guess: see `compare_large`.
    """
    if len(stated.keys) > 1 or max(side.header.rows for side in sides) < 2 * SAMPLED_ROWS:
        return None
    if stated.keys:
        names = [[column] for column in stated.keys[0]]
    else:
        names = [[column.name for column in candidates(columns_of(side.head()))] for side in sides]
    if not len(names[0]) == len(names[1]) == 1:
        return None
    left, right = (
        side.header.columns[side.header.position(n)] for side, (n,) in zip(sides, names, strict=True)
    )
    samples = sides[0].pairs(sides[1], (left, right))
    chosen = guess(samples[0], samples[1], stated) if samples is not None else None
    return chosen if chosen is not None and chosen.key is not None and chosen.key.reading == "equal" else None


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


def compare_large(
    database: Any, sides: Sequence[LargeSide], chosen: Guess, *, by_pairs: bool = False
) -> tuple[Guess, BookComparison, int]:
    """Return the guess, the comparison, and the number of groups that differ and were not judged.

    Raises PairsUnsure if the roles were guessed by pairs and the comparison does not confirm it, else KeysInexact. Raises AmountsTooLong.
    """
    import duckdb

    codes = [side.currencies(roles) for side, roles in zip(sides, (chosen.left, chosen.right), strict=True)]
    defaults = [default_currency(codes[0], codes[1], n) for n in (0, 1)]
    ways = [side.readings(chosen, name) for side, name in zip(sides, SIDES, strict=True)]
    result = None
    for reading in (reading for reading in ways[0] if reading in ways[1]):
        rows = [
            side.load(chosen, name, default, reading)
            for side, name, default in zip(sides, SIDES, defaults, strict=True)
        ]
        layout = _layout(sides[0].inexact(reading), rows)
        try:
            result = compare_sets(database, layout, usual_days)
        except duckdb.OutOfRangeException:
            names = " and ".join(side.header.name for side in sides)
            raise AmountsTooLong(
                f"The amounts of {names} add up to more than {MAX_AMOUNT_DIGITS} digits: compare smaller parts of them."
            ) from None
        if result is not None:
            break
    if result is None:
        raise KeysInexact
    if by_pairs:
        if not result.unique or result.overlap < SURE_SHARE:
            raise PairsUnsure
        chosen = _confirmed(chosen, result.overlap)
    books = []
    for n, side in enumerate(sides):
        book = book_of(side.differing(SIDES[n], rows[n]), chosen, SIDES[n], defaults[n])
        book.elsewhere = less(result.sums[n], book)
        books.append(book)
    agreement = Agreement(dict(result.shapes), _matched(books[0], result), dict(result.lags))
    comparison = compare(books[0], books[1], keyed=True, agreement=agreement)
    return chosen, comparison, result.unjudged_groups


def _layout(inexact: str, rows: Sequence[SideRows]) -> Layout:
    """Return the columns of both sides that a join compares and carries."""
    left, right = (side.constants for side in rows)
    compared = tuple(c for c in ("c", "e") if c not in left or left[c] != right.get(c))
    carried = [[short for short in side.carried.values() if short not in side.constants] for side in rows]
    currencies = left.get("c", "l.c"), right.get("c", "r.c")
    return Layout(inexact, compared, (carried[0], carried[1]), currencies)


def _confirmed(chosen: Guess, overlap: float) -> Guess:
    """Return the guess with the share of keys that the comparison has counted."""
    assert chosen.key is not None
    sure = chosen.sure["key"]
    if sure.why != "as stated":
        sure = Sureness(overlap, f"{overlap:.0%} of the values stand on both sides")
    return replace(chosen, key=replace(chosen.key, overlap=overlap), sure=chosen.sure | {"key": sure})


def less(sums: dict[str, Decimal], book: Book) -> dict[str, Decimal]:
    """Return the sums of the rows that are not in the book."""
    entries = book.totals()
    return {currency: amount - entries.get(currency, Decimal(0)) for currency, amount in sums.items()}


def _matched(left: Book, result: SetResult) -> dict[str, Decimal]:
    sums = ((c, amount - result.unjudged.get(c, Decimal(0))) for c, amount in left.elsewhere.items())
    return {currency: amount for currency, amount in sums if amount}
