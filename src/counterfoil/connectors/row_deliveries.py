"""Rows of tables as deliveries: exact values, and ids that tell a repeated row from a changed one.

A row with stated id columns is a version of its record: the id of its delivery has the values of these columns and a digest
of its `version` columns, or else of the whole row. A row that returns to an earlier content is then a repeat of the
earlier one, unless its `version` columns differ. A row without an id is identified by its content and by the number of
equal rows before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypeAlias
from uuid import UUID

from pydantic import BeforeValidator, Field

from counterfoil.connectors.sdk import Delivery, Json
from counterfoil.core.wire import write_json

DIGEST_BYTES = 12
ROW_ID = "row_id"
"""Column that a row without id columns gets, so that equal rows are two facts to a mapping."""
Row: TypeAlias = Mapping[str, Json]


class RowRefused(Exception):
    """A row that cannot be delivered. The message names the column; the reader of the row adds the place."""


def _names(value: object) -> object:
    return [value] if isinstance(value, str) else value


ColumnNames = Annotated[tuple[str, ...], BeforeValidator(_names), Field(strict=False)]
"""Setting of one column's name, or of a list of names."""


class RowForm(NamedTuple):
    """Identity of the rows of one book."""

    book: str
    type: str
    id: Sequence[str]
    version: Sequence[str]
    is_final: bool = False
    """A record never changes: another content under its id is a clash, and no new version."""

    def key(self, row: Row) -> str:
        """Return the text of the id columns, or without any the digest of the row. Raises RowRefused for an empty id."""
        if not self.id and ROW_ID in row:
            raise RowRefused(
                f"the column `{ROW_ID}` has a name of its own meaning; name it in `id`, or rename it"
            )
        return "/".join(self._part(row, column) for column in self.id) if self.id else digest_of(row)

    def _part(self, row: Row, column: str) -> str:
        value = row.get(column)
        if value is None or value == "" or isinstance(value, dict | list):
            raise RowRefused(f"the id column `{column}` has no plain value")
        return str(value).replace("%", "%25").replace("/", "%2F")

    def delivery(self, row: Row, repeat: int = 0) -> Delivery:
        """Return a row as a delivery. `repeat` is the number of equal rows before it where rows have no id."""
        if self.is_final:
            ext_id = f"{self.book}/{self.key(row)}"
            return Delivery(ext_id, self.type, ext_id.encode(), row, content=write_json(row))
        if not self.id:
            row_id = f"{digest_of(row)}/{repeat}"
            ext_id, row = f"{self.book}/{row_id}", {**row, ROW_ID: row_id}
        else:
            about = {column: row.get(column) for column in self.version} if self.version else row
            ext_id = f"{self.book}/{self.key(row)}/{digest_of(about)}"
        return Delivery(ext_id, self.type, ext_id.encode(), row)


def digest_of(row: Row) -> str:
    """Return a short digest of the content of a row, whatever the order of its columns."""
    return hashlib.blake2b(write_json(row), digest_size=DIGEST_BYTES).hexdigest()


def plain_value(value: Any) -> Json:
    """Return a value of a database or typed file without loss: numbers with decimals and times become text.

    A floating-point number becomes the shortest decimal text that reads back as the same number. Times with a zone are
    in UTC. Raises RowRefused for a type that has no text.
    """
    exact = exact_value(value)
    if isinstance(exact, Decimal):
        return format(exact, "f") if exact.is_finite() else str(exact)
    return exact


def exact_value(value: Any) -> Any:
    """Return a value as `plain_value` does, but a number with decimals as Decimal."""
    match value:
        case None | bool() | int() | str() | Decimal():
            return value
        case float():
            return Decimal(repr(value))
        case datetime():
            return value.isoformat() if value.tzinfo is None else _utc(value)
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case timedelta():
            return f"{plain_value(Decimal(value // timedelta(microseconds=1)) / 1_000_000)}s"
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Mapping():
            return {str(key): plain_value(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain_value(part) for part in value]
    raise RowRefused(f"a value of the type {type(value).__name__} cannot be delivered; cast it to text")


def _utc(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
