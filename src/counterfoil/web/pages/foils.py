"""The page of counterfoils, and the money behind the unfinished ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litestar import get
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.money import Money
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.queries import list_filter
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages.rendering import query_text, render_page

MAX_SUMMED_FOILS = 2000
"""Counterfoils that the overview sums per state; it marks a sum that stops there."""
_EXPOSED = ("provisional", "open", "partly", "broken", "over")


@get("/foils", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def foils_page(request: WebRequest) -> Response[Any]:
    search = query_text(request, "state", "key")
    page = list_filter(50, request.query_params.get("cursor"), **search)
    foils, after = await application(request).views.foils(page)
    return await render_page(
        request,
        "foils.html",
        rows=[shapes.foil_shape(foil) for foil in foils],
        next=after,
        search=search,
        states=shapes.FINANCE_WORDS,
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
                for money in _largest_leg(foil.legs.values()):
                    sums[money.currency] = sums.get(money.currency, 0) + abs(money.minor)
            if cursor is None:
                break
        by_state[state] = {
            "count": count,
            "more": cursor is not None,
            "sums": [shapes.amount(Money(minor, currency)) for currency, minor in sorted(sums.items())],
        }
    return by_state


def _largest_leg(legs: Iterable[Money]) -> list[Money]:
    """Return the largest leg per currency: legs state parts of the same money, so their sum would count it twice."""
    largest: dict[str, Money] = {}
    for money in legs:
        if money.currency not in largest or abs(money) > abs(largest[money.currency]):
            largest[money.currency] = money
    return list(largest.values())


ROUTES = [foils_page]
