"""Cases grouped by cause, and what persons wrote on them."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from typing import Any

from counterfoil.core.case_edits import CaseComment
from counterfoil.core.cases import totals
from counterfoil.core.clock import from_micros
from counterfoil.core.money import INT64_MAX, Money
from counterfoil.store.port import views
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, records
from counterfoil.store.sql.views import CASE_FILTERS, filtered, where_clause


async def causes(page: views.ListFilter) -> list[views.CauseRow]:
    """Return the Cases that fit, grouped by cause. Equal amounts are counted by the database, and summed here."""
    clauses, args = filtered(page, CASE_FILTERS)
    statement = f"""
    select cause, reason, owner, assignee = '', exposure, count(*), min(created_at) from case_ {where_clause(clauses)}
    group by cause, reason, owner, assignee = '', exposure
    """
    load = t.CASE.columns["exposure"].load
    groups: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for cause, reason, *rest in await Statement(statement, tuple(args)):
        groups.setdefault((cause, reason), []).append(tuple(rest))
    rows = [
        views.CauseRow(
            cause=cause,
            reason=reason,
            number=sum(count for *_, count, _ in of),
            exposure=totals(
                Money(min(abs(money.minor) * count, INT64_MAX), money.currency)
                for _, _, exposure, count, _ in of
                for money in load(exposure)
            ),
            oldest=from_micros(min(first for *_, first in of)),
            owners=tuple(sorted({owner for owner, *_ in of})),
            unassigned=sum(count for _, is_free, _, count, _ in of if is_free),
        )
        for (cause, reason), of in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.number, row.oldest, row.cause, row.reason))


async def case_comments(case: str) -> list[CaseComment]:
    return await records(t.CASE_COMMENT, "where about = $1 order by at, id", case)
