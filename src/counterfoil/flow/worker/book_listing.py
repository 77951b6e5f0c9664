"""The books of a reconciliation as their newest sweeps have listed them: documents and numbers, without our rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from counterfoil.connectors.sdk import Connector
from counterfoil.core.book_checkpoint import BookReading
from counterfoil.core.document import Side
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal, next_foil, next_observation
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.flow.context.event_documents import read_documents, read_numbers
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.sweep_requests import listings_of
from counterfoil.model import Model, kinds
from counterfoil.rules.admission import HeldDelivery
from counterfoil.rules.document_numbers import DocumentNumber
from counterfoil.store.port.store import Store

MAX_EVENT_ROWS = 500
MAX_READS = 3
"""Readings of the listings until no sweep of them has ended meanwhile."""


class CheckpointRefused(CounterfoilError):
    """The checkpoint cannot be prepared or signed. The message says why, and what to do."""


class BookListing(msgspec.Struct):
    """Documents and numbers that the books of both sides list."""

    readings: dict[tuple[str, str], BookReading] = {}
    """By system and book."""
    foils: dict[str, Foil] = {}
    observations: dict[str, Observation] = {}
    numbers: set[DocumentNumber] = set()
    held: dict[str, int] = {}
    """By system: listed records that wait for a decision."""
    dismissed: dict[str, int] = {}
    """By system: listed records that a person dismissed."""


class ListingReader:
    """Reads listings. Connectors and mappings say which books list what a side shows."""

    def __init__(self, store: Store, releases: Releases, connectors: Mapping[str, Connector]) -> None:
        self._store, self._releases, self._connectors = store, releases, connectors

    async def read(
        self, rule: kinds.Reconciliation, now: datetime, entity: str | None, scope: EntityScope
    ) -> BookListing:
        """Return what the books of both sides list. Raises CheckpointRefused if one was never read."""
        model = self._releases.present
        needed = [
            book
            for side in ("left", "right")
            for book in self.books(model, rule, side)
            if _is_needed(model.systems[book[0]].legal_entity, entity, scope)
        ]
        for _ in range(MAX_READS):
            sweeps = await self._newest(rule, needed)
            listing = BookListing()
            for sweep in sweeps:
                await self._add(rule, sweep, now, listing)
            if sweeps == await self._newest(rule, needed):
                return listing
        raise CheckpointRefused(
            "The books are being read again and again. Try again when no sweep is under way."
        )

    async def _newest(self, rule: kinds.Reconciliation, books: Iterable[tuple[str, str]]) -> list[Sweep]:
        """Return the newest completed sweep of each book. Raises CheckpointRefused if one has none."""
        completed = {(sweep.system, sweep.book): sweep for sweep in await self._store.completed_sweeps()}
        reading = {
            (sweep.system, sweep.book)
            for sweep in await self._store.latest_sweeps()
            if sweep.state is SweepState.READING
        }
        for system, book in books:
            if (system, book) not in completed and (system, book) in reading:
                raise CheckpointRefused(
                    f"The book {book} of {system} is being read now. Try again when it has been read."
                )
            if (system, book) not in completed:
                raise CheckpointRefused(
                    f"The book {book} of {system} was never read to its end, so nothing proves our rows. "
                    f"Read both books first: counterfoil reconcile {rule.name} --sweep"
                )
        return [completed[book] for book in dict.fromkeys(books)]

    async def _add(
        self, rule: kinds.Reconciliation, sweep: Sweep, now: datetime, listing: BookListing
    ) -> None:
        listing.readings[sweep.system, sweep.book] = BookReading(
            system=sweep.system,
            book=sweep.book,
            sweep=sweep.id,
            began=sweep.requested_at,
            ended=sweep.ended_at or now,
            listed=sweep.listed,
        )
        unread, withdrawals = await self._store.swept_and_held(sweep.id), list[Withdrawal]()
        objects: dict[str, tuple[str, str, str]] = {}
        after = ""
        while events := await self._store.listed_events(sweep.id, after, MAX_EVENT_ROWS):
            after = events[-1].id
            for event in events:
                objects[event.id] = (event.object, event.key, event.type)
                try:
                    documents = await read_documents(self._store, self._releases, event, now)
                except HeldDelivery:
                    unread += 1
                    continue
                _add_foils(listing.foils, (f for f in documents.foils if f.rule == rule.name))
                _add_items(listing.observations, (o for o in documents.observations if o.rule == rule.name))
                withdrawals += [w for w in documents.withdrawals if w.rule == rule.name]
                try:
                    listing.numbers |= set(await read_numbers(self._store, self._releases, event, now))
                except HeldDelivery:
                    continue  # a number that cannot be read is missing in its series
        for withdrawal in withdrawals:
            for each in (
                [withdrawal]
                if withdrawal.split is None
                else withdrawal.of(_shown_by(listing, withdrawal, objects))
            ):
                _withdraw(listing, each, now)
        listing.held[sweep.system] = listing.held.get(sweep.system, 0) + unread
        dismissed = await self._store.swept_and_dismissed(sweep.id)
        listing.dismissed[sweep.system] = listing.dismissed.get(sweep.system, 0) + dismissed

    # ------------------------------------------------------------------ which books

    def books(self, model: Model, rule: kinds.Reconciliation, side: str) -> list[tuple[str, str]]:
        """Return system and book of each book that lists documents of a side, or may: one whose types are unknown."""
        objects = _objects(model, rule, side)
        return [
            (system, book)
            for system in model.members(rule.left if side == "left" else rule.right)
            for book, types in listings_of(self._connectors, system).items()
            if objects and (not types or objects.intersection(model.objects_of_deliveries(system, types)))
        ]

    def of_side(
        self, rule: kinds.Reconciliation, side: Side, entity: str, listing: BookListing
    ) -> list[BookReading]:
        """Return the readings of the books that list what a side shows for a legal entity."""
        model = self._releases.present
        return [
            listing.readings[book]
            for book in self.books(model, rule, side)
            if book in listing.readings and model.systems[book[0]].legal_entity in (None, "", entity)
        ]

    def is_complete(self, rule: kinds.Reconciliation, side: Side, entity: str) -> bool:
        """Report whether every event by which a side shows documents for a legal entity is about an object in a book."""
        model = self._releases.present
        objects = _objects(model, rule, side)
        for system in model.members(rule.left if side == "left" else rule.right):
            if model.systems[system].legal_entity not in (None, "", entity):
                continue
            listings = listings_of(self._connectors, system)
            if not all(listings.values()):
                continue  # a book whose types are unknown may list all
            listed = {o for types in listings.values() for o in model.objects_of_deliveries(system, types)}
            if not objects <= listed:
                return False
        return True


def _objects(model: Model, rule: kinds.Reconciliation, side: str) -> set[str]:
    """Return the objects of the events by which a side shows documents."""
    entries = rule.assertions if side == "left" else rule.observations
    events = (model.events.get(entry.event or "") for _, entry in entries)
    return {event.object for event in events if event is not None and event.object}


def _add_foils(newest: dict[str, Foil], foils: Iterable[Foil]) -> None:
    for foil in foils:
        newest[foil.document] = next_foil(newest.get(foil.document), foil) or newest[foil.document]


def _add_items(newest: dict[str, Observation], items: Iterable[Observation]) -> None:
    for item in items:
        newest[item.document] = next_observation(newest.get(item.document), item) or newest[item.document]


def _shown_by(
    listing: BookListing, withdrawal: Withdrawal, objects: Mapping[str, tuple[str, str, str]]
) -> list[str]:
    """Return the documents that listed versions of the object of a split show. `objects` has object, key and type by event."""
    split = withdrawal.split
    rows = [(f.document, f.cause) for f in listing.foils.values()]
    if withdrawal.side == "right":
        rows = [(o.document, o.event) for o in listing.observations.values()]
    mine = {(split.object, split.key, type_) for type_ in split.types} if split is not None else set()
    return [document for document, event in rows if objects.get(event) in mine]


def _withdraw(listing: BookListing, withdrawal: Withdrawal, now: datetime) -> None:
    """Take out a document that a newer listed version withdraws."""
    foil, item = listing.foils.get(withdrawal.document), listing.observations.get(withdrawal.document)
    if withdrawal.side == "left" and foil is not None:
        _add_foils(listing.foils, [withdrawal.foil(foil, now)])
    if withdrawal.side == "right" and item is not None:
        _add_items(listing.observations, [withdrawal.observation(item, now)])


def _is_needed(of_system: str | None, entity: str | None, scope: EntityScope) -> bool:
    """Report whether a checkpoint of a legal entity, or of all that a caller sees, needs the books of a system."""
    if not of_system:
        return True
    return scope.sees(of_system) if entity is None else of_system == entity
