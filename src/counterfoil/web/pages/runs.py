"""The list of Runs, and the page of one Run with its trace."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.web.api.queries import (
    Cursor,
    RunSort,
    RunStatusText,
    Text,
    list_filter,
    of_entity,
    run_shapes,
    sorted_by,
)
from counterfoil.web.api.search import run_filter
from counterfoil.web.api.statements import statement_of
from counterfoil.web.api.trace import load_trace
from counterfoil.web.api.transaction_graph import TransactionGraph, TransactionNode, load_graph
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.approvals import approval_rows
from counterfoil.web.pages.cases import case_row
from counterfoil.web.pages.rendering import render_page, search_texts
from counterfoil.web.pages.transaction_drawing import draw


@get("/runs", opt=requires(Permission.RUNS_ANY_READ), include_in_schema=False)
async def runs_page(
    request: WebRequest,
    cursor: Cursor = None,
    workflow: Text = None,
    status: RunStatusText = None,
    key: Text = None,
    entity: Text = None,
    sort: RunSort = None,
) -> Response[Any]:
    app = application(request)
    search = search_texts(workflow=workflow, status=status, key=key)
    page = sorted_by(of_entity(app, list_filter(50, cursor, **search), entity), sort)
    search |= search_texts(entity=entity)
    page = await run_filter(app, page)
    rows, after = await app.views.runs(page)
    return await render_page(
        request,
        "runs.html",
        rows=await run_shapes(app, rows),
        next=after,
        statement=await statement_of(request, app, "run", page, search),
        search=search,
        sort=sort or "-created",
        workflows=sorted(app.model.workflows),
        first=page.cursor is None,
    )


@get("/runs/{run_id:str}", opt=requires(Permission.RUNS_ANY_READ), include_in_schema=False)
async def run_page(request: WebRequest, run_id: FromPath[str]) -> Response[Any]:
    app, identity = application(request), caller(request)
    trace = await load_trace(app, run_id)
    if trace is None:
        raise Problem(404, f"There is no Run {run_id[:100]}.")
    return await render_page(
        request,
        "run.html",
        trace=trace,
        approvals=await approval_rows(app, identity, trace.approvals),
        cases=[case_row(identity, case) for case in trace.cases],
    )


@get("/runs/{run_id:str}/graph", opt=requires(Permission.RUNS_ANY_READ), include_in_schema=False)
async def transaction_page(request: WebRequest, run_id: FromPath[str]) -> Response[Any]:
    graph = await _graph(request, run_id)
    nodes = {node.id: node for node in graph.nodes}
    causes: dict[str, list[tuple[str, TransactionNode]]] = {id_: [] for id_ in nodes}
    for edge in graph.edges:
        causes[edge.target].append((edge.word, nodes[edge.source]))
    return await render_page(request, "transaction.html", graph=graph, drawn=draw(graph), causes=causes)


@get("/runs/{run_id:str}/graph.svg", opt=requires(Permission.RUNS_ANY_READ), include_in_schema=False)
async def transaction_svg(request: WebRequest, run_id: FromPath[str]) -> Response[str]:
    """Return the drawing as a file of its own, for a report or a ticket."""
    graph = await _graph(request, run_id)
    title = f"Transaction {graph.name}, {graph.customer}".removesuffix(", ")
    response = await render_page(request, "transaction.svg", drawn=draw(graph), title=title)
    headers = {"content-disposition": 'attachment; filename="transaction.svg"'}
    return Response(response.content, media_type="image/svg+xml", headers=headers)


async def _graph(request: WebRequest, run_id: str) -> TransactionGraph:
    graph = await load_graph(application(request), run_id)
    if graph is None:
        raise Problem(404, f"There is no Run {run_id[:100]}.")
    return graph


ROUTES = [runs_page, run_page, transaction_page, transaction_svg]
