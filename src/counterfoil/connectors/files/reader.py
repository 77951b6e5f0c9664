"""Protocol of the readers of file formats. A further format is one more reader in `readers`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from counterfoil.connectors.files.settings import BookFiles
from counterfoil.core.finding import did_you_mean


class FileRefused(Exception):
    """A file that is not delivered, not even in part. The message names the file, the place and the next step."""


class SourceRow(NamedTuple):
    """One row: its line or number in the file, and its values by column as the format shows them."""

    place: int
    values: dict[str, Any]


class OutsideLine(NamedTuple):
    """One line outside of the table: a title, or a total."""

    place: int
    cells: Sequence[Any]


class Reader(Protocol):
    """Reads one format row by row, in the order of the file and in bounded memory."""

    unit: str
    """Name of a place: `line` or `row`."""
    is_typed: bool
    """The cells have types, so a number is never a text with a decimal mark; it is delivered as decimal text."""

    def rows(self, path: Path, book: BookFiles) -> Iterator[SourceRow | OutsideLine]:
        """Yield the rows of a file, and the lines outside of its table; the same file gives the same.

        Raises FileRefused for a file that is empty, incomplete, of another header or of another encoding, at the latest
        after its last row.
        """
        ...


def check_header(where: str, columns: Collection[str], book: BookFiles) -> None:
    """Raise FileRefused for a header without a column that the settings name, or with one name twice."""
    for name in book.required:
        if name not in columns:
            near = did_you_mean(name, columns, f"the columns: {', '.join(columns) or 'none'}")
            raise FileRefused(f"{where}: there is no column `{name}`; {near}")
    twice = sorted({name for name in columns if list(columns).count(name) > 1})
    if twice:
        raise FileRefused(f"{where}: two columns have the name `{twice[0]}`; rename one in the export")
