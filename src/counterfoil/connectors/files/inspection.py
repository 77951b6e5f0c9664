"""Inspection of files before any row of them is delivered: each is read to its end, so no part of a faulty file gets in.

It also finds the decimal mark, a digest of the content, and the index of the rows. It runs in parts, because a large
file takes longer than a call may.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from counterfoil.connectors.files.amounts import BalanceCheck, completed_row
from counterfoil.connectors.files.cells import MARKS, Mark, MarkSearch, typed_row
from counterfoil.connectors.files.folder import FileStamp, stamp_of
from counterfoil.connectors.files.reader import FileRefused, OutsideLine, SourceRow
from counterfoil.connectors.files.readers import reader_of
from counterfoil.connectors.files.row_index import RowIndex
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.files.statement_chain import StatementChain
from counterfoil.connectors.row_deliveries import RowForm, RowRefused, plain_value
from counterfoil.connectors.sdk import Delivery
from counterfoil.core.errors import TryAgain

STEP_ROWS = 1_000
"""Rows between two looks at the clock."""
CACHE_ROWS = 5_000
"""Rows of the inspected files that stay in memory, so that these files are not read again for their deliveries."""


class InspectedFile(NamedTuple):
    """A complete file whose every row can be delivered."""

    stamp: FileStamp
    mark: Mark
    digest: str
    """Of the bytes."""


class PlacedRow(NamedTuple):
    place: int
    """Line or row in the file."""
    row: dict[str, Any]


class FileChanged(TryAgain):
    """A file changes while it is read."""


@contextmanager
def unchanged(stamp: FileStamp) -> Iterator[None]:
    """Raise FileChanged, instead of any fault of its content, if a file is another one at the end than `stamp` says."""
    try:
        yield
    except (FileRefused, OSError) as error:
        _check_unchanged(stamp)
        if isinstance(error, OSError):
            raise TryAgain(f"{stamp.name} cannot be read: {error.strerror or error}") from error
        raise
    _check_unchanged(stamp)


def _check_unchanged(stamp: FileStamp) -> None:
    now = stamp_of(stamp)
    if now is None:
        raise FileChanged(f"{stamp.name} was removed while it was read")
    if now.content != stamp.content:
        sizes = f"it had {stamp.size} bytes and has {now.size}"
        raise FileChanged(f"{stamp.name} is still being written: {sizes}")


def _mark(name: str, search: MarkSearch) -> Mark:
    try:
        return search.mark()
    except RowRefused as error:
        raise FileRefused(f"{name}: {error}") from None


def _in_steps(work: Iterator[None]) -> Iterator[None]:
    """Do work, and yield after each step of it."""
    while sum(1 for _ in islice(work, STEP_ROWS)) == STEP_ROWS:
        yield


def rows_of(
    path: Path,
    book: BookFiles,
    mark: Mark,
    balances: BalanceCheck | None = None,
    lines: Iterable[SourceRow | OutsideLine] | None = None,
) -> Generator[PlacedRow]:
    """Yield the rows of a file as they are delivered, and let `balances` check their sum. Raises FileRefused.

    `lines`: those of the file, for a caller that reads it for another end as well.
    """
    reader = reader_of(path, book)
    balances = balances or BalanceCheck(path.name, book, mark)
    for line in reader.rows(path, book) if lines is None else lines:
        if isinstance(line, OutsideLine):
            balances.add_line(line)
            continue
        place, values = line
        try:
            row = typed_row(values, book, mark)
            if reader.is_typed:
                row = {column: plain_value(cell) for column, cell in row.items()}
            row = completed_row(row, book)
            balances.add_row(row)
        except RowRefused as error:
            raise FileRefused(f"{path.name}, {reader.unit} {place}: {error}") from None
        yield PlacedRow(place, row)
    balances.close()


class Inspection:
    """Files of one book as they are now, in their order. `advance` inspects them."""

    def __init__(
        self,
        files: Sequence[FileStamp],
        book: BookFiles,
        form: RowForm,
        chain: StatementChain,
        linked: Sequence[FileStamp],
    ) -> None:
        """`linked` are all files of the book, whose statements must be one chain."""
        self.files: list[InspectedFile] = []
        self.index = RowIndex()
        self._cache: dict[int, list[PlacedRow]] = {}
        """All rows of small files, by the number of the file."""
        self._stamps, self._book, self._form = tuple(files), book, form
        self._chain, self._linked = chain, tuple(linked) if book.is_statement else ()
        self._steps = self._inspect()
        self._open: _OpenRows | None = None

    def is_of(self, files: Sequence[FileStamp]) -> bool:
        """Return whether these are the same files, and unchanged."""
        return self._stamps == tuple(files)

    def advance(self, until: float) -> bool:
        """Inspect until a time of the monotonic clock; return whether all is inspected.

        Raises FileRefused, or TryAgain for a file that changes.
        """
        return all(time.monotonic() < until for _ in self._steps)

    def close(self) -> None:
        self._steps.close()
        if self._open is not None:
            self._open.rows.close()
        self.index.close()

    def _inspect(self) -> Generator[None]:
        for stamp in self._linked:
            if stamp not in self._stamps:
                with unchanged(stamp):
                    yield from _in_steps(self._chain.read(stamp))
        for number, stamp in enumerate(self._stamps):
            with unchanged(stamp):
                mark = MARKS[0] if self._book.decimal is None else self._book.decimal
                if self._book.decimal is None and "decimal" in self._book.forms.values():
                    search = MarkSearch(self._book)
                    yield from _in_steps(self._marks(stamp, search))
                    mark = _mark(stamp.name, search)
                yield from _in_steps(self._indexed(number, stamp, mark))
                with stamp.path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
            self.files.append(InspectedFile(stamp, mark, digest))
        if self._book.is_statement:
            self._chain.check(self._linked)

    def _marks(self, stamp: FileStamp, search: MarkSearch) -> Iterator[None]:
        reader = reader_of(stamp.path, self._book)
        for line in reader.rows(stamp.path, self._book):
            if isinstance(line, OutsideLine):
                continue
            place, values = line
            try:
                search.add(values, f"{reader.unit} {place}")
            except RowRefused as error:
                raise FileRefused(f"{stamp.name}, {reader.unit} {place}: {error}") from None
            yield

    def _indexed(self, number: int, stamp: FileStamp, mark: Mark) -> Iterator[None]:
        unit = reader_of(stamp.path, self._book).unit
        lines = self._chain.rows(stamp) if self._book.is_statement else None
        room, count = CACHE_ROWS - sum(map(len, self._cache.values())), 0
        cache: list[PlacedRow] = []
        for at, (place, row) in enumerate(rows_of(stamp.path, self._book, mark, lines=lines)):
            if at < room:
                cache.append(PlacedRow(place, row))
            try:
                if not self._form.id:
                    self.index.add_content(self._form.key(row), number, at, place)
                elif (other := self.index.add_record(self._form.key(row), number, at, place)) is not None:
                    key = ", ".join(f"{column} {row[column]}" for column in self._form.id)
                    fix = (
                        "export the file again"
                        if self._form.is_final
                        else "name columns in `id` that tell all rows apart"
                    )
                    raise FileRefused(
                        f"{stamp.name}, {unit} {place}: {key} stands in {unit} {other} too; {fix}"
                    )
            except RowRefused as error:
                raise FileRefused(f"{stamp.name}, {unit} {place}: {error}") from None
            yield
            count = at + 1
        if count <= room:
            self._cache[number] = cache

    # ------------------------------------------------------------------ deliveries

    def page(self, number: int, start: int, limit: int) -> FilePage:
        """Return deliveries of the rows of one file from `start`, at most `limit`.

        Raises TryAgain if the file is not the inspected one any more.
        """
        file = self.files[number]
        with unchanged(file.stamp):
            rows, self._open = self._open, None
            if rows is None or (rows.number, rows.next) != (number, start):
                rows = _OpenRows(number, start, self._rows(number))
                next(islice(rows.rows, start, start), None)
            batch = list(islice(rows.rows, limit))
            marks = self.index.marks(number, start, start + len(batch))
        deliveries = []
        for at, (_, row) in enumerate(batch, start):
            mark = marks.get(at)
            if mark is None or not mark.is_superseded:
                deliveries.append(self._form.delivery(row, 0 if mark is None else mark.repeat))
        self._open = _OpenRows(number, start + len(batch), rows.rows)
        return FilePage(deliveries, start + len(batch), len(batch) == limit)

    def _rows(self, number: int) -> Generator[PlacedRow]:
        """Return the rows of an inspected file, from memory if they are there."""
        file, cache = self.files[number], self._cache.get(number)
        if cache is None:
            return rows_of(file.stamp.path, self._book, file.mark)
        return (row for row in cache)


class FilePage(NamedTuple):
    """Deliveries of a part of a file. `next` is the number of the row behind it; `more` may follow."""

    deliveries: list[Delivery]
    next: int
    more: bool


class _OpenRows:
    """Rows of an open file from `next` on, so that the next page does not begin at the top of the file."""

    def __init__(self, number: int, start: int, rows: Generator[PlacedRow]) -> None:
        self.number, self.next, self.rows = number, start, rows
