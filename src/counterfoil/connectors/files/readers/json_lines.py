"""JSON lines: one object on each line, with exact numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from counterfoil.connectors.files.reader import FileRefused, SourceRow, check_header
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.core.wire import DEFAULT_LIMITS, WireRefused, read_json


class JsonLinesReader:
    """Reads objects. Every one of them has the columns that the settings name."""

    unit = "line"
    is_typed = False

    def rows(self, path: Path, book: BookFiles) -> Iterator[SourceRow]:
        number = 0
        with path.open("rb") as file:
            while line := file.readline(DEFAULT_LIMITS.size + 1):
                number += 1
                if not line.strip():
                    continue
                where = f"{path.name}, line {number}"
                try:
                    record = read_json(line.rstrip(b"\r\n"))
                except WireRefused as error:
                    cut = "" if line.endswith(b"\n") else "; the line may be cut: export the file again"
                    raise FileRefused(f"{where}: {error.message} ({error.where}){cut}") from None
                if not isinstance(record, dict):
                    raise FileRefused(f"{where}: a line is a JSON object, and this is another value")
                check_header(where, record, book)
                yield SourceRow(number, record)
        if number == 0:
            raise FileRefused(f"{path.name} is empty")
