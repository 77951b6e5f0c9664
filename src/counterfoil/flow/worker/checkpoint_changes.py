"""Changes inside signed checkpoints: what they are about, and the Cases that ask what becomes of the signature."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from counterfoil.core import ids
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.core.document import Side
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.plural import counted
from counterfoil.flow.context.releases import Releases
from counterfoil.store.port.book_checkpoints import ReportChange
from counterfoil.store.port.store import Store

MAX_CHANGED_ROWS = 1_000
MAX_NAMED_DOCUMENTS = 10
"""Changed documents that the message of a Case names."""
COMMIT_LAG = timedelta(seconds=15)
"""A transaction commits at most so long after the time that it writes, so nothing that is older is missed."""


class ChangeInside(NamedTuple):
    """A document inside a checkpoint that has changed since."""

    side: Side
    id: str
    known_at: datetime
    event: str
    """Event or effect that established its present version."""
    before: Foil | Observation | None
    """As the checkpoint knew it; None: it knew none."""
    present: Foil | Observation


async def changes_in(
    store: Store, checkpoint: BookCheckpoint, since: datetime, until: datetime, most: int = MAX_CHANGED_ROWS
) -> list[ChangeInside]:
    """Return the documents inside a checkpoint that have other content than it knew, by their ids; at most so many.

    Only those whose present version became known after `since` and up to `until`.
    """
    first, after = checkpoint.body.since, ""
    changes: list[ChangeInside] = []
    while True:
        rows = await store.changed_documents(checkpoint.id, since, until, after, MAX_CHANGED_ROWS)
        for row in rows:
            before = None if row.before is None else _document(row.side, row.before)
            present = _document(row.side, row.present)
            inside = _is_inside(checkpoint, first, present) or (
                before is not None and _is_inside(checkpoint, first, before)
            )
            if inside and _counted(before) != _counted(present):
                changes.append(ChangeInside(row.side, row.id, row.known_at, row.event, before, present))
        if len(rows) < MAX_CHANGED_ROWS or len(changes) >= most:
            return changes[:most]
        after = rows[-1].id


def _document(side: Side, body: bytes) -> Foil | Observation:
    if side == "left":
        return msgspec.json.decode(body, type=Foil)
    return msgspec.json.decode(body, type=Observation)


def _is_inside(checkpoint: BookCheckpoint, since: date | None, row: Foil | Observation) -> bool:
    """Report whether a document is in the period of a checkpoint."""
    first = "" if since is None else since.isoformat()
    return row.entity == checkpoint.entity and first <= row.effective[:10] <= checkpoint.at


def _counted(row: Foil | Observation | None) -> tuple[object, ...] | None:
    """Return what a checkpoint counts of a document; None if it never stood."""
    if row is None or not (row.stands or row.stood):
        return None
    provisional = isinstance(row, Foil) and row.provisional
    return row.legs, row.entity, row.effective[:10], row.stands, row.stood, row.reverses, provisional


class CheckpointWatch:
    """Opens a Case for each signed checkpoint inside which something changes."""

    def __init__(self, store: Store, releases: Releases) -> None:
        self._store, self._releases = store, releases
        self._looked: dict[str, datetime] = {}
        """Checkpoint -> time up to which its changes were looked for by this process."""

    async def look(self, now: datetime) -> int:
        """Look for changes since the last look. Return how many checkpoints have some."""
        until, count = now - COMMIT_LAG, 0
        looked: dict[str, datetime] = {}
        for checkpoint in await self._store.signed_checkpoints():
            since = self._looked.get(checkpoint.id, checkpoint.reported)
            looked[checkpoint.id] = max(since, until)
            if since < until and (changes := await changes_in(self._store, checkpoint, since, until)):
                count += 1
                await self._report(checkpoint, changes, now)
        self._looked = looked
        return count

    async def _report(self, checkpoint: BookCheckpoint, changes: list[ChangeInside], now: datetime) -> None:
        model = self._releases.present
        rule = model.reconciliations.get(checkpoint.rule)
        newest = max(changes, key=lambda change: (change.known_at, change.id))
        named = ", ".join(change.present.number for change in changes[:MAX_NAMED_DOCUMENTS])
        more = ", ..." if len(changes) > MAX_NAMED_DOCUMENTS else ""
        of_entity = f" of {checkpoint.entity}" if checkpoint.entity else ""
        case = open_case(
            "checkpoint_changed",
            id=ids.derive("case", "checkpoint_changed", checkpoint.id, micros(newest.known_at)),
            message=(
                f"Checkpoint {checkpoint.rule}{of_entity} at {checkpoint.at}, signed by {checkpoint.signed_by}: "
                f"{counted(len(changes), 'document has', 'documents have')} changed since: {named}{more}"
            ),
            owners=() if rule is None else model.owners_of(rule),
            at=now,
            names={"object": f"checkpoint {checkpoint.id}"},
            event=newest.event if newest.event.startswith("evt") else None,
        )
        await self._store.apply(
            ReportChange(
                checkpoint=checkpoint.id, case=case, reported=newest.known_at, at=now, actor="checkpoints"
            )
        )
