"""Column types, and the mapping between a table's rows and the records they hold. Knows no table and no transition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, get_args

import msgspec

from counterfoil.core import wire
from counterfoil.core.clock import from_micros, micros
from counterfoil.core.errors import Misconfigured

R = TypeVar("R")


class UnreadableRow(Misconfigured):
    """A row has a value that this program cannot have written."""


def micros_or_none(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _same(value: Any) -> Any:
    return value


Conversion = Callable[[Any], Any]


class ColumnType:
    """Mapping of one kind of value: the type of its column, and its conversions."""

    __slots__ = ("load", "save", "type")

    def __init__(self, type_: str, save: Conversion = _same, load: Conversion = _same) -> None:
        self.type = type_
        self.save = save
        self.load = load


def json_column(of: Any) -> ColumnType:
    decoder = msgspec.json.Decoder(of)
    return ColumnType("text", lambda value: msgspec.json.encode(value).decode(), decoder.decode)


def enum_column(of: type[StrEnum]) -> ColumnType:
    return ColumnType("text", str, {str(member): member for member in of}.__getitem__)


TEXT = ColumnType("text")
INT = ColumnType("bigint")
BYTES = ColumnType("bytea")
BOOL = ColumnType("boolean", load=bool)
TIME = ColumnType("bigint", micros, from_micros)
VALUES = ColumnType("bytea", wire.dumps, wire.loads)
TEXTS = json_column(tuple[str, ...])
HEADERS = json_column(dict[str, str])
_BY_TYPE: dict[Any, ColumnType] = {
    str: TEXT,
    int: INT,
    bytes: BYTES,
    bool: BOOL,
    datetime: TIME,
    dict[str, Any]: VALUES,
    dict[str, int]: VALUES,
}


def columns_of(record: type[msgspec.Struct], *without: str) -> dict[str, ColumnType]:
    """Return a column for each field of a record, except for those in `without`."""
    fields = msgspec.structs.fields(record)
    return {field.name: _column_of(field.type) for field in fields if field.name not in without}


def _column_of(type_: Any) -> ColumnType:
    """Return the column for values of a type, or None; what no column type covers is JSON text."""
    if isinstance(type_, UnionType):
        (type_,) = set(get_args(type_)) - {NoneType}
    if isinstance(type_, type) and issubclass(type_, StrEnum):
        return enum_column(type_)
    return _BY_TYPE.get(type_) or json_column(type_)


KEYS = {
    "receipt": ("system", "ext_id"),
    "head": ("object", "key"),
    "post": ("topic", "event"),
    "hold": ("serial",),
    "match_row": ("rule", "key"),
    "vote": ("approval", "person"),
    "release": ("digest",),
    "plan": ("digest",),
    "release_step": ("no",),
    "account": ("account",),
    "quota": ("account", "worker"),
    "call": ("consumer", "operation", "key"),
    "rate": ("consumer", "operation"),
}
"""The columns that tell rows of a table apart where that is not `id`."""


class SqlTable(Generic[R]):
    """One table. `columns` maps a column to its type; `fields` has the columns whose field has another name."""

    def __init__(
        self, name: str, record: Callable[..., R], columns: dict[str, ColumnType], **fields: str
    ) -> None:
        self.name = name
        self.record = record
        self.columns = columns
        self.key = KEYS.get(name, ("id",))
        self.fields = tuple(fields.get(column, column) for column in columns)
        self.names = ", ".join(columns)
        self.select = f"select {self.names} from {name}"  # noqa: S608 - names of the code
        self.types = tuple(kind.type for kind in columns.values())
        self._values = attrgetter(*self.fields)
        self._saved = [(n, kind.save) for n, kind in enumerate(columns.values()) if kind.save is not _same]
        loads = [kind.load for kind in columns.values()]
        self._load = tuple(zip(self.fields, loads, strict=True))

    def row(self, record: R) -> tuple[Any, ...]:
        values = list(self._values(record))
        for n, save in self._saved:
            if values[n] is not None:
                values[n] = save(values[n])
        return tuple(values)

    def read(self, row: Sequence[Any], **more: Any) -> R:
        """Return the record of a row that has this table's columns first."""
        field = self.fields[0]
        try:
            for (field, load), value in zip(self._load, row, strict=False):
                more[field] = value if load is _same or value is None else load(value)
        except (ValueError, KeyError, msgspec.MsgspecError) as error:
            raise UnreadableRow(
                f"a row of the table {self.name} was edited: {field} cannot be read, in {row[0]!r}"
            ) from error
        return self.record(**more)

    def of(self, alias: str) -> str:
        """Return the columns, qualified by an alias."""
        return ", ".join(f"{alias}.{column}" for column in self.columns)
