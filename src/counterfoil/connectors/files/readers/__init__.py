"""Readers of the file formats: delimited text, JSON lines, Parquet, XLSX, bank statements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from counterfoil.connectors.files.reader import FileRefused, Reader
from counterfoil.connectors.files.readers.camt import CamtReader
from counterfoil.connectors.files.readers.delimited import DelimitedReader
from counterfoil.connectors.files.readers.json_lines import JsonLinesReader
from counterfoil.connectors.files.readers.parquet import ParquetReader
from counterfoil.connectors.files.readers.xlsx import XlsxReader
from counterfoil.connectors.files.settings import BookFiles, Format

READERS: Mapping[Format, Reader] = {
    "csv": DelimitedReader(),
    "jsonl": JsonLinesReader(),
    "parquet": ParquetReader(),
    "xlsx": XlsxReader(),
    "camt.053": CamtReader(),
}
_SUFFIXES: Mapping[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".xlsx": "xlsx", ".xlsm": "xlsx",
}  # fmt: skip


def reader_of(path: Path, book: BookFiles) -> Reader:
    """Return the reader of the stated format, or else of the suffix; any other suffix is delimited text."""
    form = book.format or _SUFFIXES.get(path.suffix.lower(), "csv")
    if form in ("jsonl", "parquet") and book.is_framed:
        raise FileRefused(f"{path.name} has rows alone, and no `header`, `trailer`, `opening` or `closing`")
    return READERS[form]
