"""Rows that a search text names, within the legal entities of one caller; each look-up is one of an index.

A text with an amount selects rows with this amount, and its words select among them by name. A text without an amount
leads from the objects that it names to their Runs, counterfoils, items, Cases and approvals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from counterfoil.application import Application
from counterfoil.core.canonical import Head
from counterfoil.core.personal_texts import MASKED
from counterfoil.core.search_query import SearchQuery
from counterfoil.core.search_words import search_words
from counterfoil.store.port.views import ItemFilter, ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.names import CUSTOMER
from counterfoil.web.api.queries import foil_shapes, item_shapes, run_shapes, with_votes
from counterfoil.web.api.search import document_names, keys_in_events, keys_named_by, linked_keys

Row = TypeVar("Row", shapes.FoilShape, shapes.ItemShape, shapes.CaseShape, shapes.ApprovalShape)
MAX_HITS = 20
"""Rows of one group of an answer."""
_MAX_IDS = 60
"""Ids of one kind that a search follows."""
_MAX_KEYS = 120
"""Objects whose rows a search reads."""
_SUGGESTED_WORDS = 8


class SearchRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by group, newest first, at most one more than `MAX_HITS` of each."""

    customers: list[Head] = []
    runs: list[shapes.RunShape] = []
    foils: list[shapes.FoilShape] = []
    items: list[shapes.ItemShape] = []
    cases: list[shapes.CaseShape] = []
    approvals: list[shapes.ApprovalShape] = []


async def read_rows(app: Application, query: SearchQuery) -> SearchRows:
    """Return the rows that a search names."""
    objects = await _objects(app, query)
    customers = await app.store.heads_of(
        CUSTOMER, [key for object_, key in objects if object_ == CUSTOMER][:_MAX_IDS]
    )
    keys: list[str] = []
    if not query.exact:
        first = [*await linked_keys(app, query.text), *(key for _, key in objects)]
        keys = await keys_named_by(app, [query.text, *first], _MAX_KEYS, first)
        keys = list(dict.fromkeys([*keys, *await keys_in_events(app, query.text)]))[:_MAX_KEYS]
        if not customers:
            customers = await app.store.heads_of(CUSTOMER, keys[:_MAX_IDS])
    foils = await _foils(app, query, keys)
    items = await _items(app, query, keys)
    runs = [query.text, *(foil.run for foil in foils if foil.run)]
    if keys:
        runs += await app.views.runs_of(sorted(app.model.workflows), keys, _MAX_IDS)
    cases = await _cases(app, query, runs, foils, items)
    approvals = await _approvals(app, query, runs)
    if query.amounts:
        runs += [case.run for case in cases if case.run]
        runs += [approval.run for approval in approvals if approval.run]
    rows, _ = await app.views.runs(ListFilter(ids=tuple(dict.fromkeys(runs)), limit=MAX_HITS + 1))
    return SearchRows(
        customers=customers[: MAX_HITS + 1],
        runs=await run_shapes(app, rows),
        foils=foils[: MAX_HITS + 1],
        items=items[: MAX_HITS + 1],
        cases=cases[: MAX_HITS + 1],
        approvals=approvals[: MAX_HITS + 1],
    )


async def near_text(app: Application, query: SearchQuery) -> str:
    """Return the words of a search with the nearest names in place of those that no name has; empty if none is near."""
    near: list[str] = []
    for word in query.names:
        if await app.views.objects_with_words([word], 1):
            near.append(word)
            continue
        names = await app.views.near_words(word, _SUGGESTED_WORDS)
        if not names:
            return ""
        near.append(min(names, key=lambda name: (abs(len(name) - len(word)), name)))
    return " ".join(near) if tuple(near) != query.names else ""


async def _objects(app: Application, query: SearchQuery) -> list[tuple[str, str]]:
    """Return type and key of the objects whose names have the words; beside an amount, an integer is none of them."""
    objects = await app.views.objects_with_words(query.words, _MAX_IDS)
    if not objects and query.amounts and query.names != query.words:
        objects = await app.views.objects_with_words(query.names, _MAX_IDS)
    return objects


async def _foils(app: Application, query: SearchQuery, keys: Sequence[str]) -> list[shapes.FoilShape]:
    ids = await app.views.with_amount("foil", query.amounts, _MAX_IDS) if query.amounts else []
    by_amount = await _foil_rows(app, ids)
    chosen = [
        foil for foil in by_amount if _is_named(app, query, foil.customer, foil.name, foil.document, foil.key)
    ]
    if query.exact:
        return chosen
    documents = document_names(app, query.text)
    ids = [query.text, *await app.views.foils_shown_as(documents)]
    ids += await app.views.foils_of(sorted(app.model.reconciliations), [*documents, *keys], _MAX_IDS)
    return _once([*await _foil_rows(app, ids), *chosen])


async def _foil_rows(app: Application, ids: Iterable[str]) -> list[shapes.FoilShape]:
    foils, _ = await app.views.foils(ListFilter(ids=tuple(dict.fromkeys(ids)), limit=_MAX_IDS))
    return await foil_shapes(app, foils)


async def _items(app: Application, query: SearchQuery, keys: Sequence[str]) -> list[shapes.ItemShape]:
    ids = await app.views.with_amount("observation", query.amounts, _MAX_IDS) if query.amounts else []
    by_amount = await _item_rows(app, ids)
    chosen = [
        item for item in by_amount if _is_named(app, query, item.customer, item.name, item.document, item.key)
    ]
    if query.exact:
        return chosen
    names = [*document_names(app, query.text), *keys]
    ids = [query.text, *await app.views.items_of(sorted(app.model.reconciliations), names, _MAX_IDS)]
    return _once([*await _item_rows(app, ids), *chosen])


async def _item_rows(app: Application, ids: Iterable[str]) -> list[shapes.ItemShape]:
    rows, _ = await app.views.unmatched(ItemFilter(ids=tuple(dict.fromkeys(ids)), limit=_MAX_IDS))
    return await item_shapes(app, rows, await app.now())


async def _cases(
    app: Application,
    query: SearchQuery,
    runs: Sequence[str],
    foils: Sequence[shapes.FoilShape],
    items: Sequence[shapes.ItemShape],
) -> list[shapes.CaseShape]:
    ids = await app.views.with_amount("case_", query.amounts, _MAX_IDS) if query.amounts else []
    by_amount = await _case_rows(app, ids)
    chosen = [case for case in by_amount if _is_named(app, query, case.customer, case.name, case.key or "")]
    about = ([foil.id for foil in foils], [item.id for item in items])
    ids = [query.text, *await app.views.cases_about(runs, *about, _MAX_IDS)]
    return _once([*await _case_rows(app, ids), *chosen])


async def _case_rows(app: Application, ids: Iterable[str]) -> list[shapes.CaseShape]:
    rows, _ = await app.views.cases(ListFilter(ids=tuple(dict.fromkeys(ids)), limit=MAX_HITS + 1))
    return await case_shapes(app, rows)


async def _approvals(app: Application, query: SearchQuery, runs: Sequence[str]) -> list[shapes.ApprovalShape]:
    ids = await app.views.with_amount("approval", query.amounts, _MAX_IDS) if query.amounts else []
    by_amount = await _approval_rows(app, ids)
    chosen = [approval for approval in by_amount if _is_named(app, query, *approval.about.values())]
    ids = [query.text, *await app.views.approvals_about(runs, _MAX_IDS)]
    return _once([*await _approval_rows(app, ids), *chosen])


async def _approval_rows(app: Application, ids: Iterable[str]) -> list[shapes.ApprovalShape]:
    rows, _ = await app.views.approvals(ListFilter(ids=tuple(dict.fromkeys(ids)), limit=MAX_HITS + 1))
    return await with_votes(app, rows)


def _is_named(app: Application, query: SearchQuery, *names: str) -> bool:
    """Test whether the names of a row, as the caller may read them, have every word of a search that is no amount."""
    readable = names if app.mask is None else [app.mask.prose(name) for name in names]
    words = [word for name in readable if name != MASKED for word in search_words(name)]
    return all(any(word.startswith(part) for word in words) for part in query.names)


def _once(rows: Sequence[Row]) -> list[Row]:
    return list({row.id: row for row in rows}.values())
