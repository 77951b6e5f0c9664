"""The table that every export is read into: columns by name, and the place of each row in its file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

MAX_ROWS = 20_000_000
MAX_COLUMNS = 2_000
SHORT_VALUES = 100_000
"""Number of different values of one column that share one object each: most columns repeat few values."""


class ExportRefused(Exception):
    """An export that cannot be read. The message names the place and the next step."""


@dataclass(frozen=True, slots=True)
class StatedTotal:
    """Total that the file itself states in a row below its data."""

    row: int
    values: tuple[Any, ...]
    """Cells of the row, by column."""


@dataclass(slots=True)
class TextForm:
    """Notation of one text file, for those who read later files of the same kind."""

    encoding: str = ""
    separator: str = ""
    """Empty: no text file."""
    has_titles: bool = False
    """Lines stand above the header."""
    trailer: str = ""
    """First cell of the first row below the data."""
    names_as_written: bool = False
    """The columns have the names of the header, each of them once."""


@dataclass(slots=True)
class ExportTable:
    """Rows of one export, column by column. `places` are line numbers of text files and row numbers of others."""

    name: str
    columns: list[str]
    data: list[list[Any]]
    places: Sequence[int | str]
    notes: list[str] = field(default_factory=list)
    """How the file was read, in sentences."""
    stated: list[StatedTotal] = field(default_factory=list)
    unit: str = "row"
    """Name of a place: `line` or `row`."""
    whole_rows: int = 0
    """Rows of the export, where the table has only some of them; 0 where it has all."""
    form: TextForm = field(default_factory=TextForm)

    @property
    def rows(self) -> int:
        """Rows of the export."""
        return self.whole_rows or len(self)

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> list[Any]:
        """Return a column by its name, whatever the case. Raises ExportRefused for an unknown one."""
        return self.data[self.position(name)]

    def position(self, name: str) -> int:
        if name in self.columns:
            return self.columns.index(name)
        same = [at for at, column in enumerate(self.columns) if column.casefold() == name.strip().casefold()]
        if len(same) == 1:
            return same[0]
        raise ExportRefused(f"{self.name} has no column {name!r}; it has: {', '.join(self.columns[:40])}")


class Builder(Protocol):
    """Receives the rows of an export one by one."""

    @property
    def table(self) -> ExportTable: ...

    def add(self, place: int | str, row: Sequence[Any]) -> None: ...

    def finish(self) -> ExportTable: ...


NewBuilder: TypeAlias = Callable[[str, Sequence[str], str], Builder]
"""Returns a builder for a name, columns and a unit."""


class TableBuilder:
    """Builds a table from rows. Values that a column repeats are stored once."""

    def __init__(self, name: str, columns: Sequence[str], unit: str = "row") -> None:
        if len(columns) > MAX_COLUMNS:
            raise ExportRefused(f"{name} has {len(columns)} columns; at most {MAX_COLUMNS} are read.")
        self.table = ExportTable(name, list(columns), [[] for _ in columns], [], unit=unit)
        self._places: list[int | str] = []
        self._shared: list[dict[Any, Any]] = [{} for _ in columns]

    def add(self, place: int | str, row: Sequence[Any]) -> None:
        """Add a row with a value for each column. Raises ExportRefused beyond MAX_ROWS."""
        for column, shared, value in zip(self.table.data, self._shared, row, strict=True):
            if isinstance(value, str):
                if len(shared) < SHORT_VALUES:
                    value = shared.setdefault(value, value)
                else:
                    value = shared.get(value, value)
            column.append(value)
        self._places.append(place)
        if len(self._places) > MAX_ROWS:
            raise ExportRefused(f"{self.table.name} has more than {MAX_ROWS:,} rows.")

    def finish(self) -> ExportTable:
        """Return the table. Raises ExportRefused for one without rows."""
        if not self._places:
            raise ExportRefused(f"{self.table.name} has columns but no rows.")
        self.table.places = self._places
        return self.table


def joined(name: str, tables: Sequence[ExportTable]) -> ExportTable:
    """Return one table of several files with the same columns. Raises ExportRefused for other columns."""
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    whole = ExportTable(name, first.columns, [list(column) for column in first.data], [], unit=first.unit)
    places: list[int | str] = [f"{first.name}:{place}" for place in first.places]
    for table in tables[1:]:
        same_columns(first, table)
        for column, values in zip(first.columns, whole.data, strict=True):
            values.extend(table.data[table.columns.index(column)])
        places += [f"{table.name}:{place}" for place in table.places]
    whole.places = places
    whole.notes = [f"{table.name}: {note}" for table in tables for note in table.notes]
    return whole


def same_columns(first: ExportTable, table: ExportTable) -> None:
    """Raise ExportRefused if two files of one side have other columns."""
    missing = set(first.columns) ^ set(table.columns)
    if missing:
        raise ExportRefused(
            f"{table.name} has other columns than {first.name}: {', '.join(sorted(missing))} stands in one of them only."
        )


def unique_names(names: Iterable[Any], notes: list[str]) -> list[str]:
    """Return column names without doubles and without empty ones; a note names those that were changed."""
    counts: dict[str, int] = {}
    unique = []
    for position, name in enumerate(names, 1):
        text = " ".join(str(name).split()) if name is not None else ""
        text = text or f"column {position}"
        counts[text] = counts.get(text, 0) + 1
        if counts[text] > 1:
            renamed = f"{text} ({counts[text]})"
            notes.append(f"Two columns are called {text!r}; the later one is {renamed!r}.")
            text = renamed
            counts[text] = 1
        unique.append(text)
    return unique


def filled(row: Sequence[Any]) -> int:
    """Return the number of cells that are not empty."""
    return sum(1 for cell in row if not is_empty(cell))


def is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def without_trailing_empty(row: Sequence[Any]) -> list[Any]:
    """Return a row without the empty cells at its end."""
    end = len(row)
    while end and is_empty(row[end - 1]):
        end -= 1
    return list(row[:end])


def numbered(rows: Iterable[Sequence[Any]], start: int = 1) -> Iterator[tuple[int, list[Any]]]:
    return ((place, list(row)) for place, row in enumerate(rows, start))
