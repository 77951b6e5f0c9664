"""Query parameters of lists, and reads behind API and pages: Runs by any system's id, votes, shapes with names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from litestar.params import QueryParameter
from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.change.plan_report import PlanReport, read_report
from counterfoil.change.plan_words import plan_summary
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import CaseState
from counterfoil.core.foil import Foil
from counterfoil.core.matching import FoilState
from counterfoil.core.money import INT64_MAX
from counterfoil.core.release import is_of_plan
from counterfoil.core.run import RunStatus
from counterfoil.core.waiting import waits_for
from counterfoil.store.port.documents import decision_of, foils_of, observations_of
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import EventFilter, ItemFilter, ItemRow, ListFilter, RunRow
from counterfoil.web.api import shapes
from counterfoil.web.api.case_words import with_names
from counterfoil.web.api.match_words import describe
from counterfoil.web.api.names import NameReader
from counterfoil.web.api.tier_words import tier_words
from counterfoil.web.http.problems import Problem

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Rows on one page.")]
Text = Annotated[str | None, QueryParameter(max_length=500)]
State = Annotated[str | None, QueryParameter(name="state", max_length=100)]
RunStatusText = Annotated[str | None, QueryParameter(name="status", enum=[*RunStatus])]
FoilStateText = Annotated[str | None, QueryParameter(name="state", enum=[*FoilState])]
CaseStateText = Annotated[str | None, QueryParameter(name="state", enum=[*CaseState])]
ApprovalStateText = Annotated[str | None, QueryParameter(name="state", enum=[*ApprovalState])]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=200, description="`next` of the previous page; empty for the first page."),
]
Page = TypeVar("Page", ListFilter, EventFilter, ItemFilter)
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CURSOR = re.compile(r"(?:(-?[a-z]{1,20})~)?(\d{1,19})\.[\w:.\-]{1,180}", re.ASCII)
"""Order of the list, microseconds of any year to 9999 or minor units, and an id."""


def sort_parameter(*names: str) -> QueryParameter:
    """Return the query parameter with the orders of a list."""
    return QueryParameter(
        name="sort",
        enum=[sort for name in ("created", *names) for sort in (name, f"-{name}")],
        description="Order; `-` means the latest or largest first. By default `-created`.",
    )


RunSort = Annotated[str | None, sort_parameter()]
FoilSort = Annotated[str | None, sort_parameter("due", "amount")]
ItemSort = Annotated[str | None, sort_parameter("amount")]
CaseSort = Annotated[str | None, sort_parameter("deadline")]
ApprovalSort = Annotated[str | None, sort_parameter("expires")]


def invalid_cursor() -> Problem:
    return Problem(
        400, "Invalid cursor. Use the `next` value from the previous page unchanged.", kind="cursor"
    )


def list_filter(limit: int = 50, cursor: str | None = None, **filters: str | None) -> ListFilter:
    """Return the filter of a list. An empty text filters nothing. Raises Problem for an invalid cursor."""
    return ListFilter(
        limit=limit,
        cursor=checked_cursor(cursor),
        ids=None,
        **_texts(filters),
    )


def event_filter(limit: int = 50, cursor: str | None = None, **filters: str | None) -> EventFilter:
    """Return the filter of the list of events. Raises Problem for an invalid cursor."""
    return EventFilter(
        limit=limit,
        cursor=checked_cursor(cursor),
        **_texts(filters),
    )


def item_filter(limit: int = 50, cursor: str | None = None, **filters: str | None) -> ItemFilter:
    """Return the filter of the list of unmatched items. Raises Problem for an invalid cursor."""
    return ItemFilter(
        limit=limit,
        cursor=checked_cursor(cursor),
        **_texts(filters),
    )


def _texts(filters: Mapping[str, str | None]) -> dict[str, Any]:
    return {name: text or None for name, text in filters.items()}


def of_entity(app: Application, page: Page, entity: str | None) -> Page:
    """Return the filter for the rows of a legal entity. Rows without one belong to the default entity."""
    if not entity:
        return page
    stored = (entity, "") if entity == app.model.default_entity else (entity,)
    return replace(page, entity=stored)


def sorted_by(page: Page, sort: str | None) -> Page:
    """Return the filter of a list in an order. Raises Problem for the cursor of another order."""
    order = None if sort in (None, "", "-created") else sort
    match = _CURSOR.fullmatch(page.cursor or "")
    if match is not None and match[1] != order:
        raise invalid_cursor()
    return replace(page, sort=order) if order else page


def checked_cursor(cursor: str | None) -> str | None:
    match = _CURSOR.fullmatch(cursor) if cursor else None
    if cursor and (match is None or int(match[2]) > INT64_MAX):
        raise invalid_cursor()
    return cursor or None


async def with_votes(
    app: Application, approvals: Sequence[Approval], named: bool = True
) -> list[shapes.ApprovalShape]:
    """Return the shapes of approvals, if `named` with what each is about. All their votes are one read."""
    votes, names = await app.store.votes([approval.id for approval in approvals]), NameReader(app)
    return [
        shapes.approval_shape(
            approval,
            votes[approval.id],
            await _summary(app.store, approval),
            await names.request(approval) if named else {},
            await tier_words(app, approval),
            "" if is_of_plan(approval.run) else approval.entity or app.model.default_entity,
        )
        for approval in approvals
    ]


async def run_shapes(app: Application, rows: Sequence[RunRow]) -> list[shapes.RunShape]:
    """Return the shapes of Runs, with the names of what they are about."""
    reader, now = NameReader(app), await app.now()
    waiting = {row.run.id: waits_for(row.run, row.obstacles, now) for row in rows}
    names = await reader.documents(row.run.bkey for row in rows)
    in_text = await reader.in_text(waiting.values())
    default = app.model.default_entity
    return [
        shapes.run_shape(row, names[row.run.bkey], with_names(waiting[row.run.id], in_text), default)
        for row in rows
    ]


async def foil_shapes(app: Application, foils: Sequence[Foil]) -> list[shapes.FoilShape]:
    """Return the shapes of counterfoils, with the names of their documents."""
    names = await NameReader(app).foils(foils)
    return [shapes.foil_shape(foil, names[foil.id], app.model.default_entity) for foil in foils]


async def item_shapes(app: Application, rows: Sequence[ItemRow], now: datetime) -> list[shapes.ItemShape]:
    """Return the shapes of unmatched items, with their names."""
    names = await NameReader(app).items([row.item for row in rows])
    default = app.model.default_entity
    return [shapes.item_shape(row, now, names[row.item.id], default) for row in rows]


async def _summary(store: Store, approval: Approval) -> str:
    """Return the decision on a match or the change that an approval covers; empty for an approval of a Run."""
    if is_of_plan(approval.run):
        plan = await store.plan(approval.run)
        report = None if plan is None else read_report(plan)
        return plan_summary(report) if isinstance(report, PlanReport) else ""
    if approval.run:
        return ""
    decision = decision_of(approval)
    foils = [await store.foil(id_) for id_ in foils_of(decision)]
    items = [await store.observation(id_) for id_ in observations_of(decision)]
    return describe(decision, foils, items)
