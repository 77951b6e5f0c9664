"""Checkpoints of a reconciliation: both sides counted twice at a cut-off, prepared, and signed by another person.

Our rows are one way of counting. The other is what the systems' own books list, as their newest sweeps have read them: each
listed record is read by the active Release and counted alone, without our rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from counterfoil.connectors.sdk import Connector
from counterfoil.core import ids, wire
from counterfoil.core.approval import part_in_request
from counterfoil.core.book_checkpoint import (
    BookCheckpoint,
    BookReading,
    CheckpointContent,
    CheckpointLine,
    CheckpointState,
    SeriesLine,
)
from counterfoil.core.book_count import (
    BookSide,
    BothSides,
    checkpoint_line,
    compare_counts,
    count_listed,
    count_ours,
    day_after,
    part_lines,
    total_of,
)
from counterfoil.core.clock import micros
from counterfoil.core.document import Side, ledger_of
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.number_series import number_series
from counterfoil.core.roll_forward import COLUMNS, RollForward, roll_forward
from counterfoil.core.settle import MatchRows
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.system_reads import SystemReader
from counterfoil.flow.worker.book_listing import BookListing, CheckpointRefused, ListingReader
from counterfoil.flow.worker.checkpoint_cases import control_case, defect_case
from counterfoil.flow.worker.checkpoint_changes import ChangeInside, changes_in
from counterfoil.flow.worker.control_accounts import ControlAccounts, CountedDocuments
from counterfoil.model import Model, kinds
from counterfoil.rules.document_numbers import DocumentNumber, newest_numbers
from counterfoil.store.port.book_checkpoints import PrepareCheckpoint, SignCheckpoint
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import Views

MAX_LISTED_CHANGES = 100
"""Changes that an answer about a checkpoint lists."""
FRESH = timedelta(hours=1)
"""Age that a reading may have where the cut-off is not over yet."""
_SIDES: tuple[Side, Side] = ("left", "right")
_REFUSALS = {
    "own": "You prepared it. Another person signs it.",
    "gone": "It is not prepared any more: another one took its place, or it is signed.",
    "period": "Another cut-off was signed meanwhile, so its period begins later. Prepare it again.",
}


class _Count(NamedTuple):
    """Counts of one preparation, for all legal entities."""

    at: date
    now: datetime
    person: str
    matches: list[MatchRows]
    ours: BothSides
    listed: BothSides
    listing: BookListing
    of_accounts: CountedDocuments
    """Documents of control accounts, by reconciliation."""
    former: list[BookCheckpoint]
    """Every prepared and signed checkpoint of the reconciliation, latest cut-off first."""


class BookCheckpoints:
    """Prepares, signs and shows checkpoints, within the legal entities that a caller sees."""

    def __init__(
        self,
        store: Store,
        views: Views,
        releases: Releases,
        connectors: Mapping[str, Connector],
        reader: SystemReader,
    ) -> None:
        self._store, self._views, self._releases = store, views, releases
        self._reader = ListingReader(store, releases, connectors)
        self._accounts = ControlAccounts(store, views, releases, reader)

    async def all_of(self, rule: str, scope: EntityScope) -> list[BookCheckpoint]:
        """Return the prepared and signed checkpoints of a reconciliation, latest cut-off first."""
        return [row for row in await self._store.book_checkpoints(rule) if scope.sees(row.entity)]

    async def one(self, id_: str) -> BookCheckpoint | None:
        return await self._store.book_checkpoint(id_)

    async def changes(self, checkpoint: BookCheckpoint) -> list[ChangeInside]:
        """Return documents inside a checkpoint that have changed since it was prepared, the first `MAX_LISTED_CHANGES`."""
        now = await self._store.now()
        return await changes_in(self._store, checkpoint, checkpoint.known, now, MAX_LISTED_CHANGES)

    async def prepare(
        self, rule: kinds.Reconciliation, at: date, entity: str | None, scope: EntityScope, person: str
    ) -> list[BookCheckpoint]:
        """Count both sides up to a cut-off and keep one checkpoint for each legal entity. Raises CheckpointRefused."""
        now = await self._store.now()
        if at > (last := self.last_day(now, entity, scope)):
            raise CheckpointRefused(f"{at} has not come yet. A cut-off is a day up to today, {last}.")
        listing = await self._reader.read(rule, now, entity, scope)
        matches = [row.rows for row in await self._views.matches_of_rule(rule.name, now)]
        ours = count_ours(matches, at)
        listed = count_listed(listing.foils.values(), listing.observations.values(), at, ours)
        former = await self._store.book_checkpoints(rule.name)
        of_accounts = await self._accounts.documents(rule, ours, at, now)
        count = _Count(at, now, person, matches, ours, listed, listing, of_accounts, former)
        entities = {c.entity for side in (*ours, *listed) for c in side.values()}
        if entity is not None:
            if entity not in entities | self._releases.present.legal_entities.keys():
                raise CheckpointRefused(
                    f"No document is of a legal entity {entity}, and no file declares it."
                )
            entities = {entity}
        return [await self._prepare(rule, each, count) for each in sorted(entities) if scope.sees(each)]

    def last_day(self, now: datetime, entity: str | None, scope: EntityScope) -> date:
        """Return the latest day that has begun in UTC or where the books of one of the legal entities are kept."""
        envelope = self._releases.present.envelope
        entities = envelope.entities if entity is None else (entity,)
        days = [envelope.day(each, now) for each in entities if scope.sees(each)]
        return max([now.date(), *days])

    async def sign(self, id_: str, person: str, note: str) -> BookCheckpoint:
        """Sign a prepared checkpoint. Raises CheckpointRefused."""
        now = await self._store.now()
        checkpoint = await self._store.book_checkpoint(id_)
        if checkpoint is None or checkpoint.state is not CheckpointState.PREPARED:
            raise CheckpointRefused(_REFUSALS["gone"])
        signer = await self._store.person(person)
        if person == checkpoint.prepared_by or (
            signer is not None and part_in_request(checkpoint.prepared_by, (), signer) is not None
        ):
            raise CheckpointRefused(_REFUSALS["own"])
        body = checkpoint.body
        if obstacles := body.obstacles:
            raise CheckpointRefused(f"It cannot be signed. {'. '.join(obstacles)}.")
        if body.unexplained and not note.strip():
            accounts = ", ".join(sorted({line.account for line in body.unexplained}))
            raise CheckpointRefused(
                f"The ledger has something on {accounts} beyond the documents. Explain it in the note of the signature."
            )
        if await changes_in(self._store, checkpoint, checkpoint.known, now, 1):
            raise CheckpointRefused(
                f"Documents up to {checkpoint.at} have changed since it was prepared. Prepare it again."
            )
        if await self._counts_otherwise(checkpoint):
            raise CheckpointRefused("Documents were being written while it was prepared. Prepare it again.")
        verdict = await self._store.apply(
            SignCheckpoint(
                checkpoint=id_,
                rule=checkpoint.rule,
                entity=checkpoint.entity,
                after="" if body.since is None else (body.since - timedelta(days=1)).isoformat(),
                person=person,
                note=note,
                at=now,
                actor=f"person:{person}",
            )
        )
        if verdict != "signed":
            raise CheckpointRefused(_REFUSALS[verdict])
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

    async def _prepare(self, rule: kinds.Reconciliation, entity: str, count: _Count) -> BookCheckpoint:
        model, at, now = self._releases.present, count.at, count.now
        former = _last_signed(count.former, entity, at)
        since = None if former is None else day_after(date.fromisoformat(former.at))
        sides = {side: self._reader.of_side(rule, side, entity, count.listing) for side in _SIDES}
        readings = {r.sweep: r for of_side in sides.values() for r in of_side}
        accounts = await self._accounts.lines(rule, entity, at, former, count.of_accounts)
        content = CheckpointContent(
            rule=rule.name,
            entity=entity,
            at=at,
            known=now,
            since=since,
            lines=tuple(self._lines(rule, entity, since, former, count, sides)),
            parts=tuple(part_lines(count.matches, entity, since, at)),
            series=tuple(_series(rule, entity, since, former, count)),
            controls=accounts.lines,
            unread=accounts.unread,
            readings=tuple(sorted(readings.values(), key=lambda r: (r.system, r.book))),
            stale=tuple(_stale(model, entity, at, now, readings.values())),
            held=_sum(count.listing.held, readings.values()),
            dismissed=_sum(count.listing.dismissed, readings.values()),
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
            prepared_by=count.person,
            reported=now,
        )
        owners = model.owners_of(rule)
        cases = (
            defect_case(rule, checkpoint, content, owners, count.matches),
            control_case(rule, checkpoint, content, owners),
        )
        prepare = PrepareCheckpoint(
            checkpoint=checkpoint,
            cases=tuple(case for case in cases if case is not None),
            actor=f"person:{count.person}",
        )
        if not await self._store.apply(prepare):
            raise CheckpointRefused("Another person prepares this cut-off at this moment. Look at theirs.")
        return checkpoint

    def _lines(
        self,
        rule: kinds.Reconciliation,
        entity: str,
        since: date | None,
        former: BookCheckpoint | None,
        count: _Count,
        sides: Mapping[Side, list[BookReading]],
    ) -> list[CheckpointLine]:
        rows = ((rule.name, match) for match in count.matches)
        rolls = {
            line.currency: line
            for line in roll_forward(rows, count.now, since, count.at)
            if line.entity == entity
        }
        closed = {} if former is None else {line.currency: line.closing for line in former.body.lines}
        counted = {
            c.currency for side in (*count.ours, *count.listed) for c in side.values() if c.entity == entity
        }
        for currency in counted | closed.keys():
            rolls.setdefault(currency, _empty(rule.name, entity, currency))
        books: dict[Side, BookSide | None] = {}
        for side, listed in zip(_SIDES, count.listed, strict=True):
            moved, late = _moved(rule, side, sides[side], count.matches)
            complete = self._reader.is_complete(rule, side, entity)
            books[side] = BookSide(listed, moved, late, complete) if sides[side] else None
        return [
            checkpoint_line(
                roll,
                compare_counts("left", count.ours.left, books["left"], entity, currency),
                compare_counts("right", count.ours.right, books["right"], entity, currency),
                None if former is None else closed.get(currency, 0),
            )
            for currency, roll in sorted(rolls.items())
        ]


def _last_signed(rows: Iterable[BookCheckpoint], entity: str, at: date) -> BookCheckpoint | None:
    """Return the signed checkpoint of the latest earlier cut-off. `rows` are in order, latest first."""
    signed = (row for row in rows if row.entity == entity and row.state is CheckpointState.SIGNED)
    return next((row for row in signed if row.at < at.isoformat()), None)


def _sum(by_system: Mapping[str, int], readings: Iterable[BookReading]) -> int:
    return sum(by_system.get(system, 0) for system in {reading.system for reading in readings})


def _moved(
    rule: kinds.Reconciliation, side: Side, readings: Iterable[BookReading], matches: Iterable[MatchRows]
) -> tuple[set[str], set[str]]:
    """Return the documents of a side that became known while the books of their system were being read, and later."""
    began: dict[str, datetime] = {}
    ended: dict[str, datetime] = {}
    for reading in readings:
        began[reading.system] = min(began.get(reading.system, reading.began), reading.began)
        ended[reading.system] = max(ended.get(reading.system, reading.ended), reading.ended)
    own = rule.left if side == "left" else rule.right
    moved, late = set[str](), set[str]()
    for rows in matches:
        documents: list[tuple[str, datetime]] = (
            [(f.document, f.known_from) for f in rows.foils]
            if side == "left"
            else [(o.document, o.at) for o in rows.observations]
        )
        for document, since in documents:
            system = ledger_of(document) or own
            if system in began and since > began[system]:
                (late if since > ended[system] else moved).add(document)
    return moved, late


def _stale(model: Model, entity: str, at: date, now: datetime, readings: Iterable[BookReading]) -> list[str]:
    """Return the books that were read before the cut-off was over; while it is not over, those read long ago."""
    declared = model.legal_entities.get(entity)
    zone = ZoneInfo(declared.zone) if declared is not None and declared.zone else UTC
    over = datetime.combine(day_after(at), datetime.min.time(), zone)
    least = over if over <= now else now - FRESH
    return [f"{r.book} of {r.system}" for r in readings if r.began < least]


def _series(
    rule: kinds.Reconciliation,
    entity: str,
    since: date | None,
    former: BookCheckpoint | None,
    count: _Count,
) -> list[SeriesLine]:
    """Return the series of both systems in the period. Each record counts once, by its newest number."""
    first, last = "" if since is None else since.isoformat(), count.at.isoformat()
    numbers: list[DocumentNumber] = newest_numbers(n for n in count.listing.numbers if n.entity == entity)
    lines = []
    for side, system in zip(_SIDES, (rule.left, rule.right), strict=True):
        mine = [n.number for n in numbers if (n.side, n.system) == (side, system) and first <= n.day <= last]
        before = (
            {}
            if former is None
            else {s.numbers.series: s.numbers.last for s in former.body.series if s.side == side}
        )
        lines += [SeriesLine(side=side, numbers=s) for s in number_series(mine, before)]
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
