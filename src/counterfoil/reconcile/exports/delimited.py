"""Delimited text: encoding, separator and quotes are found out from the file."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterfoil.reconcile.exports.layout import build
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable, NewBuilder, TableBuilder

SAMPLE_BYTES = 256 * 1024
SAMPLE_ROWS = 200
MAX_FIELD_CHARS = 1_000_000
_SEPARATORS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_delimited(path: Path, builder_of: NewBuilder = TableBuilder) -> ExportTable:
    """Return the table of a text file. Raises ExportRefused for one that is empty, binary or incomplete."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    if not sample.strip():
        raise ExportRefused(f"{path.name} is empty.")
    notes: list[str] = []
    encoding = _encoding(path, sample, notes)
    text = sample.decode(encoding, "ignore") if encoding != "utf-8" else sample.decode("utf-8", "replace")
    start, separator = _separator(text, notes)
    csv.field_size_limit(MAX_FIELD_CHARS)
    with path.open(encoding=encoding, errors="strict", newline="") as file:
        for _ in range(start):
            file.readline()
        reader = csv.reader(file, delimiter=separator, strict=True)
        rows = _TextRows(path.name, reader, start)
        complete = _ends_with_line(path, encoding)
        table = build(path.name, rows, "line", notes, complete=complete, builder_of=builder_of)
    table.form.encoding, table.form.separator = encoding, separator
    return table


def _encoding(path: Path, sample: bytes, notes: list[str]) -> str:
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        first_zeros, second_zeros = sample[::2].count(0), sample[1::2].count(0)
        if max(first_zeros, second_zeros) > len(sample) // 8:
            notes.append("The text is UTF-16 without a mark.")
            return "utf-16-be" if first_zeros > second_zeros else "utf-16-le"
        raise ExportRefused(f"{path.name} is no text: it has zero bytes.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            notes.append("The text is not UTF-8; it was read as Windows-1252.")
            return "cp1252" if _is_defined(path) else "latin-1"
    return "utf-8"


def _is_defined(path: Path) -> bool:
    """Report whether every byte has a character in Windows-1252."""
    undefined = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if any(byte in block for byte in undefined):
                return False
    return True


def _separator(text: str, notes: list[str]) -> tuple[int, str]:
    """Return the number of lines to leave out, and the separator that gives most rows the same number of columns."""
    declared = text.partition("\n")[0].strip().lower()
    if declared.startswith("sep=") and len(declared) == 5:
        return 1, declared[4]
    scores = {separator: _score(text, separator) for separator in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda separator: scores[separator])
    if scores[best] == (0.0, 0):
        notes.append("No separator was found: the file has one column.")
        return 0, ","
    return 0, best


def _score(text: str, separator: str) -> tuple[float, int]:
    """Return the share of rows with the usual number of columns, times that it is more than one, and that number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    widths: Counter[int] = Counter()
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                widths[len(row)] += 1
            if widths.total() >= SAMPLE_ROWS:
                break
    except csv.Error:
        return 0.0, 0
    if not widths:
        return 0.0, 0
    width, count = max(widths.items(), key=lambda pair: (pair[1] if pair[0] > 1 else 0, pair[0]))
    return (count / widths.total(), width) if width > 1 else (0.0, 0)


class _TextRows:
    """Rows of a text file with the line on which each begins."""

    def __init__(self, name: str, reader: Any, start: int) -> None:
        self._name, self._reader, self._start = name, reader, start

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        line = 0
        try:
            for row in self._reader:
                yield line + 1 + self._start, row
                line = self._reader.line_num
        except csv.Error as error:
            place = line + 1 + self._start
            if "unexpected end of data" in str(error):
                raise ExportRefused(
                    f"{self._name} ends inside the quotes that line {place} opens. The export is not complete: export it again."
                ) from None
            raise ExportRefused(f"{self._name}, line {place}: {error}.") from None
        except UnicodeDecodeError as error:
            raise ExportRefused(f"{self._name}, after line {line}: {error.reason}.") from None


def _ends_with_line(path: Path, encoding: str) -> bool:
    """Report whether the last line has an end. A file without one may be complete, or cut."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        tail = file.read()
    end = "\n".encode(encoding.replace("-sig", "").replace("utf-16", "utf-16-le")[:9])
    return tail.endswith((b"\n", b"\r", end)) or tail.rstrip(b"\0").endswith((b"\n", b"\r"))
