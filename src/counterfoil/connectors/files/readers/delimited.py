"""Delimited text. Encoding and separator are stated or recognized; a line that does not fit the header is an error."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from counterfoil.connectors.files.frame import (
    MAX_TITLE_LINES,
    PlacedCells,
    first_cell_of_line,
    no_header,
    rows_to_trailer,
)
from counterfoil.connectors.files.reader import FileRefused, OutsideLine, SourceRow, check_header
from counterfoil.connectors.files.settings import BookFiles

SEPARATORS = (",", ";", "\t", "|")
MAX_LINE_BYTES = 4 * 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class DelimitedReader:
    """Reads text with a header. Without a stated encoding a file without a byte order mark is UTF-8."""

    unit = "line"
    is_typed = False

    def rows(self, path: Path, book: BookFiles) -> Iterator[SourceRow | OutsideLine]:
        with path.open("rb") as file:
            lines = _Lines(path, file, book)
            titles = _titles(path.name, lines, book)
            separator = book.separator or _separator(lines)
            for number, title in enumerate(titles, 1):
                yield OutsideLine(number, _cells_of_title(title, separator))
            reader = csv.reader(lines, delimiter=separator, strict=True)
            rows = (row for row in _numbered(path.name, reader, len(titles)) if row.cells)
            header = next(rows, None)
            if header is None:
                raise FileRefused(f"{path.name} is empty")
            place, names = header.place, [name.strip() for name in header.cells]
            columns = [name for name in names if name]
            check_header(f"{path.name}, line {place}", columns, book)
            for line in rows_to_trailer(path.name, rows, book):
                if isinstance(line, OutsideLine):
                    yield line
                else:
                    yield SourceRow(line.place, _row(f"{path.name}, line {line.place}", names, line.cells))
            if not lines.is_terminated and not book.unterminated:
                raise FileRefused(
                    f"{path.name}, line {lines.number}: the last line has no end, so the file may be cut; export it again, "
                    "or state `unterminated: true` if the system always writes it so"
                )


class _Lines:
    """Decoded lines of a file. Raises FileRefused where the bytes are not in the encoding."""

    def __init__(self, path: Path, file: BinaryIO, book: BookFiles) -> None:
        self._path, self._name, self._file = path, path.name, file
        head = file.read(4)
        file.seek(0)
        marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
        self._is_stated = book.encoding is not None
        self._encoding = book.encoding or marked or "utf-8"
        if marked == "utf-8-sig" and codecs.lookup(self._encoding).name == "utf-8":
            self._encoding = marked
        self.first: str | None = None
        """The header, where it was read before the other lines."""
        self.number = 0
        """Of the last line."""
        self.is_terminated = True
        self._lines = self._decoded()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.first is not None:
            line, self.first = self.first, None
            return line
        return next(self._lines)

    def _decoded(self) -> Iterator[str]:
        if "\n".encode(self._encoding.removesuffix("-sig")) == b"\n":
            if self._encoding == "utf-8-sig":
                self._file.seek(len(codecs.BOM_UTF8))
            encoding = self._encoding.removesuffix("-sig")
            while data := self._file.readline(MAX_LINE_BYTES):
                self.number += 1
                yield self._checked(self._text(data, encoding))
            return
        with self._path.open(encoding=self._encoding, newline="\n") as text:
            try:
                while line := text.readline(MAX_LINE_BYTES):
                    self.number += 1
                    yield self._checked(line)
            except UnicodeError as error:
                raise FileRefused(self._wrong_encoding(self.number + 1, str(error))) from None

    def _text(self, data: bytes, encoding: str) -> str:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            byte = f"byte 0x{data[error.start]:02X} at column {error.start + 1}"
            raise FileRefused(self._wrong_encoding(self.number, byte)) from None

    def _wrong_encoding(self, number: int, why: str) -> str:
        fix = "correct `encoding`" if self._is_stated else "state `encoding`, such as `cp1252`"
        return f"{self._name}, line {number}: the text is not {self._encoding} ({why}); {fix}"

    def _checked(self, line: str) -> str:
        if "\0" in line:
            raise FileRefused(
                f"{self._name}, line {self.number}: there is a zero byte, so this is no text in {self._encoding}; "
                "state `encoding`, such as `utf-16`"
            )
        self.is_terminated = line.endswith(("\n", "\r"))
        if not self.is_terminated and len(line) >= MAX_LINE_BYTES // 4:
            raise FileRefused(f"{self._name}, line {self.number}: the line is too long for text with columns")
        return line


def _titles(name: str, lines: _Lines, book: BookFiles) -> list[str]:
    """Return the lines above the header, which is then the next line. Raises FileRefused for a file without a header."""
    titles: list[str] = []
    if book.header is None:
        return titles
    separators = book.separator or "".join(SEPARATORS)
    for line in lines:
        if first_cell_of_line(line, separators) == book.header:
            lines.first = line
            return titles
        titles.append(line)
        if len(titles) == MAX_TITLE_LINES:
            break
    raise no_header(name, book)


def _cells_of_title(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a title is no row, so quotes in it may be wrong
        return [line]


def _separator(lines: _Lines) -> str:
    """Return the separator that gives the header most columns; a comma if it has only one."""
    lines.first = next(lines, None)
    header = lines.first or ""

    def width(separator: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=separator), []))
        except csv.Error:  # the reader of the rows names the line
            return 0

    return max(SEPARATORS, key=width)


def _numbered(name: str, reader: Iterator[list[str]], above: int) -> Iterator[PlacedCells]:
    """Yield each row with the line on which it begins, below the lines `above`; a row in quotes has several lines."""
    line = above
    try:
        for row in reader:
            yield PlacedCells(line + 1, row)
            line = above + reader.line_num  # type: ignore[attr-defined]  # typed as an iterator
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            message = (
                f"{name}, line {line + 1}: the file ends inside quotes that this line opens, so it is cut"
            )
            raise FileRefused(f"{message}; export it again") from None
        raise FileRefused(f"{name}, line {line + 1}: {error}") from None


def _row(where: str, names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(names):
        raise FileRefused(
            f"{where}: there are {len(cells)} cells, and the header has {len(names)}; the line may be cut, or has another "
            "separator or quotes"
        )
    row = dict(zip(names, cells, strict=True))
    if row.pop("", ""):
        raise FileRefused(f"{where}: a cell with a value stands in a column without a name")
    return row
