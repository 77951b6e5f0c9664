"""Checkpoints of a reconciliation: both sides counted twice at a cut-off, prepared, and signed by another person.

Our rows are one way of counting. The other is what the systems' own books list, as their newest sweeps have read them: each
listed record is read by the active Release and counted alone, without our rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

import msgspec

from counterfoil.connectors.sdk import Connector
from counterfoil.core import ids, wire
from counterfoil.core.book_checkpoint import (
    BookCheckpoint,
    BookReading,
    CheckpointContent,
    CheckpointState,
    SeriesLine,
    defect_case_id,
)
from counterfoil.core.book_count import (
    BothSides,
    checkpoint_line,
    compare_counts,
    count_listed,
    count_ours,
    day_after,
    part_lines,
    total_of,
)
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.core.document import Side
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import next_foil, next_observation
from counterfoil.core.number_series import number_series
from counterfoil.core.roll_forward import COLUMNS, RollForward, roll_forward
from counterfoil.core.settle import MatchRows
from counterfoil.core.sweep import Sweep
from counterfoil.flow.context.event_documents import read_documents, read_numbers
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.checkpoint_changes import ChangeInside, changes_in
from counterfoil.flow.worker.sweep_requests import listings_of
from counterfoil.model import Model, kinds
from counterfoil.rules.admission import HeldDelivery
from counterfoil.rules.document_numbers import DocumentNumber
from counterfoil.store.port.book_checkpoints import PrepareCheckpoint, SignCheckpoint
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import Views

MAX_EVENT_ROWS = 500
_OF_BOTH = ("left", "right")


class CheckpointRefused(CounterfoilError):
    """The checkpoint cannot be prepared or signed. The message says why, and what to do."""


class _Listing(msgspec.Struct):
    """Documents and numbers that the books of a reconciliation list."""

    readings: dict[tuple[str, str], BookReading]
    foils: dict[str, Foil]
    observations: dict[str, Observation]
    numbers: set[DocumentNumber]
    held: dict[str, int]
    """By system: listed records that wait for a decision."""


class BookCheckpoints:
    """Prepares, signs and shows checkpoints, within the legal entities that a caller sees."""

    def __init__(
        self, store: Store, views: Views, releases: Releases, connectors: Mapping[str, Connector]
    ) -> None:
        self._store, self._views, self._releases, self._connectors = store, views, releases, connectors

    async def all_of(self, rule: str, scope: EntityScope) -> list[BookCheckpoint]:
        """Return the prepared and signed checkpoints of a reconciliation, latest cut-off first."""
        return [row for row in await self._store.book_checkpoints(rule) if scope.sees(row.entity)]

    async def one(self, id_: str) -> BookCheckpoint | None:
        return await self._store.book_checkpoint(id_)

    async def changes(self, checkpoint: BookCheckpoint) -> list[ChangeInside]:
        """Return the documents inside a checkpoint that have changed since it was prepared, by their ids."""
        return await changes_in(self._store, checkpoint, checkpoint.known, await self._store.now())

    async def prepare(
        self, rule: kinds.Reconciliation, at: date, entity: str | None, scope: EntityScope, person: str
    ) -> list[BookCheckpoint]:
        """Count both sides up to a cut-off and keep one checkpoint for each legal entity. Raises CheckpointRefused."""
        model, now = self._releases.present, await self._store.now()
        if at > now.date():
            raise CheckpointRefused(
                f"{at} has not come yet. A cut-off is a day up to today, {now.date()} (UTC)."
            )
        listing = await self._listing(model, rule, now, entity, scope)
        matches = [row.rows for row in await self._views.matches_of_rule(rule.name, now)]
        ours = count_ours(matches, at)
        listed = count_listed(list(listing.foils.values()), list(listing.observations.values()), at)
        entities = sorted(
            {c.entity for side in (*ours, *listed) for c in side.values()} if entity is None else {entity}
        )
        prepared = []
        for each in entities:
            if scope.sees(each):
                prepared.append(
                    await self._prepare(model, rule, each, at, now, person, matches, ours, listed, listing)
                )
        return prepared

    async def sign(self, id_: str, person: str, note: str) -> BookCheckpoint:
        """Sign a prepared checkpoint. Raises CheckpointRefused."""
        now = await self._store.now()
        checkpoint = await self._store.book_checkpoint(id_)
        if checkpoint is None or checkpoint.state is not CheckpointState.PREPARED:
            raise CheckpointRefused(
                "It is not prepared any more: another one took its place, or it is signed."
            )
        if checkpoint.prepared_by == person:
            raise CheckpointRefused("You prepared it. Another person signs it.")
        if obstacles := checkpoint.body.obstacles:
            raise CheckpointRefused(f"It cannot be signed. {'. '.join(obstacles)}.")
        if changes := await changes_in(self._store, checkpoint, checkpoint.known, now):
            raise CheckpointRefused(
                f"{len(changes)} documents up to {checkpoint.at} have changed since it was prepared. Prepare it again."
            )
        if await self._counts_otherwise(checkpoint):
            raise CheckpointRefused("Documents were being written while it was prepared. Prepare it again.")
        verdict = await self._store.apply(
            SignCheckpoint(
                checkpoint=id_,
                rule=checkpoint.rule,
                entity=checkpoint.entity,
                person=person,
                note=note,
                at=now,
                actor=f"person:{person}",
            )
        )
        if verdict == "own":
            raise CheckpointRefused("You prepared it. Another person signs it.")
        if verdict == "gone":
            raise CheckpointRefused(
                "It is not prepared any more: another one took its place, or it is signed."
            )
        signed = await self._store.book_checkpoint(id_)
        assert signed is not None
        return signed

    async def _counts_otherwise(self, checkpoint: BookCheckpoint) -> bool:
        """Count our rows once more as they were known then: a transaction may have committed a little later."""
        matches = await self._views.matches_of_rule(checkpoint.rule, checkpoint.known)
        ours = count_ours((row.rows for row in matches), date.fromisoformat(checkpoint.at))
        body = checkpoint.body
        return any(
            total_of(counted, checkpoint.entity, line.currency) != total
            for line in body.lines
            for counted, total in ((ours.left, line.left_total), (ours.right, line.right_total))
        )

    # ------------------------------------------------------------------ preparing

    async def _prepare(
        self,
        model: Model,
        rule: kinds.Reconciliation,
        entity: str,
        at: date,
        now: datetime,
        person: str,
        matches: list[MatchRows],
        ours: BothSides,
        listed: BothSides,
        listing: _Listing,
    ) -> BookCheckpoint:
        former = [
            row
            for row in await self._store.book_checkpoints(rule.name)
            if row.entity == entity and row.state is CheckpointState.SIGNED and row.at < at.isoformat()
        ]
        since = day_after(date.fromisoformat(former[0].at)) if former else None
        rolls = {
            line.currency: line
            for line in roll_forward(((rule.name, rows) for rows in matches), now, since, at)
            if line.entity == entity
        }
        for side in (*ours, *listed):
            for counted in side.values():
                if counted.entity == entity:
                    rolls.setdefault(counted.currency, _empty(rule.name, entity, counted.currency))
        sides = {side: self._readings(model, rule, side, entity, listing) for side in _OF_BOTH}
        moved = _moved(matches, sides)
        lines = []
        for currency, roll in sorted(rolls.items()):
            left = compare_counts(
                "left", ours.left, listed.left if sides["left"] else None, moved, entity, currency
            )
            right = compare_counts(
                "right", ours.right, listed.right if sides["right"] else None, moved, entity, currency
            )
            lines.append(checkpoint_line(roll, left, right))
        readings = {r.sweep: r for of_side in sides.values() for r in of_side}
        content = CheckpointContent(
            rule=rule.name,
            entity=entity,
            at=at,
            known=now,
            since=since,
            lines=tuple(lines),
            parts=tuple(part_lines(matches, entity, since, at)),
            series=tuple(_series(rule, entity, since, at, listing.numbers)),
            readings=tuple(sorted(readings.values(), key=lambda r: (r.system, r.book))),
            held=sum(listing.held.get(system, 0) for system in {r.system for r in readings.values()}),
        )
        checkpoint = BookCheckpoint(
            id=ids.derive("bcp", rule.name, entity, at.isoformat(), micros(now)),
            rule=rule.name,
            entity=entity,
            at=at.isoformat(),
            known=now,
            digest=wire.digest(content.stored),
            content=content.stored,
            prepared_at=now,
            prepared_by=person,
            reported=now,
        )
        case = _defect_case(model, rule, checkpoint, content, now)
        await self._store.apply(PrepareCheckpoint(checkpoint=checkpoint, case=case, actor=f"person:{person}"))
        return checkpoint

    def _readings(
        self, model: Model, rule: kinds.Reconciliation, side: str, entity: str, listing: _Listing
    ) -> list[BookReading]:
        """Return the readings of the books that list what a side shows for a legal entity."""
        return [
            listing.readings[book]
            for book in self._books(model, rule, side)
            if book in listing.readings and model.systems[book[0]].legal_entity in (None, "", entity)
        ]

    def _books(self, model: Model, rule: kinds.Reconciliation, side: str) -> list[tuple[str, str]]:
        """Return system and book of each book whose records show documents of a side."""
        entries = rule.assertions if side == "left" else rule.observations
        events = (model.events.get(entry.event or "") for _, entry in entries)
        objects = {event.object for event in events if event is not None}
        return [
            (system, book)
            for system in model.members(rule.left if side == "left" else rule.right)
            for book, types in listings_of(self._connectors, system).items()
            if objects.intersection(model.objects_of_deliveries(system, types))
        ]

    async def _listing(
        self,
        model: Model,
        rule: kinds.Reconciliation,
        now: datetime,
        entity: str | None,
        scope: EntityScope,
    ) -> _Listing:
        """Read what the newest sweeps of both sides' books have listed. Raises CheckpointRefused."""
        completed = {(sweep.system, sweep.book): sweep for sweep in await self._store.completed_sweeps()}
        needed = [
            book
            for side in _OF_BOTH
            for book in self._books(model, rule, side)
            if _is_needed(model.systems[book[0]].legal_entity, entity, scope)
        ]
        unread = [f"{book} of {system}" for system, book in needed if (system, book) not in completed]
        if unread:
            raise CheckpointRefused(
                f"The book {unread[0]} was never read to its end, so nothing proves our rows. "
                f"Read both books first: counterfoil reconcile {rule.name} --sweep"
            )
        listing = _Listing({}, {}, {}, set(), {})
        for book in dict.fromkeys(needed):
            await self._add_listed(rule, completed[book], now, listing)
        return listing

    async def _add_listed(
        self, rule: kinds.Reconciliation, sweep: Sweep, now: datetime, listing: _Listing
    ) -> None:
        listing.readings[sweep.system, sweep.book] = BookReading(
            system=sweep.system,
            book=sweep.book,
            sweep=sweep.id,
            began=sweep.requested_at,
            ended=sweep.ended_at or now,
            listed=sweep.listed,
        )
        unread = await self._store.swept_and_held(sweep.id)
        after = ""
        while events := await self._store.listed_events(sweep.id, after, MAX_EVENT_ROWS):
            after = events[-1].id
            for event in events:
                try:
                    documents = await read_documents(self._store, self._releases, event, now)
                    listing.numbers |= set(await read_numbers(self._store, self._releases, event, now))
                except HeldDelivery:
                    unread += 1
                    continue
                _add_foils(listing.foils, (f for f in documents.foils if f.rule == rule.name))
                _add_items(listing.observations, (o for o in documents.observations if o.rule == rule.name))
        listing.held[sweep.system] = listing.held.get(sweep.system, 0) + unread


def _add_foils(newest: dict[str, Foil], foils: Iterable[Foil]) -> None:
    for foil in foils:
        newest[foil.document] = next_foil(newest.get(foil.document), foil) or newest[foil.document]


def _add_items(newest: dict[str, Observation], items: Iterable[Observation]) -> None:
    for item in items:
        newest[item.document] = next_observation(newest.get(item.document), item) or newest[item.document]


def _is_needed(of_system: str | None, entity: str | None, scope: EntityScope) -> bool:
    """Report whether a checkpoint of a legal entity, or of all that a caller sees, needs the books of a system."""
    if not of_system:
        return True
    return scope.sees(of_system) if entity is None else of_system == entity


def _moved(matches: Iterable[MatchRows], sides: Mapping[str, list[BookReading]]) -> set[str]:
    """Return the documents that changed after the reading of their side's books began."""
    began = {side: min((r.began for r in readings), default=None) for side, readings in sides.items()}
    left, right = began["left"], began["right"]
    moved = set()
    for rows in matches:
        moved |= {f.document for f in rows.foils if left is not None and f.known_from > left}
        moved |= {o.document for o in rows.observations if right is not None and o.at > right}
    return moved


def _series(
    rule: kinds.Reconciliation, entity: str, since: date | None, at: date, numbers: Iterable[DocumentNumber]
) -> list[SeriesLine]:
    """Return the series of both systems in the period. One number of one record is one document."""
    first, last = "" if since is None else since.isoformat(), at.isoformat()
    lines = []
    for side, system in (("left", rule.left), ("right", rule.right)):
        mine = {
            (n.record, n.number)
            for n in numbers
            if (n.side, n.system, n.entity) == (side, system, entity) and first <= n.day <= last
        }
        of_side: Side = "left" if side == "left" else "right"
        lines += [SeriesLine(side=of_side, numbers=s) for s in number_series(n for _, n in mine)]
    return lines


def _empty(rule: str, entity: str, currency: str) -> RollForward:
    none = dict.fromkeys(COLUMNS, 0)
    return RollForward(
        rule=rule,
        entity=entity,
        currency=currency,
        opening=0,
        asserted=0,
        observed=0,
        closing=0,
        columns=none,
    )


def _defect_case(
    model: Model,
    rule: kinds.Reconciliation,
    checkpoint: BookCheckpoint,
    content: CheckpointContent,
    now: datetime,
) -> Case | None:
    """Return the Case about the difference between both ways of counting; None if they agree."""
    obstacles = content.obstacles
    if not obstacles:
        return None
    of_entity = f" of {checkpoint.entity}" if checkpoint.entity else ""
    return open_case(
        "checkpoint_defect",
        id=defect_case_id(checkpoint.id),
        message=f"Checkpoint {rule.name}{of_entity} at {checkpoint.at}: {'; '.join(obstacles)}",
        owners=model.owners_of(rule),
        at=now,
        names={"object": f"checkpoint {checkpoint.id}", "system": rule.right},
    )
