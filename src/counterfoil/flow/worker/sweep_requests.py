"""Sweeps on demand: which books list the documents of a reconciliation, and how far their newest sweeps are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from counterfoil.connectors.sdk import Connector, ListingConnector
from counterfoil.core import ids
from counterfoil.core.clock import micros
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.sweep import Sweep
from counterfoil.model import Model, kinds
from counterfoil.store.port.store import Store
from counterfoil.store.port.sweeps import RequestSweep

SCHEDULE = "schedule"
"""Who asks for a sweep that is due."""


def request_of(system: str, book: str, by: str, at: datetime) -> RequestSweep:
    """Return the transition that begins a sweep of a book, unless one is under way."""
    id_ = ids.derive("swp", system, book, micros(at))
    sweep = Sweep(id=id_, system=system, book=book, requested_at=at, requested_by=by)
    actor = f"system:{by}" if by == SCHEDULE else f"person:{by}"
    return RequestSweep(sweep=sweep, at=at, actor=actor)


def listings_of(connectors: Mapping[str, Connector], system: str) -> Mapping[str, Sequence[str]]:
    """Return the books that a system's connector lists, with the types of their deliveries."""
    connector = connectors.get(system)
    return connector.listings if isinstance(connector, ListingConnector) else {}


def books_of(
    model: Model, connectors: Mapping[str, Connector], rule: kinds.Reconciliation
) -> list[tuple[str, str]]:
    """Return system and book of everything that lists documents of a reconciliation, on both sides.

    A book whose types are known only from its records may list some.
    """
    events = (model.events.get(entry.event or "") for _, entry in rule.entries)
    objects = {event.object for event in events if event is not None}
    return [
        (system, book)
        for system in (*model.members(rule.left), *model.members(rule.right))
        for book, types in listings_of(connectors, system).items()
        if not types or objects.intersection(model.objects_of_deliveries(system, types))
    ]


class SweepRequests:
    """Asks for sweeps of a reconciliation, and shows them, within the legal entities that a caller sees.

    A system that belongs to no legal entity lists the documents of all, so only a caller without a bound sees its sweeps.
    """

    def __init__(self, store: Store, connectors: Mapping[str, Connector]) -> None:
        self._store, self._connectors = store, connectors

    async def latest(self, model: Model, rule: kinds.Reconciliation, scope: EntityScope) -> list[Sweep]:
        """Return the newest sweep of each book of both sides that was swept before."""
        books = self._books(model, rule, scope)
        latest = await self._store.latest_sweeps()
        return [sweep for sweep in latest if (sweep.system, sweep.book) in books]

    async def request(
        self, model: Model, rule: kinds.Reconciliation, scope: EntityScope, person: str
    ) -> list[Sweep]:
        """Have each book of both sides read. A sweep that is under way is returned as it is."""
        now = await self._store.now()
        requests = [request_of(system, book, person, now) for system, book in self._books(model, rule, scope)]
        return [await self._store.apply(request) for request in requests]

    def _books(self, model: Model, rule: kinds.Reconciliation, scope: EntityScope) -> list[tuple[str, str]]:
        return [
            (system, book)
            for system, book in books_of(model, self._connectors, rule)
            if scope.everything
            or ((entity := model.systems[system].legal_entity) is not None and scope.sees(entity))
        ]
