"""Exports of lists as CSV and XLSX: the filters, the permission and the legal entities of the list, and every row that fits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from counterfoil.application import Application
from counterfoil.web.api import export_tables as tables
from counterfoil.web.api.as_of import EffectiveText, KnownText, question_of
from counterfoil.web.api.case_lists import AssigneeText, Snoozed, SnoozedText, with_work
from counterfoil.web.api.export_files import CSV_TYPE, XLSX_TYPE, Export, csv_response, xlsx_response
from counterfoil.web.api.queries import (
    ApprovalStateText,
    CaseStateText,
    FoilStateText,
    RunStatusText,
    State,
    Text,
    item_filter,
    list_filter,
    of_entity,
)
from counterfoil.web.api.statements import author_of, stated_query
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, masked_texts, requires


class FileFormat(StrEnum):
    """Format of an export."""

    CSV = "csv"
    XLSX = "xlsx"


FormatText = Annotated[
    str | None,
    QueryParameter(
        name="format", enum=[*FileFormat], description=f"`csv` ({CSV_TYPE}) or `xlsx` ({XLSX_TYPE})."
    ),
]
_AT_RISK = "At risk"
_AMOUNT = "Amount"


@get(
    "/v1/exports/runs",
    opt=requires(Permission.RUNS_ANY_READ),
    tags=["exports"],
    summary="Export Runs",
    media_type=CSV_TYPE,
)
async def export_runs(
    request: WebRequest,
    in_format: FormatText = FileFormat.CSV,
    status: RunStatusText = None,
    in_state: State = None,
    workflow: Text = None,
    key: Text = None,
    entity: Text = None,
) -> Stream:
    """Filters are those of `/v1/runs`."""
    app, filters = (
        application(request),
        {"status": status, "state": in_state, "workflow": workflow, "key": key},
    )
    page = of_entity(app, list_filter(tables.PAGE_ROWS, **filters), entity)
    export = await _export(request, app, "runs", tables.RUN_COLUMNS, _AT_RISK, filters | {"entity": entity})
    return await _file(request, export, tables.run_rows(app, page), in_format)


@get(
    "/v1/exports/foils",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["exports"],
    summary="Export counterfoils",
    media_type=CSV_TYPE,
)
async def export_foils(
    request: WebRequest,
    in_format: FormatText = FileFormat.CSV,
    in_state: FoilStateText = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    rule: Text = None,
    owner: Text = None,
    entity: Text = None,
    as_of: KnownText = None,
    effective: EffectiveText = None,
) -> Stream:
    """Filters are those of `/v1/foils`."""
    app = application(request)
    filters = {"state": in_state, "workflow": workflow, "key": key, "run": run, "rule": rule, "owner": owner}
    page = of_entity(app, list_filter(tables.PAGE_ROWS, **filters), entity)
    at = question_of(as_of, effective, await app.now())
    stated = filters | {"entity": entity, "effective_by": effective}
    export = await _export(
        request, app, "foils", tables.FOIL_COLUMNS, _AMOUNT, stated, None if at is None else at.known
    )
    return await _file(request, export, tables.foil_rows(app, page, at), in_format)


@get(
    "/v1/exports/unmatched",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["exports"],
    summary="Export unmatched items",
    media_type=CSV_TYPE,
)
async def export_unmatched(
    request: WebRequest,
    in_format: FormatText = FileFormat.CSV,
    system: Text = None,
    rule: Text = None,
    key: Text = None,
    owner: Text = None,
    entity: Text = None,
    as_of: KnownText = None,
    effective: EffectiveText = None,
) -> Stream:
    """Filters are those of `/v1/unmatched`."""
    app, filters = application(request), {"system": system, "rule": rule, "key": key, "owner": owner}
    page = of_entity(app, item_filter(tables.PAGE_ROWS, **filters), entity)
    at = question_of(as_of, effective, await app.now())
    stated = filters | {"entity": entity, "effective_by": effective}
    export = await _export(
        request, app, "unmatched", tables.ITEM_COLUMNS, _AMOUNT, stated, None if at is None else at.known
    )
    return await _file(request, export, tables.item_rows(app, page, at), in_format)


@get(
    "/v1/exports/cases",
    opt=requires(Permission.CASES_ANY_READ),
    tags=["exports"],
    summary="Export Cases",
    media_type=CSV_TYPE,
)
async def export_cases(
    request: WebRequest,
    in_format: FormatText = FileFormat.CSV,
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
) -> Stream:
    """Filters are those of `/v1/cases`."""
    app = application(request)
    filters = {"state": in_state, "workflow": workflow, "key": key, "run": run, "owner": owner}
    filters |= {"reason": reason, "cause": cause, "tag": tag}
    page = with_work(list_filter(tables.PAGE_ROWS, **filters), in_assignee, in_snoozed, await app.now())
    stated = filters | {"entity": entity, "assignee": in_assignee, "snoozed": in_snoozed}
    export = await _export(request, app, "cases", tables.CASE_COLUMNS, _AT_RISK, stated)
    return await _file(request, export, tables.case_rows(app, of_entity(app, page, entity)), in_format)


@get(
    "/v1/exports/approvals",
    opt=requires(Permission.APPROVALS_ANY_READ),
    tags=["exports"],
    summary="Export approvals",
    media_type=CSV_TYPE,
)
async def export_approvals(
    request: WebRequest,
    in_format: FormatText = FileFormat.CSV,
    in_state: ApprovalStateText = None,
    workflow: Text = None,
    key: Text = None,
    run: Text = None,
    entity: Text = None,
) -> Stream:
    """Filters are those of `/v1/approvals`."""
    app, filters = application(request), {"state": in_state, "workflow": workflow, "key": key, "run": run}
    page = of_entity(app, list_filter(tables.PAGE_ROWS, **filters), entity)
    stated = filters | {"entity": entity}
    export = await _export(request, app, "approvals", tables.APPROVAL_COLUMNS, _AMOUNT, stated)
    return await _file(request, export, tables.approval_rows_of(app, page), in_format)


@get(
    "/v1/exports/audit",
    opt=requires(Permission.AUDIT_ANY_READ),
    tags=["exports"],
    summary="Export sealed audit leaves",
    media_type=CSV_TYPE,
)
async def export_audit(
    request: WebRequest,
    in_format: FormatText = FileFormat.CSV,
    start: Annotated[int, QueryParameter(ge=0, le=2**62)] = 0,
) -> Stream:
    """`start` is the tree index of the first leaf."""
    app = application(request)
    export = await _export(request, app, "audit", tables.AUDIT_COLUMNS, "", {"start": str(start or "")})
    return await _file(request, export, tables.leaf_rows(app, start), in_format)


_TITLES = {
    "runs": "Runs",
    "foils": "Counterfoils",
    "unmatched": "Unmatched items",
    "cases": "Cases",
    "approvals": "Approvals",
    "audit": "Audit",
}


async def _export(
    request: WebRequest,
    app: Application,
    name: str,
    columns: tuple[str, ...],
    money: str,
    filters: Mapping[str, str | None],
    as_of: datetime | None = None,
) -> Export:
    """Return what an export states: the filters that are set, the time, the Release and the person."""
    return Export(
        name=name,
        title=_TITLES[name],
        columns=columns,
        money=money,
        query=stated_query(app, filters),
        as_of=as_of or await app.now(),
        release=app.model.digest,
        author=author_of(request),
    )


async def _file(request: WebRequest, export: Export, rows: tables.Rows, in_format: str | None) -> Stream:
    rows = _without_personal_texts(request, rows)
    if in_format == FileFormat.XLSX:
        return await xlsx_response(export, rows)
    return await csv_response(export, rows)


async def _without_personal_texts(request: WebRequest, rows: tables.Rows) -> tables.Rows:
    """Yield pages of rows without the personal texts that were masked while they were read."""
    texts = masked_texts(request)
    async for page in rows:
        yield [row._replace(cells=texts.replace_all(row.cells)) for row in page]


ROUTES = [export_runs, export_foils, export_unmatched, export_cases, export_approvals, export_audit]
