"""Spool of an export: its rows in a temporary file. A small export never gets there and becomes a table in memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from counterfoil.reconcile.exports.table import (
    MAX_COLUMNS,
    ExportRefused,
    ExportTable,
    TableBuilder,
    same_columns,
)

CHUNK_ROWS = 10_000
MAX_SPOOL_ROWS = 200_000_000


class SpooledTable(ExportTable):
    """Columns, notes and totals of an export in memory, with its rows in a file."""

    __slots__ = ("_file", "_offsets")

    def __init__(self, header: ExportTable, rows: int, file: BinaryIO, offsets: Sequence[int]) -> None:
        super().__init__(
            header.name, header.columns, header.data, range(0), unit=header.unit, whole_rows=rows
        )
        self._file, self._offsets = file, offsets

    def chunks(self) -> Iterator[ExportTable]:
        """Yield the rows in tables of CHUNK_ROWS."""
        for number in range(len(self._offsets)):
            yield self._chunk(number)

    def _chunk(self, number: int) -> ExportTable:
        self._file.seek(self._offsets[number])
        places, rows = pickle.load(self._file)  # written by this process
        data = [list(column) for column in zip(*rows, strict=True)]
        return ExportTable(self.name, self.columns, data, places, unit=self.unit)

    def whole(self) -> ExportTable:
        """Return the table in memory."""
        return self.picked(range(self.rows))

    def picked(self, rows: Iterable[int]) -> ExportTable:
        """Return a table of some rows, by their positions in rising order."""
        picked = ExportTable(
            self.name, self.columns, [[] for _ in self.columns], places := [], self.notes, self.stated, self.unit, self.rows
        )  # fmt: skip
        number, chunk = -1, picked
        for row in rows:
            if row // CHUNK_ROWS != number:
                number = row // CHUNK_ROWS
                chunk = self._chunk(number)
            for column, values in zip(picked.data, chunk.data, strict=True):
                column.append(values[row % CHUNK_ROWS])
            places.append(chunk.places[row % CHUNK_ROWS])
        return picked


class SpoolBuilder:
    """Builds a table in memory as long as it is small, and a spooled one beyond `small_rows`."""

    def __init__(self, name: str, columns: Sequence[str], unit: str, path: Path, small_rows: int) -> None:
        if len(columns) > MAX_COLUMNS:
            raise ExportRefused(f"{name} has {len(columns)} columns; at most {MAX_COLUMNS} are read.")
        self._small: TableBuilder | None = TableBuilder(name, columns, unit)
        self.table = self._small.table
        self._path, self._small_rows = path, small_rows
        self._file: BinaryIO | None = None
        self._offsets: list[int] = []
        self._places: list[int | str] = []
        self._rows: list[Sequence[Any]] = []
        self._count = 0

    def add(self, place: int | str, row: Sequence[Any]) -> None:
        """Add a row with a value for each column. Raises ExportRefused beyond MAX_SPOOL_ROWS."""
        self._count += 1
        if self._small is not None and self._count <= self._small_rows:
            self._small.add(place, row)
            return
        if self._small is not None:
            self._spill(self._small.finish())
        if self._count > MAX_SPOOL_ROWS:
            raise ExportRefused(f"{self.table.name} has more than {MAX_SPOOL_ROWS:,} rows.")
        self._append(place, row)

    def _spill(self, table: ExportTable) -> None:
        """Move the rows in memory to the file."""
        self._small = None
        self._file = self._path.open("w+b")
        for place, *row in zip(table.places, *table.data, strict=True):
            self._append(place, row)
        self.table = ExportTable(table.name, table.columns, [], [], unit=table.unit)

    def _append(self, place: int | str, row: Sequence[Any]) -> None:
        self._places.append(place)
        self._rows.append(tuple(row))
        if len(self._rows) == CHUNK_ROWS:
            self._write()

    def _write(self) -> None:
        assert self._file is not None
        self._offsets.append(self._file.tell())
        pickle.dump((self._places, self._rows), self._file, pickle.HIGHEST_PROTOCOL)
        self._places, self._rows = [], []

    def finish(self) -> ExportTable:
        """Return the table. Raises ExportRefused for one without rows."""
        if self._small is not None:
            return self._small.finish()
        if self._rows:
            self._write()
        assert self._file is not None
        return SpooledTable(self.table, self._count, self._file, self._offsets)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Spool:
    """Makes builders whose files are in one temporary folder, and closes the files at its end."""

    def __init__(self, folder: Path, small_rows: int) -> None:
        self._folder, self._small_rows, self._numbers = folder, small_rows, count(1)
        self._builders: list[SpoolBuilder] = []

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        for builder in self._builders:
            builder.close()

    def builder(self, name: str, columns: Sequence[str], unit: str) -> SpoolBuilder:
        return self._builder(name, columns, unit, self._small_rows)

    def _builder(self, name: str, columns: Sequence[str], unit: str, small_rows: int) -> SpoolBuilder:
        path = self._folder / f"{next(self._numbers)}.rows"
        self._builders.append(SpoolBuilder(name, columns, unit, path, small_rows))
        return self._builders[-1]

    def spooled(self, name: str, tables: Sequence[ExportTable]) -> SpooledTable:
        """Return one spooled table of the files of one side. Raises ExportRefused for other columns."""
        first = tables[0]
        if len(tables) == 1 and isinstance(first, SpooledTable):
            return first
        builder = self._builder(name, first.columns, first.unit, 0)
        for table in tables:
            same_columns(first, table)
            order = [table.columns.index(column) for column in first.columns]
            for chunk in table.chunks() if isinstance(table, SpooledTable) else [table]:
                for place, *row in zip(chunk.places, *(chunk.data[n] for n in order), strict=True):
                    builder.add(place if len(tables) == 1 else f"{table.name}:{place}", row)
        whole = builder.finish()
        assert isinstance(whole, SpooledTable)
        whole.notes = [f"{t.name}: {note}" if len(tables) > 1 else note for t in tables for note in t.notes]
        whole.stated = first.stated if len(tables) == 1 else []
        return whole
