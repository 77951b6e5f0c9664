"""XLSX: one sheet, with the header in its first row. Numbers have the 15 digits that spreadsheets show."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from counterfoil.connectors.files.frame import (
    MAX_TITLE_LINES,
    PlacedCells,
    first_cell,
    no_header,
    rows_to_trailer,
)
from counterfoil.connectors.files.reader import FileRefused, OutsideLine, SourceRow, check_header
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.row_deliveries import exact_value
from counterfoil.core.finding import did_you_mean


class XlsxReader:
    """Reads the stated sheet, or the only one. A formula counts with the value that the file stores."""

    unit = "row"
    is_typed = True

    def rows(self, path: Path, book: BookFiles) -> Iterator[SourceRow | OutsideLine]:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException

        try:
            workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
        except (zipfile.BadZipFile, InvalidFileException, KeyError, EOFError, ParseError) as error:
            raise FileRefused(f"{path.name} is no complete XLSX file: {error}") from None
        try:
            sheet = workbook[_sheet(path.name, workbook.sheetnames, book.sheet)]
            sheet.reset_dimensions()
            yield from _rows(path.name, sheet.iter_rows(values_only=True), book)
        except (zipfile.BadZipFile, ParseError, EOFError) as error:
            raise FileRefused(f"{path.name} is no complete XLSX file: {error}") from None
        finally:
            workbook.close()


def _sheet(name: str, sheets: list[str], stated: str | None) -> str:
    if stated in sheets:
        return str(stated)
    names = ", ".join(sheets)
    if stated is not None:
        near = did_you_mean(stated, sheets, f"its sheets: {names}")
        raise FileRefused(f"{name} has no sheet `{stated}`; {near}")
    if len(sheets) != 1:
        raise FileRefused(f"{name} has several sheets; state `sheet`: {names}")
    return sheets[0]


def _rows(name: str, rows: Iterator[tuple[Any, ...]], book: BookFiles) -> Iterator[SourceRow | OutsideLine]:
    numbered = (
        PlacedCells(place, list(cells))
        for place, cells in enumerate(rows, 1)
        if any(c is not None for c in cells)
    )
    header = next(numbered, None)
    if header is None:
        raise FileRefused(f"{name} is empty")
    while book.header is not None and first_cell(header.cells) != book.header:
        yield OutsideLine(header.place, header.cells)
        header = next(numbered, None)
        if header is None or header.place > MAX_TITLE_LINES:
            raise no_header(name, book)
    names = ["" if cell is None else str(cell).strip() for cell in header.cells]
    check_header(f"{name}, row {header.place}", [column for column in names if column], book)
    for line in rows_to_trailer(name, numbered, book):
        if isinstance(line, OutsideLine):
            yield line
            continue
        place, cells = line
        row = {column: None for column in names if column}
        for at, cell in enumerate(cells):
            column = names[at] if at < len(names) else ""
            if column:
                row[column] = _plain(cell)
            elif cell is not None:
                raise FileRefused(
                    f"{name}, row {place}: a cell with a value stands in a column without a name"
                )
        yield SourceRow(place, row)


def _plain(cell: Any) -> Any:
    return Decimal(f"{cell:.15g}") if isinstance(cell, float) else exact_value(cell)
