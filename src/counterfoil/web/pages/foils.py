"""The page of counterfoils, the page of one with both sides, and the money behind the unfinished ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.cases import totals
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.foil_detail import foil_or_404, load_foil
from counterfoil.web.api.match_words import explain
from counterfoil.web.api.queries import (
    Cursor,
    FoilSort,
    FoilStateText,
    Text,
    foil_shapes,
    list_filter,
    of_entity,
    run_shapes,
    sorted_by,
)
from counterfoil.web.api.search import foil_filter
from counterfoil.web.api.state_words import FINANCE_WORDS
from counterfoil.web.api.statements import statement_of
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.approvals import approval_rows
from counterfoil.web.pages.forms import FormEntry
from counterfoil.web.pages.rendering import render_page, search_texts

MAX_SUMMED_FOILS = 2000
"""Counterfoils that the overview sums per state; it marks a sum that stops there."""
MAX_SUMMED_ITEMS = 2000
"""Unmatched items that the overview sums; it marks a sum that stops there."""
_WAIVABLE = ("open", "partly", "broken", "over")
_NOT_DUE = ("open", "partly")
"""States in which the rest is still expected until the counterfoil is due."""
_EXPOSED = ("provisional", "open", "partly", "broken", "over")


class UnmatchedSums(msgspec.Struct, frozen=True):
    """Unmatched items for the overview."""

    count: int
    more: bool
    """There are more than are counted."""
    sums: list[shapes.Amount]
    since: datetime | None
    """When the oldest one was first shown."""


@get("/foils", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def foils_page(
    request: WebRequest,
    cursor: Cursor = None,
    in_state: FoilStateText = None,
    key: Text = None,
    rule: Text = None,
    entity: Text = None,
    sort: FoilSort = None,
) -> Response[Any]:
    app = application(request)
    search = search_texts(state=in_state, key=key, rule=rule)
    page = sorted_by(of_entity(app, list_filter(50, cursor, **search), entity), sort)
    search |= search_texts(entity=entity)
    page = await foil_filter(app, page)
    foils, after = await app.views.foils(page)
    matches = await app.views.matches_of(sorted({(foil.rule, foil.key) for foil in foils}))
    items = {(match.rule, match.key): match.observations for match in matches}
    return await render_page(
        request,
        "foils.html",
        rows=await foil_shapes(app, foils),
        reasons={foil.id: explain(foil, items.get((foil.rule, foil.key), ())) for foil in foils},
        next=after,
        statement=await statement_of(request, app, "foil", page, search),
        search=search,
        sort=sort or "-created",
        states=FINANCE_WORDS,
        rules=sorted(app.model.reconciliations),
        first=page.cursor is None,
    )


async def exposures(app: Application) -> dict[str, dict[str, Any]]:
    """Return the number of counterfoils and the sum of their money for each unfinished or broken state."""
    by_state: dict[str, dict[str, Any]] = {}
    for state in _EXPOSED:
        sums: dict[str, int] = {}
        count, cursor = 0, None
        while count < MAX_SUMMED_FOILS:
            foils, cursor = await app.views.foils(ListFilter(state=state, limit=200, cursor=cursor))
            count += len(foils)
            for foil in foils:
                for money in (*foil.difference, *foil.excess_money):
                    sums[money.currency] = sums.get(money.currency, 0) + abs(money.minor)
            if cursor is None:
                break
        by_state[state] = {
            "count": count,
            "more": cursor is not None,
            "sums": [shapes.amount(Money(minor, currency)) for currency, minor in sorted(sums.items())],
        }
    return by_state


async def unmatched_sums(app: Application) -> UnmatchedSums:
    """Return the number, money and age of unmatched items. Reads the oldest ones, at most `MAX_SUMMED_ITEMS`."""
    items = await app.views.oldest_unmatched(MAX_SUMMED_ITEMS + 1)
    return UnmatchedSums(
        count=min(len(items), MAX_SUMMED_ITEMS),
        more=len(items) > MAX_SUMMED_ITEMS,
        sums=money_sums(items[:MAX_SUMMED_ITEMS]),
        since=items[0].since if items else None,
    )


def money_sums(items: Iterable[Observation]) -> list[shapes.Amount]:
    """Return the sum of the totals of items for each currency. Amounts of both signs do not cancel."""
    return shapes.amounts(totals(money for item in items for money in item.money))


@get("/foils/{foil_id:str}", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def foil_page(request: WebRequest, foil_id: FromPath[str]) -> Response[Any]:
    return await show_foil(request, foil_id, FormEntry(foil_id, {}))


async def show_foil(request: WebRequest, foil_id: str, entry: FormEntry) -> Response[Any]:
    """Show both sides of a match: documents with their versions, pairs and waivers of persons, and the reason.

    `entry` is a form of the page that was refused or taken back.
    """
    app, identity = application(request), caller(request)
    foil = await foil_or_404(app, foil_id)
    detail = await load_foil(app, foil)
    runs, _ = await app.views.runs(ListFilter(limit=1, ids=(foil.run,))) if foil.run else ([], None)
    return await render_page(
        request,
        "foil.html",
        entry.status,
        entry=entry,
        foil=detail,
        workflow=runs[0].run.workflow if runs else "",
        waits_for=next((run.waits_for for run in await run_shapes(app, runs)), ""),
        title=f"{foil.object.replace('_', ' ')} {detail.name or foil.number}".strip(),
        may_waive=_may_waive(foil, detail.approvals, await app.now()),
        approvals=await approval_rows(app, identity, detail.approvals),
        names={person.id: person.name for person in await app.store.persons()},
    )


def _may_waive(foil: Foil, approvals: Sequence[shapes.ApprovalShape], now: datetime) -> bool:
    """Report whether the page offers to accept a difference: one that is due and not requested yet."""
    is_due = foil.due <= now or str(foil.state) not in _NOT_DUE
    is_requested = any(approval.path == "waive" for approval in approvals)
    return str(foil.state) in _WAIVABLE and any(foil.residual.values()) and is_due and not is_requested


ROUTES = [foils_page, foil_page]
