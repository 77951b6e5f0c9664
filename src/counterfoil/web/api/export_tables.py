"""Lists as tables for spreadsheets: the columns of each, and its rows page by page, with the money that is summed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, TypeVar

from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.terms import rules_for, total_money
from counterfoil.sheets.cells import Cell
from counterfoil.store.port.as_of import AsOf
from counterfoil.store.port.views import ItemFilter, ListFilter
from counterfoil.web.api import audit_shapes, shapes
from counterfoil.web.api.as_of import foils_as_of, items_as_of
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.match_words import leg_words
from counterfoil.web.api.queries import foil_shapes, item_shapes, run_shapes, with_votes
from counterfoil.web.api.search import search_foils, search_runs

PAGE_ROWS = 200
"""Rows that are read at once."""
P = TypeVar("P", ListFilter, ItemFilter)
R = TypeVar("R")

RUN_COLUMNS = (
    "Document", "Customer", "Workflow", "State", "Status", "Direction", "Waits for", "At risk", "Currency",
    "At risk in 2nd currency", "2nd currency", "At risk in others", "Open Cases", "Legal entity", "Started (UTC)", "Key", "Id",
)  # fmt: skip
FOIL_COLUMNS = (
    "Document", "Customer", "Amount", "Confirmed", "Still missing", "Currency", "Other amounts", "State", "State in finance",
    "Reason", "Reconciliation", "Asserted by", "Owed by", "Owner", "Legal entity", "Document date", "Due (UTC)",
    "Created (UTC)", "Key", "Id",
)  # fmt: skip
ITEM_COLUMNS = (
    "Document", "Customer", "Amount", "Currency", "Other amounts", "State", "Reconciliation", "System", "Owner",
    "Legal entity", "Document date", "First known (UTC)", "Case", "Key", "Id",
)  # fmt: skip
CASE_COLUMNS = (
    "Document", "Customer", "What happened", "Next", "Reason", "At risk", "Currency", "At risk in 2nd currency",
    "2nd currency", "At risk in others", "Times", "State", "Owner", "Works on it", "Tags", "Legal entity", "Deadline (UTC)",
    "Snoozed until (UTC)", "Opened (UTC)", "Resolved (UTC)", "Resolved by", "Choice", "Note", "Workflow", "Cause", "Key", "Id",
)  # fmt: skip
APPROVAL_COLUMNS = (
    "About", "Amount", "Currency", "Decision", "Policy", "State", "Roles", "Votes needed", "Why they decide", "Requester",
    "Votes", "Legal entity", "Requested (UTC)", "Expires (UTC)", "Run", "Id",
)  # fmt: skip
AUDIT_COLUMNS = (
    "Index", "Time (UTC)", "Kind", "Actor", "Subject", "Run", "Version", "Hash", "Body", "Id",
)  # fmt: skip


class TableRow(NamedTuple):
    """Cells of a row, and the money that the total counts."""

    cells: tuple[Cell, ...]
    money: tuple[Money, ...] = ()


Rows: TypeAlias = AsyncIterator[list[TableRow]]


async def run_rows(app: Application, page: ListFilter) -> Rows:
    async for rows in _pages(lambda part: search_runs(app, part), page):
        yield [
            TableRow(_run(shape), row.exposure)
            for row, shape in zip(rows, await run_shapes(app, rows), strict=True)
        ]


async def foil_rows(app: Application, page: ListFilter, at: AsOf | None) -> Rows:
    read = (
        (lambda part: search_foils(app, part))
        if at is None
        else lambda part: foils_as_of(app.views, part, at)
    )
    async for foils in _pages(read, page):
        yield [
            TableRow(_foil(foil, shape), total_money(foil.terms, foil.legs) if foil.stands else ())
            for foil, shape in zip(foils, await foil_shapes(app, foils), strict=True)
        ]


async def item_rows(app: Application, page: ItemFilter, at: AsOf | None) -> Rows:
    now = await app.now() if at is None else at.known
    read = app.views.unmatched if at is None else lambda part: items_as_of(app.views, part, at)
    async for rows in _pages(read, page):
        yield [
            TableRow(_item(row.item, shape), row.item.money)
            for row, shape in zip(rows, await item_shapes(app, rows, now), strict=True)
        ]


async def case_rows(app: Application, page: ListFilter) -> Rows:
    async for rows in _pages(app.views.cases, page):
        yield [
            TableRow(_case(shape), row.case.exposure)
            for row, shape in zip(rows, await case_shapes(app, rows), strict=True)
        ]


async def approval_rows_of(app: Application, page: ListFilter) -> Rows:
    async for rows in _pages(app.views.approvals, page):
        yield [
            TableRow(_approval(shape), () if row.amount is None else (row.amount,))
            for row, shape in zip(rows, await with_votes(app, rows), strict=True)
        ]


async def leaf_rows(app: Application, start: int) -> Rows:
    while True:
        rows = await app.store.leaves(start, PAGE_ROWS)
        yield [TableRow(_leaf(audit_shapes.leaf_shape(index, leaf))) for index, leaf in rows]
        if len(rows) < PAGE_ROWS:
            return
        start = rows[-1][0] + 1


async def _pages(
    read: Callable[[P], Awaitable[tuple[Sequence[R], str | None]]], page: P
) -> AsyncIterator[Sequence[R]]:
    """Yield the pages of a list, at least one. No page is in memory when the next one is read."""
    cursor = page.cursor
    while True:
        rows, cursor = await read(replace(page, limit=PAGE_ROWS, cursor=cursor))
        yield rows
        if cursor is None:
            return


def _run(run: shapes.RunShape) -> tuple[Cell, ...]:
    return (
        run.name or run.key, run.customer, run.workflow, run.state, run.status, run.direction, run.waits_for,
        *_amounts(run.exposure), run.cases, run.legal_entity, run.created_at, run.key, run.id,
    )  # fmt: skip


def _foil(foil: Foil, shape: shapes.FoilShape) -> tuple[Cell, ...]:
    leg = _total_leg(foil)
    amount, currency = _amount(shape.asserted.get(leg))
    observed, missing = _amount(shape.observed.get(leg)), _amount(shape.residual.get(leg))
    return (
        shape.name or shape.document, shape.customer, amount, observed[0], missing[0], currency or observed[1] or missing[1],
        _others(shape.asserted, leg), shape.state, shape.finance, shape.reason, shape.rule, shape.left, shape.right, shape.owner,
        shape.legal_entity, shape.effective, shape.due, shape.created_at, shape.key, shape.id,
    )  # fmt: skip


def _item(item: Observation, shape: shapes.ItemShape) -> tuple[Cell, ...]:
    leg = _total_leg(item)
    return (
        shape.name or shape.document, shape.customer, *_amount(shape.amounts.get(leg)), _others(shape.amounts, leg), shape.state,
        shape.reconciliation, shape.system, shape.owner, shape.legal_entity, shape.effective, item.since, shape.case, shape.key,
        shape.id,
    )  # fmt: skip


def _case(case: shapes.CaseShape) -> tuple[Cell, ...]:
    return (
        case.name or case.key, case.customer, case.summary, case.next_action, case.reason, *_amounts(case.exposure), case.count,
        case.state, case.owner, case.assignee_name, ", ".join(case.tags), case.legal_entity, case.deadline, case.snoozed_until,
        case.created_at, case.resolved_at, case.resolved_by, case.choice, case.note, case.workflow, case.cause, case.key, case.id,
    )  # fmt: skip


def _approval(approval: shapes.ApprovalShape) -> tuple[Cell, ...]:
    votes = (f"{vote.person} {'approved' if vote.approve else 'rejected'}" for vote in approval.votes)
    return (
        ", ".join(approval.about.values()), *_amount(approval.amount), approval.summary, approval.policy, approval.state,
        " or ".join(approval.roles), approval.quorum, approval.tier, approval.requester, ", ".join(votes), approval.legal_entity,
        approval.created_at, approval.expires, approval.run, approval.id,
    )  # fmt: skip


def _leaf(leaf: audit_shapes.LeafShape) -> tuple[Cell, ...]:
    return (
        leaf.index, leaf.at, leaf.kind, leaf.actor, leaf.subject, leaf.run, leaf.version, leaf.hash, leaf.body, leaf.id,
    )  # fmt: skip


def _total_leg(document: Foil | Observation) -> str:
    """Return the leg with the total of a document; without one, its only leg of money."""
    total = rules_for(document.terms, (document.legs,)).total
    money = [name for name, value in document.legs.items() if isinstance(value, Money)]
    return total or (money[0] if len(money) == 1 else "")


def _amount(value: Any) -> tuple[Decimal | None, str]:
    """Return number and currency of an amount; None for what is no money."""
    return (Decimal(value.amount), value.currency) if isinstance(value, shapes.Amount) else (None, "")


def _amounts(amounts: Sequence[shapes.Amount]) -> tuple[Cell, ...]:
    """Return five cells: number and currency of the first two amounts, and the text of any others."""
    first, second = (_amount(amounts[place] if place < len(amounts) else None) for place in (0, 1))
    return (*first, *second, _text(amounts[2:]))


def _others(legs: dict[str, shapes.Amount | str], total: str) -> str:
    """Return the legs of a document other than its total, as text."""
    others = {leg: value for leg, value in legs.items() if leg != total}
    return ", ".join(
        f"{leg_words(leg)} {_text([value]) if isinstance(value, shapes.Amount) else value}"
        for leg, value in others.items()
    )


def _text(amounts: Iterable[shapes.Amount]) -> str:
    return ", ".join(f"{amount.amount} {amount.currency}" for amount in amounts)
