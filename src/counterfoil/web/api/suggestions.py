"""Suggestions for an unmatched item: the counterfoils that it may answer, each with its score and reasons."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import get
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.homes import own_key
from counterfoil.core.remembered import PairedKey, paired_keys
from counterfoil.core.suggestions import suggestions
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.queries import foil_shapes
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires

MAX_SEARCHED_FOILS = 200
"""Newest counterfoils of each state of a reconciliation among which suggestions are searched."""
_PAIRABLE = ("open", "partly", "broken", "provisional")


class SuggestionShape(msgspec.Struct, frozen=True):
    foil: shapes.FoilShape
    score: int
    """0 to 100: the points of the reasons."""
    reasons: list[str]


class SuggestionList(msgspec.Struct, frozen=True):
    """The likeliest first. A suggestion matches nothing: a person pairs."""

    suggestions: list[SuggestionShape]


@get(
    "/v1/unmatched/{item_id:str}/suggestions",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="Counterfoils that an item may answer",
)
async def list_suggestions(request: WebRequest, item_id: FromPath[str]) -> SuggestionList:
    """Amounts, numbers, names and dates of both documents, and former pairs of their keys; `reasons` says which count."""
    app = application(request)
    item = await app.store.observation(item_id)
    if item is None:
        raise Problem(404, f"There is no item {item_id[:100]}.", kind="not-found")
    foils = {foil.id: foil for foil in await open_foils(app, item.rule)}
    is_free = item.state in ("unmatched", "over")
    ranked = suggestions(item, foils.values(), await pairs_before(app, [item])) if is_free else []
    rows = await foil_shapes(app, [foils[s.foil] for s in ranked])
    return SuggestionList(
        [SuggestionShape(row, s.score, list(s.reasons)) for row, s in zip(rows, ranked, strict=True)]
    )


async def open_foils(app: Application, rule: str) -> list[Foil]:
    """Return counterfoils of a reconciliation that an item could answer."""
    foils: list[Foil] = []
    for state in _PAIRABLE:
        rows, _ = await app.views.foils(ListFilter(rule=rule, state=state, limit=MAX_SEARCHED_FOILS))
        foils += rows
    return [foil for foil in foils if any(foil.residual.values())]


async def pairs_before(app: Application, items: Sequence[Observation]) -> list[PairedKey]:
    """Return the keys that persons paired with those of items of one reconciliation."""
    keys = sorted({own_key(item) for item in items})
    return paired_keys(await app.views.person_pairs(items[0].rule, keys)) if items else []


ROUTES = [list_suggestions]
