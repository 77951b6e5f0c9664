"""Bank statements in the form camt.053 of ISO 20022: a row for each booked transaction, and nothing unless all sums tie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from counterfoil.connectors.files.reader import FileRefused, OutsideLine, SourceRow
from counterfoil.connectors.files.readers.bounded_xml import XmlParts
from counterfoil.connectors.files.readers.camt_statement import OpenStatement, StatementSummary
from counterfoil.connectors.files.settings import BookFiles

VERSIONS = ("02", "04", "08", "10")
_NAMESPACE = re.compile(r"urn:iso:std:iso:20022:tech:xsd:(?P<message>[a-z]+\.\d+\.\d+)\.(?P<version>\d+)")


class CamtReader:
    """Reads the booked entries of all statements of a file."""

    unit = "line"
    is_typed = True

    def rows(self, path: Path, book: BookFiles) -> Iterator[SourceRow | OutsideLine]:
        for part in read_statements(path):
            if isinstance(part, SourceRow):
                yield part


def read_statements(path: Path) -> Iterator[SourceRow | StatementSummary]:
    """Yield the booked entries of a file, and behind those of each statement its summary. Raises FileRefused."""
    parts = XmlParts(path, "Document", ("Document", "BkToCstmrStmt", "Stmt"))
    statement: OpenStatement | None = None
    count = 0
    for _, node, line in parts:
        if statement is None:
            _check_version(path.name, parts.namespace)
            statement = OpenStatement(path.name)
        if node is None:
            yield statement.summary(line)
            statement = None
            count += 1
        else:
            yield from statement.add(node)
    _check_version(path.name, parts.namespace)
    if not count:
        raise FileRefused(f"{path.name} has no statement; export it again")


def _check_version(name: str, namespace: str) -> None:
    match = _NAMESPACE.fullmatch(namespace)
    if match is None or match["message"] != "camt.053.001" or match["version"] not in VERSIONS:
        form = namespace.rpartition(":")[2] or "of no stated form"
        raise FileRefused(
            f"{name} is {form}; statements are read as camt.053.001 in the versions {', '.join(VERSIONS)}"
        )
