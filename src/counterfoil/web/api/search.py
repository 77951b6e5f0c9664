"""Search of Runs and counterfoils by what people know: a number, a customer's name, or the id in any system.

Each look-up is one of an index. The text is that of the `key` filter, and is tried where no key equals it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.document import in_ledger
from counterfoil.core.foil import Foil
from counterfoil.store.port.views import ListFilter, RunRow

MAX_OBJECTS = 200
"""Objects of one text that a search follows."""
_STEPS = 2
"""Documents of a customer, and the documents that name them."""


async def search_runs(app: Application, page: ListFilter) -> tuple[list[RunRow], str | None]:
    """Return a page of Runs. If no Run has the key, search it as a number, a name or an id in any system."""
    rows, after = await app.views.runs(page)
    if rows or page.key is None or page.cursor is not None:
        return rows, after
    runs = await app.views.runs_of(sorted(app.model.workflows), await _keys(app, page.key), MAX_OBJECTS)
    runs += [foil.run for foil in await _shown_as(app, page.key) if foil.run is not None]
    if not runs:
        return [], None
    rows, _ = await app.views.runs(replace(page, key=None, ids=tuple(dict.fromkeys(runs))))
    return rows, None


async def search_foils(app: Application, page: ListFilter) -> tuple[list[Foil], str | None]:
    """Return a page of counterfoils. If none has the key, search it as a number, a name or an id in any system."""
    foils, after = await app.views.foils(page)
    if foils or page.key is None or page.cursor is not None:
        return foils, after
    keys = [*document_names(app, page.key), *await _keys(app, page.key)]
    hits = await app.views.foils_of(sorted(app.model.reconciliations), keys, MAX_OBJECTS)
    hits += await app.views.foils_shown_as(document_names(app, page.key))
    if not hits:
        return [], None
    foils, _ = await app.views.foils(replace(page, key=None, ids=tuple(dict.fromkeys(hits))))
    return foils, None


async def _keys(app: Application, text: str) -> list[str]:
    """Return the keys of the objects that a text names: by a Link, by number or name, and through their customer."""
    linked = await linked_keys(app, text)
    return await keys_named_by(app, [text, *linked], (2 + _STEPS) * MAX_OBJECTS, linked)


async def linked_keys(app: Application, text: str) -> list[str]:
    """Return the keys of the objects that have this id in a system."""
    systems = app.model.systems
    accounts = sorted({"", *(system.account for system in systems.values())})
    links = await app.views.links_by_ext(text, list(app.model.objects), list(systems), accounts)
    return list(dict.fromkeys(link.canonical for link in links))


async def keys_named_by(
    app: Application, texts: Sequence[str], limit: int, first: Sequence[str] = ()
) -> list[str]:
    """Return the keys of the objects that have one of these numbers, names or keys, and of those that name them.

    They follow those of `first`.
    """
    keys = dict.fromkeys(first)
    last = list(texts)
    for _ in range(1 + _STEPS):
        naming = await app.views.named(last, MAX_OBJECTS) if last and len(keys) < limit else []
        last = [key for key in naming if key not in keys]
        keys |= dict.fromkeys(last)
    return list(keys)[:limit]


def document_names(app: Application, number: str) -> list[str]:
    """Return the names that a document with this number may have: systems that stand for others number their own."""
    ledgers = [system.name for system in app.model.systems.values() if system.stands_for is not None]
    return [number, *(in_ledger(ledger, number) for ledger in sorted(ledgers))]


async def _shown_as(app: Application, document: str) -> list[Foil]:
    """Return the counterfoils that a document of the other system answers."""
    ids = tuple(await app.views.foils_shown_as(document_names(app, document)))
    return (await app.views.foils(ListFilter(ids=ids)))[0] if ids else []
