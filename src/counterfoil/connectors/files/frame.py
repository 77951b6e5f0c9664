"""Lines around the rows of a table: title lines above its header, and the lines that end it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from counterfoil.connectors.files.reader import FileRefused, OutsideLine
from counterfoil.connectors.files.settings import BookFiles

MAX_TITLE_LINES = 200
"""Lines above a header. A file with more has another header than the settings say."""


class PlacedCells(NamedTuple):
    place: int
    """Line or row in the file."""
    cells: list[Any]


def first_cell(cells: list[Any]) -> str:
    return "" if not cells or cells[0] is None else str(cells[0]).strip()


def first_cell_of_line(line: str, separators: str) -> str:
    """Return the first cell of a line whose quotes may be unbalanced, as titles have them."""
    return re.split(f"[{re.escape(separators)}]", line, maxsplit=1)[0].strip().strip('"').strip()


def no_header(name: str, book: BookFiles) -> FileRefused:
    return FileRefused(
        f"{name}: none of the first {MAX_TITLE_LINES} lines has `{book.header}` as its first cell, so there is no header; "
        "correct `header`, or export the file again"
    )


def rows_to_trailer(
    name: str, rows: Iterator[PlacedCells], book: BookFiles
) -> Iterator[PlacedCells | OutsideLine]:
    """Yield the rows below a header up to the trailer, and the lines from there on as lines outside of the table.

    Raises FileRefused, after the last row, for a file without its trailer.
    """
    is_outside = False
    for place, cells in rows:
        if book.trailer is not None and not is_outside:
            is_outside = first_cell(cells).startswith(book.trailer)
        yield OutsideLine(place, cells) if is_outside else PlacedCells(place, cells)
    if book.trailer is not None and not is_outside:
        raise FileRefused(
            f"{name}: no line begins with `{book.trailer}`, which ends the rows, so the file may be cut; export it again, or "
            "correct `trailer`"
        )
