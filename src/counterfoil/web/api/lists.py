"""The operator API's lists: Runs, counterfoils, Cases, approvals, events, audit; and one Run's trace."""

from __future__ import annotations

import re
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar import Request, get
from litestar.params import FromPath, QueryParameter

from counterfoil.store.port.views import EventFilter, ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.queries import approval_by_id, case_by_id, runs_of
from counterfoil.web.api.trace import Trace, trace
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem

T = TypeVar("T")
Asked = Request[Any, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Rows on one page.")]
Text = Annotated[str | None, QueryParameter(max_length=500)]
State = Annotated[str | None, QueryParameter(name="state", max_length=100)]
Cursor = Annotated[
    str | None, QueryParameter(max_length=200, description="`next` of the page before; empty for the first.")
]
_CURSOR = re.compile(r"\d{1,20}\.[\w:.\-]{1,180}", re.ASCII)


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page, newest first. `next` is the cursor of the page after, null at the end."""

    items: list[T]
    next: str | None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sealed leaves in tree order; `next` is the index to start from, null at the end."""

    items: list[shapes.LeafShape]
    next: int | None
    checkpoint: shapes.CheckpointShape | None


def page_of(limit: int = 50, cursor: str | None = None, **filters: str | None) -> ListFilter:
    """Filters for a view; an empty word is no filter. Raises Problem for what is no cursor."""
    if cursor and not _CURSOR.fullmatch(cursor):
        raise Problem(400, "The cursor is not one that a page gave: take `next` as it is.", kind="cursor")
    kept = {name: value or None for name, value in filters.items()}
    return ListFilter(limit=limit, cursor=cursor or None, **kept)


@get("/v1/runs", opt=requires(Permission.RUNS_ANY_READ), tags=["runs"], summary="Runs, newest first")
async def list_runs(
    request: Asked,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Text = None,
    in_state: State = None,
    workflow: Text = None,
    key: Text = None,
) -> Listing[shapes.RunShape]:
    page = page_of(limit, cursor, status=status, state=in_state, workflow=workflow, key=key)
    rows, after = await runs_of(application(request), page)
    return Listing([shapes.run_shape(row) for row in rows], after)


@get(
    "/v1/runs/{run_id:str}", opt=requires(Permission.RUNS_ANY_READ), tags=["runs"], summary="One Run's trace"
)
async def get_run(request: Asked, run_id: FromPath[str]) -> Trace:
    found = await trace(application(request), run_id)
    if found is None:
        raise Problem(404, f"There is no Run {run_id[:100]}; `counterfoil runs` lists those there are.")
    return found


@get("/v1/foils", opt=requires(Permission.FOILS_ANY_READ), tags=["counterfoils"], summary="Counterfoils")
async def list_foils(
    request: Asked,
    limit: Limit = 50,
    cursor: Cursor = None,
    in_state: State = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    owner: Text = None,
) -> Listing[shapes.FoilShape]:
    page = page_of(limit, cursor, state=in_state, workflow=workflow, key=key, run=run, owner=owner)
    rows, after = await application(request).views.foils(page)
    return Listing([shapes.foil_shape(row) for row in rows], after)


@get("/v1/cases", opt=requires(Permission.CASES_ANY_READ), tags=["cases"], summary="Cases")
async def list_cases(
    request: Asked,
    limit: Limit = 50,
    cursor: Cursor = None,
    in_state: State = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    owner: Text = None,
) -> Listing[shapes.CaseShape]:
    page = page_of(limit, cursor, state=in_state, workflow=workflow, key=key, run=run, owner=owner)
    rows, after = await application(request).views.cases(page)
    return Listing([shapes.case_shape(row) for row in rows], after)


@get("/v1/cases/{case_id:str}", opt=requires(Permission.CASES_ANY_READ), tags=["cases"], summary="One Case")
async def get_case(request: Asked, case_id: FromPath[str]) -> shapes.CaseShape:
    found = await case_by_id(application(request), case_id)
    if found is None:
        raise Problem(404, f"There is no Case {case_id[:100]}.")
    return shapes.case_shape(found)


@get("/v1/approvals", opt=requires(Permission.APPROVALS_ANY_READ), tags=["approvals"], summary="Approvals")
async def list_approvals(
    request: Asked,
    limit: Limit = 50,
    cursor: Cursor = None,
    in_state: State = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
) -> Listing[shapes.ApprovalShape]:
    page = page_of(limit, cursor, state=in_state, workflow=workflow, key=key, run=run)
    app = application(request)
    rows, after = await app.views.approvals(page)
    votes = await app.store.votes([row.id for row in rows])
    return Listing([shapes.approval_shape(row, votes[row.id]) for row in rows], after)


@get(
    "/v1/approvals/{approval_id:str}",
    opt=requires(Permission.APPROVALS_ANY_READ),
    tags=["approvals"],
    summary="One approval",
)
async def get_approval(request: Asked, approval_id: FromPath[str]) -> shapes.ApprovalShape:
    app = application(request)
    found = await approval_by_id(app, approval_id)
    if found is None:
        raise Problem(404, f"There is no approval {approval_id[:100]}.")
    return shapes.approval_shape(found, (await app.store.votes([found.id]))[found.id])


@get("/v1/events", opt=requires(Permission.EVENTS_ANY_READ), tags=["events"], summary="Canonical events")
async def list_events(
    request: Asked,
    limit: Limit = 50,
    cursor: Cursor = None,
    type_: Annotated[str | None, QueryParameter(name="type", max_length=500)] = None,
    system: Text = None,
    key: Text = None,
) -> Listing[shapes.EventShape]:
    page = page_of(limit, cursor)
    rows, after = await application(request).views.events(
        EventFilter(
            limit=limit, cursor=page.cursor, type=type_ or None, system=system or None, key=key or None
        )
    )
    return Listing([shapes.event_shape(row) for row in rows], after)


@get(
    "/v1/audit",
    opt=requires(Permission.AUDIT_ANY_READ),
    tags=["audit"],
    summary="Sealed leaves and checkpoint",
)
async def list_audit(
    request: Asked, start: Annotated[int, QueryParameter(ge=0, le=2**62)] = 0, limit: Limit = 100
) -> AuditPage:
    store = application(request).store
    rows = await store.leaves(start, limit)
    held = await store.checkpoint()
    return AuditPage(
        items=[shapes.leaf_shape(index, leaf) for index, leaf in rows],
        next=rows[-1][0] + 1 if len(rows) == limit else None,
        checkpoint=None if held is None else shapes.checkpoint_shape(held),
    )


ROUTES = [
    list_runs,
    get_run,
    list_foils,
    list_cases,
    get_case,
    list_approvals,
    get_approval,
    list_events,
    list_audit,
]
