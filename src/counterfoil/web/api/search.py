"""Search of Runs and counterfoils by what people know: a number, a customer's name, or the id in any system.

Each look-up is one of an index. The text is that of the `key` filter, and is tried where no key equals it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.document import in_ledger
from counterfoil.core.foil import Foil
from counterfoil.core.ids import canonical_id
from counterfoil.store.port.views import ListFilter, RunRow

MAX_EVENTS = 20
"""Events of one object whose documents a search follows."""
MAX_OBJECTS = 200
"""Objects of one text that a search follows."""
_STEPS = 2
"""Documents of a customer, and the documents that name them."""


async def search_runs(app: Application, page: ListFilter) -> tuple[list[RunRow], str | None]:
    """Return a page of Runs. If no Run has the key, search it as a number, a name or an id in any system."""
    return await app.views.runs(await run_filter(app, page))


async def run_filter(app: Application, page: ListFilter) -> ListFilter:
    """Return the filter by the ids of Runs that the key names, if no Run has it; else the same filter."""
    if page.key is None or (await app.views.runs(_first(page)))[0]:
        return page
    runs = await app.views.runs_of(sorted(app.model.workflows), await _keys(app, page.key), MAX_OBJECTS)
    runs += [foil.run for foil in await _shown_as(app, page.key) if foil.run is not None]
    return replace(page, key=None, ids=tuple(dict.fromkeys(runs)))


async def search_foils(app: Application, page: ListFilter) -> tuple[list[Foil], str | None]:
    """Return a page of counterfoils. If none has the key, search it as a number, a name or an id in any system."""
    return await app.views.foils(await foil_filter(app, page))


async def foil_filter(app: Application, page: ListFilter) -> ListFilter:
    """Return the filter by the ids of counterfoils that the key names, if none has it; else the same filter."""
    if page.key is None or (await app.views.foils(_first(page)))[0]:
        return page
    keys = [*document_names(app, page.key), *await _keys(app, page.key)]
    hits = await app.views.foils_of(sorted(app.model.reconciliations), keys, MAX_OBJECTS)
    hits += await app.views.foils_shown_as(document_names(app, page.key))
    return replace(page, key=None, ids=tuple(dict.fromkeys(hits)))


def _first(page: ListFilter) -> ListFilter:
    return replace(page, limit=1, cursor=None)


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


async def keys_in_events(app: Application, text: str) -> list[str]:
    """Return the keys of the documents in the events about the object that has this id in its system of record.

    A ticket is named by its bare number: the mapping derives its key, and its event names the credit that it asks for.
    The customer is left out, since that leads to every document of theirs.
    """
    systems = app.model.systems
    keys = {name: object_.system for name, object_ in app.model.objects.items()}
    derived = [
        canonical_id(object_, system, systems[system].account if system in systems else "", text)
        for object_, system in keys.items()
    ]
    events = await app.views.events_about(list(keys), [text, *derived], MAX_EVENTS)
    values = (
        value
        for event in events
        for field, value in event.data.items()
        if field.endswith("_id") and field != "customer_id"
    )
    return [*dict.fromkeys(value for value in values if isinstance(value, str) and value)]


def document_names(app: Application, number: str) -> list[str]:
    """Return the names that a document with this number may have: systems that stand for others number their own."""
    ledgers = [system.name for system in app.model.systems.values() if system.stands_for is not None]
    return [number, *(in_ledger(ledger, number) for ledger in sorted(ledgers))]


async def _shown_as(app: Application, document: str) -> list[Foil]:
    """Return the counterfoils that a document of the other system answers."""
    ids = tuple(await app.views.foils_shown_as(document_names(app, document)))
    return (await app.views.foils(ListFilter(ids=ids)))[0] if ids else []
