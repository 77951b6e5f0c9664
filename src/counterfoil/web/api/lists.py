"""The operator API's reads: Runs, counterfoils, Cases, approvals, events and audit leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from counterfoil.application import Application
from counterfoil.store.port.as_of import AsOf
from counterfoil.store.port.views import ListFilter, SummedTable
from counterfoil.web.api import audit_shapes, shapes
from counterfoil.web.api.as_of import EffectiveText, KnownText, foils_as_of, question_of
from counterfoil.web.api.case_lists import AssigneeText, Snoozed, SnoozedText, with_work
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.event_shapes import EventShape, event_shape
from counterfoil.web.api.foil_detail import get_foil
from counterfoil.web.api.queries import (
    ApprovalSort,
    ApprovalStateText,
    CaseSort,
    CaseStateText,
    Cursor,
    FoilSort,
    FoilStateText,
    Limit,
    RunSort,
    RunStatusText,
    State,
    Text,
    event_filter,
    foil_shapes,
    list_filter,
    of_entity,
    run_shapes,
    sorted_by,
    with_votes,
)
from counterfoil.web.api.search import foil_filter, run_filter
from counterfoil.web.api.statements import ListStatement, statement_of
from counterfoil.web.api.trace import Trace, load_trace
from counterfoil.web.api.transaction_graph import TransactionGraph, load_graph
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires


class RunList(msgspec.Struct, frozen=True):
    """One page of Runs, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[shapes.RunShape]
    next: str | None
    statement: ListStatement | None = None
    """Of the first page alone."""


class FoilList(msgspec.Struct, frozen=True):
    """One page of counterfoils, newest first. `next` is the cursor of the next page, null at the end.

    `as_of` and `effective_by` are the two dates of the question; null for the present.
    """

    items: list[shapes.FoilShape]
    next: str | None
    as_of: str | None = None
    effective_by: str | None = None
    statement: ListStatement | None = None
    """Of the first page alone."""


class CaseList(msgspec.Struct, frozen=True):
    """One page of Cases, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[shapes.CaseShape]
    next: str | None
    statement: ListStatement | None = None
    """Of the first page alone."""


class ApprovalList(msgspec.Struct, frozen=True):
    """One page of approvals, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[shapes.ApprovalShape]
    next: str | None
    statement: ListStatement | None = None
    """Of the first page alone."""


class EventList(msgspec.Struct, frozen=True):
    """One page of canonical events, newest first. `next` is the cursor of the next page, null at the end."""

    items: list[EventShape]
    next: str | None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sealed leaves in tree order. `next` is the index to continue from, null at the end."""

    items: list[audit_shapes.LeafShape]
    next: int | None
    checkpoint: audit_shapes.CheckpointShape | None


@get("/v1/runs", opt=requires(Permission.RUNS_ANY_READ), tags=["runs"], summary="List Runs, newest first")
async def list_runs(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: RunStatusText = None,
    in_state: State = None,
    workflow: Text = None,
    key: Text = None,
    entity: Text = None,
    sort: RunSort = None,
) -> RunList:
    """`key` is a business key, a document number, a customer's name, or the id that any system gave to the object."""
    app = application(request)
    filters = {"status": status, "state": in_state, "workflow": workflow, "key": key}
    page = sorted_by(of_entity(app, list_filter(limit, cursor, **filters), entity), sort)
    page = await run_filter(app, page)
    rows, after = await app.views.runs(page)
    stated = await _first(request, app, "run", page, filters | {"entity": entity})
    return RunList(await run_shapes(app, rows), after, stated)


@get(
    "/v1/runs/{run_id:str}",
    opt=requires(Permission.RUNS_ANY_READ),
    tags=["runs"],
    summary="Get the trace of one Run",
)
async def get_run(request: WebRequest, run_id: FromPath[str]) -> Trace:
    trace = await load_trace(application(request), run_id)
    if trace is None:
        raise Problem(404, f"There is no Run {run_id[:100]}. `counterfoil runs` lists the Runs.")
    return trace


@get(
    "/v1/runs/{run_id:str}/graph",
    opt=requires(Permission.RUNS_ANY_READ),
    tags=["runs"],
    summary="Get the graph of one business transaction",
)
async def get_run_graph(request: WebRequest, run_id: FromPath[str]) -> TransactionGraph:
    """Documents, Runs and counterfoils of the transaction of a Run, with what caused what; at most 500 nodes."""
    graph = await load_graph(application(request), run_id)
    if graph is None:
        raise Problem(404, f"There is no Run {run_id[:100]}. `counterfoil runs` lists the Runs.")
    return graph


@get("/v1/foils", opt=requires(Permission.FOILS_ANY_READ), tags=["counterfoils"], summary="List counterfoils")
async def list_foils(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    in_state: FoilStateText = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    rule: Text = None,
    owner: Text = None,
    entity: Text = None,
    as_of: KnownText = None,
    effective: EffectiveText = None,
    sort: FoilSort = None,
) -> FoilList:
    """`key` may be a document number, a customer's name or an id in any system. `rule` is the reconciliation. With `as_of` or `effective_by`, `state` selects the states of then."""
    app = application(request)
    filters = {"state": in_state, "workflow": workflow, "key": key, "run": run, "rule": rule, "owner": owner}
    page = sorted_by(of_entity(app, list_filter(limit, cursor, **filters), entity), sort)
    at = question_of(as_of, effective, await app.now(), sort)
    if at is None:
        page = await foil_filter(app, page)
        rows, after = await app.views.foils(page)
        stated = await _first(request, app, "foil", page, filters | {"entity": entity})
        return FoilList(await foil_shapes(app, rows), after, statement=stated)
    rows, after = await foils_as_of(app.views, page, at)
    stated = await _first(
        request, app, "foil", page, filters | {"entity": entity, "effective_by": effective}, at
    )
    return FoilList(await foil_shapes(app, rows), after, **shapes.dates_of(at), statement=stated)


@get("/v1/cases", opt=requires(Permission.CASES_ANY_READ), tags=["cases"], summary="List Cases")
async def list_cases(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    in_state: CaseStateText = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    owner: Text = None,
    entity: Text = None,
    reason: Text = None,
    cause: Text = None,
    in_assignee: AssigneeText = None,
    tag: Text = None,
    in_snoozed: SnoozedText = Snoozed.NO,
    sort: CaseSort = None,
) -> CaseList:
    app = application(request)
    filters = {"state": in_state, "workflow": workflow, "key": key, "run": run, "owner": owner}
    filters |= {"reason": reason, "cause": cause, "tag": tag}
    page = with_work(list_filter(limit, cursor, **filters), in_assignee, in_snoozed, await app.now())
    page = sorted_by(of_entity(app, page, entity), sort)
    rows, after = await app.views.cases(page)
    work = {"entity": entity, "assignee": in_assignee, "snoozed": in_snoozed}
    stated = await _first(request, app, "case_", page, filters | work)
    return CaseList(await case_shapes(app, rows), after, stated)


@get(
    "/v1/cases/{case_id:str}", opt=requires(Permission.CASES_ANY_READ), tags=["cases"], summary="Get one Case"
)
async def get_case(request: WebRequest, case_id: FromPath[str]) -> shapes.CaseShape:
    app = application(request)
    case = await app.store.case(case_id)
    if case is None:
        raise Problem(404, f"There is no Case {case_id[:100]}.")
    return (await case_shapes(app, [case]))[0]


@get(
    "/v1/approvals", opt=requires(Permission.APPROVALS_ANY_READ), tags=["approvals"], summary="List approvals"
)
async def list_approvals(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    in_state: ApprovalStateText = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    entity: Text = None,
    sort: ApprovalSort = None,
) -> ApprovalList:
    app = application(request)
    filters = {"state": in_state, "workflow": workflow, "key": key, "run": run}
    page = sorted_by(of_entity(app, list_filter(limit, cursor, **filters), entity), sort)
    rows, after = await app.views.approvals(page)
    stated = await _first(request, app, "approval", page, filters | {"entity": entity})
    return ApprovalList(await with_votes(app, rows), after, stated)


@get(
    "/v1/approvals/{approval_id:str}",
    opt=requires(Permission.APPROVALS_ANY_READ),
    tags=["approvals"],
    summary="Get one approval",
)
async def get_approval(request: WebRequest, approval_id: FromPath[str]) -> shapes.ApprovalShape:
    app = application(request)
    approval = await app.store.approval(approval_id)
    if approval is None:
        raise Problem(404, f"There is no approval {approval_id[:100]}.")
    return (await with_votes(app, [approval]))[0]


@get("/v1/events", opt=requires(Permission.EVENTS_ANY_READ), tags=["events"], summary="List canonical events")
async def list_events(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    type_: Annotated[str | None, QueryParameter(name="type", max_length=500)] = None,
    system: Text = None,
    key: Text = None,
    entity: Text = None,
) -> EventList:
    app = application(request)
    page = of_entity(app, event_filter(limit, cursor, type=type_, system=system, key=key), entity)
    rows, after = await app.views.events(page)
    return EventList([event_shape(row, app.model.envelope) for row in rows], after)


@get(
    "/v1/audit",
    opt=requires(Permission.AUDIT_ANY_READ),
    tags=["audit"],
    summary="List sealed audit leaves, with the latest checkpoint",
)
async def list_audit(
    request: WebRequest, start: Annotated[int, QueryParameter(ge=0, le=2**62)] = 0, limit: Limit = 100
) -> AuditPage:
    store = application(request).store
    rows = await store.leaves(start, limit)
    checkpoint = await store.checkpoint()
    return AuditPage(
        items=[audit_shapes.leaf_shape(index, leaf) for index, leaf in rows],
        next=rows[-1][0] + 1 if len(rows) == limit else None,
        checkpoint=None if checkpoint is None else audit_shapes.checkpoint_shape(checkpoint),
    )


async def _first(
    request: WebRequest,
    app: Application,
    table: SummedTable,
    page: ListFilter,
    filters: Mapping[str, str | None],
    at: AsOf | None = None,
) -> ListStatement | None:
    """Return the statement of a first page; a reader of many pages needs it once."""
    return None if page.cursor is not None else await statement_of(request, app, table, page, filters, at)


ROUTES = [
    list_runs,
    get_run,
    get_run_graph,
    list_foils,
    get_foil,
    list_cases,
    get_case,
    list_approvals,
    get_approval,
    list_events,
    list_audit,
]
