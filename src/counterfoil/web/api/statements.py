"""Statement of a list: the query, the time, the Release, how many rows fit with their money, and the person who asks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.money import Money
from counterfoil.store.port.as_of import AsOf
from counterfoil.store.port.views import ItemFilter, ListFilter, ListSums, SummedTable
from counterfoil.web.api.shapes import Amount
from counterfoil.web.http.request import WebRequest, caller

MAX_COUNTED_ROWS = 10_000
"""Rows that a page counts; of more it says so."""
MAX_SUMMED_ROWS = 1_000
"""Rows whose money a page sums; an export sums all."""
MAX_SUMMED_RUNS = 200
"""Runs whose money a page sums: what is at risk is read from their counterfoils, Cases, approvals and calls."""


class ListStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Statement of a list: what is listed, when, by whom, and how much it is."""

    query: dict[str, str]
    """Filters by name, and the legal entities of a caller who is bound to some."""
    as_of: datetime
    release: str
    """Digest of the active Release."""
    rows: int | None
    """Rows that fit. None: states of the past are recomputed page by page, and not counted."""
    more: bool
    """There are more rows than `rows`."""
    totals: list[Amount] | None
    """Sum of each currency. None: there are too many rows; an export has the sums."""
    author: str


def stated_query(app: Application, filters: Mapping[str, str | None]) -> dict[str, str]:
    """Return the filters that are set, with the legal entities that bind the caller."""
    query = {name: text for name, text in filters.items() if text}
    if app.scope.names is not None and "entity" not in query:
        query["legal entities"] = ", ".join(sorted(app.scope.names))
    return query


def author_of(request: WebRequest) -> str:
    """Return name and id of the caller."""
    person = caller(request).person
    return f"{person.name} ({person.id})"


async def statement_of(
    request: WebRequest,
    app: Application,
    table: SummedTable,
    page: ListFilter | ItemFilter,
    filters: Mapping[str, str | None],
    at: AsOf | None = None,
) -> ListStatement:
    """Return the statement of a list; `page` is its filter, with the ids that a key leads to."""
    sums = None if at is not None else await _sums(app, table, page)
    totals = None if sums is None or sums.minor is None else sums.minor
    return ListStatement(
        query=stated_query(app, filters),
        as_of=await app.now() if at is None else at.known,
        release=app.model.digest,
        rows=None if sums is None else sums.rows,
        more=sums is not None and sums.more,
        totals=None if totals is None else sums_of(totals),
        author=author_of(request),
    )


async def _sums(app: Application, table: SummedTable, page: ListFilter | ItemFilter) -> ListSums:
    sums = await app.views.list_sums(table, page, MAX_COUNTED_ROWS, MAX_SUMMED_ROWS)
    if table != "run" or not isinstance(page, ListFilter) or sums.more or sums.rows > MAX_SUMMED_RUNS:
        return sums
    minor: dict[str, int] = {}
    rows, _ = await app.views.runs(replace(page, limit=MAX_SUMMED_RUNS, cursor=None))
    for row in rows:
        for money in row.exposure:
            minor[money.currency] = minor.get(money.currency, 0) + money.minor
    return replace(sums, minor=minor)


def sums_of(minor: Mapping[str, int]) -> list[Amount]:
    """Return sums by currency as amounts."""
    return [
        Amount(f"{major(sum_, currency):f}", currency, sum_)
        for currency, sum_ in sorted(minor.items())
        if sum_
    ]


def major(minor: int, currency: str) -> Decimal:
    """Return a sum in major units; a sum may be larger than one amount can be."""
    unit = Money(1, currency).major()
    return (Decimal(minor) * unit).quantize(unit) if unit != 1 else Decimal(minor)
