"""Order of a list, and where its next page continues: at a value and an id, so that rows that come or go move no other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from counterfoil.store.port import views

_COLUMNS = {"due": "due", "deadline": "deadline", "expires": "expires", "amount": "amount_minor"}


class ListOrder(NamedTuple):
    """Order by a column and the id, and the last row of the former page."""

    column: str
    descending: bool
    prefix: str
    """Beginning of a cursor: it belongs to one order."""
    last: tuple[int, str] | tuple[()]

    @property
    def _value(self) -> str:
        return f"coalesce({self.column}, 0)" if self.column == "amount_minor" else self.column

    @property
    def text(self) -> str:
        way = " desc" if self.descending else ""
        return f"order by {self._value}{way}, id{way}"

    def after(self, parameters: int) -> list[str]:
        """Return the condition of the rows of the next page, whose parameters follow these."""
        sign = "<" if self.descending else ">"
        return [f"({self._value}, id) {sign} (${parameters + 1}, ${parameters + 2})"] if self.last else []

    def cursor(self, columns: Sequence[str], row: Sequence[Any]) -> str:
        return f"{self.prefix}{row[columns.index(self.column)] or 0}.{row[columns.index('id')]}"


def list_order(page: views.ListFilter | views.EventFilter | views.ItemFilter, time: str) -> ListOrder:
    """Return the order of a list; `time` is the column of the newest first. Raises ValueError for an invalid cursor."""
    sort = (None if isinstance(page, views.EventFilter) else page.sort) or "-created"
    prefix = "" if sort == "-created" else f"{sort}~"
    last: tuple[int, str] | tuple[()] = ()
    if page.cursor is not None:
        if not page.cursor.startswith(prefix):
            raise ValueError("the cursor belongs to another order")
        value, _, id_ = page.cursor.removeprefix(prefix).partition(".")
        last = int(value), id_
    return ListOrder(_COLUMNS.get(sort.removeprefix("-"), time), sort.startswith("-"), prefix, last)
