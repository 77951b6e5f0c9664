"""Cases grouped by cause, and the filters that lists of Cases share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter
from msgspec.structs import replace

from counterfoil.core.case import CaseState
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.cases import totals
from counterfoil.store.port.views import CauseRow, ListFilter
from counterfoil.web.api.queries import CaseStateText, Text, list_filter, of_entity
from counterfoil.web.api.shapes import Amount, amounts
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, requires

NO_ONE = "none"
"""Value of the filter `assignee` for Cases that no person has."""


class Snoozed(StrEnum):
    """Value of the filter `snoozed`."""

    NO = "no"
    YES = "yes"
    ALL = "all"


SnoozedText = Annotated[
    str | None,
    QueryParameter(
        name="snoozed", enum=[*Snoozed], description="`no`, the default, leaves out Cases that are set aside."
    ),
]
AssigneeText = Annotated[
    str | None,
    QueryParameter(
        name="assignee",
        max_length=200,
        description=f"Id of a person, or `{NO_ONE}` for Cases that no one has.",
    ),
]


class CauseShape(msgspec.Struct, frozen=True, kw_only=True):
    """Cases of one cause."""

    cause: str
    """Filter of `/v1/cases` for them."""
    reason: str
    title: str
    """What happened, in plain words."""
    about: str
    """The operation, rule or system that the cause depends on, and the error code; empty if there is none."""
    number: int
    exposure: list[Amount]
    """Sum of each currency."""
    oldest: datetime
    age_s: int
    """Seconds since the oldest of them opened."""
    owners: list[str]
    unassigned: int
    """Cases of it that no person has."""


class CauseList(msgspec.Struct, frozen=True):
    """Causes of Cases, the one with the most Cases first. `exposure` is the sum of all of them, per currency."""

    items: list[CauseShape]
    number: int
    exposure: list[Amount]


@get(
    "/v1/cases/causes",
    opt=requires(Permission.CASES_ANY_READ),
    tags=["cases"],
    summary="List Cases grouped by cause",
)
async def list_causes(
    request: WebRequest,
    in_state: CaseStateText = CaseState.OPEN,
    owner: Text = None,
    entity: Text = None,
    reason: Text = None,
    cause: Text = None,
    in_assignee: AssigneeText = None,
    tag: Text = None,
    in_snoozed: SnoozedText = Snoozed.NO,
) -> CauseList:
    app = application(request)
    now = await app.now()
    page = list_filter(state=in_state, owner=owner, reason=reason, cause=cause, tag=tag)
    page = of_entity(app, with_work(page, in_assignee, in_snoozed, now), entity)
    return cause_list(await app.views.causes(page), now)


def with_work(page: ListFilter, assignee: str | None, snoozed: str | None, now: datetime) -> ListFilter:
    """Return a filter of Cases with those of `assignee` and `snoozed`."""
    if assignee:
        page = replace(page, assignee="" if assignee == NO_ONE else assignee)
    if snoozed == Snoozed.YES:
        return replace(page, snoozed_at=now)
    return page if snoozed == Snoozed.ALL else replace(page, awake_at=now)


def cause_list(rows: Sequence[CauseRow], now: datetime) -> CauseList:
    """Return the shape of groups of Cases, with one total for each currency."""
    return CauseList(
        items=[cause_shape(row, now) for row in rows],
        number=sum(row.number for row in rows),
        exposure=amounts(totals(money for row in rows for money in row.exposure)),
    )


def cause_shape(row: CauseRow, now: datetime) -> CauseShape:
    return CauseShape(
        cause=row.cause,
        reason=row.reason,
        title=reason_row(row.reason).title,
        about=cause_about(row.cause),
        number=row.number,
        exposure=amounts(row.exposure),
        oldest=row.oldest,
        age_s=max(0, int((now - row.oldest).total_seconds())),
        owners=list(row.owners),
        unassigned=row.unassigned,
    )


def cause_about(cause: str) -> str:
    """Return what a cause depends on in words: `erp.credit_memo.post: unknown account`."""
    place, _, code = cause.partition("/")[2].partition("/")
    return ": ".join(part for part in (place, code.replace("_", " ")) if part)


ROUTES = [list_causes]
