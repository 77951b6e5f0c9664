"""Query parameters of the API's lists, and the filters that they become."""

from __future__ import annotations

import re
from typing import Annotated

from litestar.params import QueryParameter

from counterfoil.store.port.views import EventFilter, ListFilter
from counterfoil.web.http.problems import Problem

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Rows on one page.")]
Text = Annotated[str | None, QueryParameter(max_length=500)]
State = Annotated[str | None, QueryParameter(name="state", max_length=100)]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=200, description="`next` of the previous page; empty for the first page."),
]
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CURSOR = re.compile(r"\d{1,20}\.[\w:.\-]{1,180}", re.ASCII)


def invalid_cursor() -> Problem:
    return Problem(
        400, "Invalid cursor. Use the `next` value from the previous page unchanged.", kind="cursor"
    )


def list_filter(limit: int = 50, cursor: str | None = None, **filters: str | None) -> ListFilter:
    """Return the filter of a list. An empty text filters nothing. Raises Problem for an invalid cursor."""
    return ListFilter(
        limit=limit, cursor=_checked(cursor), **{name: text or None for name, text in filters.items()}
    )


def event_filter(limit: int = 50, cursor: str | None = None, **filters: str | None) -> EventFilter:
    """Return the filter of the list of events. Raises Problem for an invalid cursor."""
    return EventFilter(
        limit=limit, cursor=_checked(cursor), **{name: text or None for name, text in filters.items()}
    )


def _checked(cursor: str | None) -> str | None:
    if cursor and not _CURSOR.fullmatch(cursor):
        raise invalid_cursor()
    return cursor or None
