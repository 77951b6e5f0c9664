"""Pages of a query by its key: the text of the statements, and the place between two pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from counterfoil.connectors.query.settings import BookQuery
from counterfoil.connectors.row_deliveries import RowForm, RowRefused, plain_value
from counterfoil.connectors.sdk import Page
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean


class KeyPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Key of the last row that was listed, a value for each column of it."""

    after: tuple[str | int | bool, ...]

    @classmethod
    def read(cls, text: str | None, book: BookQuery) -> KeyPlace | None:
        """Return the place of a cursor, None for the beginning. Raises Misconfigured for another text."""
        try:
            place = msgspec.json.decode(text, type=cls) if text else None
        except msgspec.MsgspecError as error:
            raise Misconfigured(f"the stored cursor cannot be read: {error}") from error
        if place is not None and len(place.after) != len(book.key):
            raise Misconfigured("the stored cursor belongs to another key; sweep again")
        return place


def quoted(name: str) -> str:
    """Return the name of a column as both databases write it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def page_statement(book: BookQuery, after: Sequence[str], limit: str, collation: str = "") -> str:
    """Return the statement of a page. `after` are the parameters of the last key, empty at the beginning."""
    columns = ", ".join(f"q.{quoted(name)}{collation}" for name in book.key)
    where = f"where ({columns}) > ({', '.join(after)}) " if after else ""
    # The query ends with a line of its own, because it may end with a comment.
    return f"select * from (\n{book.query}\n) as q {where}order by {columns} limit {limit}"  # noqa: S608 - governance


def null_statement(book: BookQuery) -> str:
    """Return the statement that selects a row whose key has a null, which no page by key would show."""
    nulls = " or ".join(f"q.{quoted(name)} is null" for name in book.key)
    return f"select 1 from (\n{book.query}\n) as q where {nulls} limit 1"  # noqa: S608 - governance


def check_columns(name: str, book: BookQuery, columns: Sequence[str]) -> None:
    """Raise Misconfigured if a query lacks a column that the settings name, or has one twice."""
    for column in (*book.key, *book.version):
        if column not in columns:
            near = did_you_mean(column, columns, f"its columns: {', '.join(columns)}")
            raise Misconfigured(f"the query of {name} has no column `{column}`; {near}")
    for column in columns:
        if columns.count(column) > 1:
            raise Misconfigured(f"the query of {name} has two columns `{column}`; name one of them otherwise")


def build_page(
    form: RowForm, columns: Sequence[str], rows: Sequence[Sequence[Any]], limit: int, cursor: str
) -> Page:
    """Return the first `limit` of the rows as a page; one more row says that it is not the last page.

    Raises Misconfigured for a key that two rows have, or whose values cannot be compared exactly.
    """
    deliveries, former = [], None
    try:
        plain = [dict(zip(columns, map(plain_value, row), strict=True)) for row in rows]
        for row in plain:
            key = form.key(row)
            if key == former:
                raise RowRefused(
                    f"two rows have the key {key}; name columns in `key` that tell all rows apart"
                )
            former = key
        deliveries = [form.delivery(row) for row in plain[:limit]]
    except RowRefused as error:
        raise Misconfigured(f"the query of {form.book}: {error}") from None
    if deliveries:
        last = plain[len(deliveries) - 1]
        cursor = msgspec.json.encode(KeyPlace(tuple(last[column] for column in form.id))).decode()
    return Page(deliveries, cursor, more=len(rows) > limit)
