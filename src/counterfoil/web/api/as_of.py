"""Lists as they were at a time: the two dates of a question, and pages of counterfoils and unmatched items then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated

from litestar.params import QueryParameter
from msgspec.structs import replace

from counterfoil.core.clock import micros
from counterfoil.core.foil import Foil, Observation
from counterfoil.store.port.as_of import AsOf, KnownMatches, settle_as_of
from counterfoil.store.port.views import ItemFilter, ItemRow, ListFilter, MatchRow, Views
from counterfoil.web.http.problems import Problem

KnownText = Annotated[
    str | None,
    QueryParameter(
        name="as_of",
        max_length=40,
        description="RFC 3339 time: states are recomputed from the versions of documents known then.",
    ),
]
EffectiveText = Annotated[
    str | None,
    QueryParameter(
        name="effective_by",
        max_length=10,
        description="Date: documents dated later are left out, and states are recomputed without them.",
    ),
]
PAGE_ROWS = 200
MAX_SCANNED_ROWS = 2000
"""Rows of one request that are recomputed at most; `next` continues after them."""


def question_of(
    as_of: str | None, effective_by: str | None, now: datetime, sort: str | None = None
) -> AsOf | None:
    """Return the two dates of a question, None for the present. A time without offset is UTC. Raises Problem 400."""
    if not as_of and not effective_by:
        return None
    if sort and sort != "-created":
        raise Problem(400, "States of the past are listed newest first: leave `sort` out.")
    try:
        # A `+` that was not encoded arrives as a space.
        time = datetime.fromisoformat(as_of.replace(" ", "+")) if as_of else now
        if as_of and "T" not in as_of.upper():
            raise ValueError
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(400, "`as_of` is an RFC 3339 time such as 2026-11-30T18:00:00Z.") from None
    if time > now:
        raise Problem(
            400, f"`as_of` is after {now:%Y-%m-%dT%H:%M:%SZ}, the present. Give a time in the past."
        )
    try:
        day = date.fromisoformat(effective_by) if effective_by else None
    except ValueError:
        raise Problem(400, "`effective_by` is a date such as 2026-11-30.") from None
    return AsOf(time, day)


async def foils_as_of(views: Views, page: ListFilter, at: AsOf) -> tuple[list[Foil], str | None]:
    """Return a page of counterfoils with their states at a time, newest first.

    Filters on state, owner and entity apply to the rows of that time.
    """
    if page.key is not None:
        matches = await _matches(views, KnownMatches(known=at.known, side="left", key=page.key), at)
        foils = [foil for match in matches for foil in match.foils if _fits(foil, page)]
        # The workflow of a foil is known by its Run only.
        if page.workflow is not None:
            ids = await _present_ids(views, replace(page, state=None, owner=None, entity=None))
            foils = [foil for foil in foils if foil.id in ids]
        return sorted(foils, key=lambda f: (f.created_at, f.id), reverse=True), None
    rows: list[Foil] = []
    cursor: str | None = page.cursor or _before(at)
    scanned = 0
    while cursor is not None and len(rows) < page.limit and scanned < MAX_SCANNED_ROWS:
        size = min(PAGE_ROWS, page.limit - len(rows))
        scope = replace(page, state=None, owner=None, entity=None, limit=size, cursor=cursor)
        present, cursor = await views.foils(scope)
        scanned += len(present)
        names = tuple((foil.rule, foil.document) for foil in present)
        which = KnownMatches(known=at.known, side="left", documents=names)
        then = {foil.id: foil for match in await _matches(views, which, at) for foil in match.foils}
        rows += [then[f.id] for f in present if f.id in then and _fits(then[f.id], page)]
    return rows, cursor


async def items_as_of(views: Views, page: ItemFilter, at: AsOf) -> tuple[list[ItemRow], str | None]:
    """Return a page of the items that were unmatched at a time, newest first, with their Cases of that time."""
    if page.key is not None:
        matches = await _matches(views, KnownMatches(known=at.known, side="right", key=page.key), at)
        items = [item for match in matches for item in match.observations if _is_unmatched(item, page)]
        items.sort(key=lambda o: (o.since, o.id), reverse=True)
        return await _with_cases(views, items, at), None
    rows: list[Observation] = []
    cursor: str | None = page.cursor or _before(at)
    scanned = 0
    while cursor is not None and len(rows) < page.limit and scanned < MAX_SCANNED_ROWS:
        size = min(PAGE_ROWS, page.limit - len(rows))
        scope = replace(page, owner=None, entity=None, limit=size, cursor=cursor)
        present, cursor = await views.observations(scope)
        scanned += len(present)
        names = tuple((item.rule, item.document) for item in present)
        which = KnownMatches(known=at.known, side="right", documents=names)
        then = {item.id: item for match in await _matches(views, which, at) for item in match.observations}
        rows += [then[o.id] for o in present if o.id in then and _is_unmatched(then[o.id], page)]
    return await _with_cases(views, rows, at), cursor


async def _matches(views: Views, which: KnownMatches, at: AsOf) -> list[MatchRow]:
    return [settle_as_of(row, at) for row in await views.matches_known(which)]


async def _with_cases(views: Views, items: Sequence[Observation], at: AsOf) -> list[ItemRow]:
    cases = await views.item_cases([item.id for item in items], at.known)
    return [ItemRow(item=item, case=cases.get(item.id)) for item in items]


async def _present_ids(views: Views, page: ListFilter) -> set[str]:
    foils, _ = await views.foils(replace(page, key=None, limit=MAX_SCANNED_ROWS, cursor=None))
    return {foil.id for foil in foils}


def _before(at: AsOf) -> str:
    """Return the cursor before the first row that was known at a time."""
    return f"{micros(at.known) + 1}.0"


def _fits(foil: Foil, page: ListFilter) -> bool:
    return (
        page.state in (None, str(foil.state))
        and page.owner in (None, foil.owner)
        and page.rule in (None, foil.rule)
        and page.run in (None, foil.run)
        and (page.entity is None or foil.entity in page.entity)
    )


def _is_unmatched(item: Observation, page: ItemFilter) -> bool:
    """Report whether nothing accounts for an item, and whether it fits the filters."""
    return (
        (item.state == "unmatched" or (item.state == "over" and item.foil is None))
        and page.system in (None, item.system)
        and page.rule in (None, item.rule)
        and page.owner in (None, item.owner)
        and (page.entity is None or item.entity in page.entity)
    )
