"""The two kinds of a large side: rows of a spool, which Python reads, and a Parquet file, which DuckDB reads in place.

Both give samples by a class of keys, a table `left_rows` or `right_rows` of what is compared, and single rows.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from counterfoil.reconcile.entries import Book, book_of, currencies
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable
from counterfoil.reconcile.guess import Guess, Roles
from counterfoil.reconcile.keys import key_text, loose_text
from counterfoil.reconcile.large.spool import SpooledTable

SideName: TypeAlias = Literal["left", "right"]
KeyReading: TypeAlias = Literal["as read", "capitals", "small letters", "any case", "any spaces"]
"""As Python has read it; as written, in capitals or small letters only; in any case; also with any spaces."""
MAX_AMOUNT_DIGITS = 38
"""Digits of a decimal number of DuckDB."""


class AmountsTooLong(ExportRefused):
    """Amounts or sums that have more digits than the database adds."""


@dataclass(frozen=True, slots=True)
class SideRows:
    """Rows of a side that are ready to be compared."""

    unreadable: list[int]
    """Positions of the rows whose amount cannot be read."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Currency `c` or entity `e` that all rows have, as SQL."""
    carried: Mapping[str, str] = field(default_factory=dict)
    """Names in which the rows of differences keep columns of the export, by the column."""


class LargeSide(Protocol):
    """One side that is too large for Python."""

    @property
    def header(self) -> ExportTable:
        """Return the columns without rows."""
        ...

    def head(self) -> ExportTable:
        """Return the first rows."""
        ...

    def values_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        """Return one column: the values whose key is in one of `share` classes; a loose key has no punctuation."""
        ...

    def rows_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        """Return the rows whose key in the column is in one of `share` classes."""
        ...

    def readings(self, guess: Guess, side: SideName) -> Sequence[KeyReading]:
        """Return the ways in which SQL may read keys, the fastest first."""
        ...

    def inexact(self, reading: KeyReading) -> str:
        """Return the SQL of keys `k` that the reading may read otherwise than Python."""
        ...

    def currencies(self, roles: Roles) -> set[str]:
        """Return the currencies that the side names; the search may end at the second one."""
        ...

    def load(self, guess: Guess, side: SideName, default: str, reading: KeyReading) -> SideRows:
        """Make the rows to be compared."""
        ...

    def differing(self, side: SideName, rows: SideRows) -> ExportTable:
        """Return a table of the rows in `candidates`, and of those whose amount cannot be read, in their order."""
        ...


class SpooledSide:
    """Rows that the readers of exports have read, evaluated by the same Python as those of a small export."""

    def __init__(self, table: SpooledTable, database: Any, folder: Path) -> None:
        self.header, self._database, self._folder = table, database, folder

    def readings(self, guess: Guess, side: SideName) -> Sequence[KeyReading]:
        return ("as read",)

    def inexact(self, reading: KeyReading) -> str:
        return "false"

    def head(self) -> ExportTable:
        return next(self.header.chunks())

    def values_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        values = [
            v for chunk in self.header.chunks() for v in chunk.column(column) if _in_class(v, share, loose)
        ]
        return ExportTable(self.header.name, [column], [values], range(1, len(values) + 1))

    def rows_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        values = (v for chunk in self.header.chunks() for v in chunk.column(column))
        return self.header.picked([row for row, value in enumerate(values) if _in_class(value, share, loose)])

    def currencies(self, roles: Roles) -> set[str]:
        codes: set[str] = set()
        for chunk in self.header.chunks():
            codes |= currencies(chunk, roles)
            if len(codes) > 1:
                break
        return codes

    def load(self, guess: Guess, side: SideName, default: str, reading: KeyReading) -> SideRows:
        unreadable: list[int] = []
        path = self._folder / f"{side}.csv"
        whole, decimals = 1, 0
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            for start, book in self._books(guess, side, default):
                unreadable += [start + u.row for u in book.unreadable]
                for entry, keys in zip(book.entries, book.keys, strict=True):
                    _, digits, exponent = entry.amount.as_tuple()
                    assert isinstance(exponent, int)
                    decimals = max(decimals, -exponent)
                    whole = max(whole, len(digits) + exponent)
                    writer.writerow(
                        (start + entry.row, keys[0].encode("unicode_escape").decode() if keys else "",
                         f"{entry.amount:f}", entry.currency, entry.entity.encode("unicode_escape").decode(),
                         entry.day or "")
                    )  # fmt: skip
        if whole + decimals > MAX_AMOUNT_DIGITS:
            raise AmountsTooLong(
                f"{self.header.name} has amounts with {whole} digits and others with {decimals} decimals: "
                f"together more than the {MAX_AMOUNT_DIGITS} digits of a large export."
            )
        amount = f"DECIMAL({MAX_AMOUNT_DIGITS},{decimals})"
        types = {"row": "BIGINT", "k": "VARCHAR", "a": amount, "c": "VARCHAR", "e": "VARCHAR", "d": "DATE"}
        self._database.execute(
            f"create table {side}_rows as select row, k, a, c, e, d from read_csv({text(str(path))}, header=false, "
            f"auto_detect=false, delim=',', quote='\"', escape='\"', nullstr='', columns={types!r})"
        )
        path.unlink()
        return SideRows(unreadable)

    def _books(self, guess: Guess, side: SideName, default: str) -> Iterator[tuple[int, Book]]:
        start = 0
        for chunk in self.header.chunks():
            yield start, book_of(chunk, guess, side, default)
            start += len(chunk)

    def differing(self, side: SideName, rows: SideRows) -> ExportTable:
        place = side[0]
        places = self._database.execute(
            f"select {place} from candidates where {place} is not null"
        ).fetchall()
        return self.header.picked(sorted({*rows.unreadable, *(row for (row,) in places)}))


def _in_class(value: Any, share: int, loose: bool) -> bool:
    """Report whether the key of a value is in the class of the sample; an empty value only where all rows are."""
    if share == 1:
        return True
    key = loose_text(value) if loose else key_text(value)
    return key != "" and zlib.crc32(key.encode()) % share == 0


def text(value: str) -> str:
    """Return a text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """Return the name of a column as SQL."""
    return '"' + column.replace('"', '""') + '"'
