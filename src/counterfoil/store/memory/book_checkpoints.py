"""Specification of checkpoints of the books."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.book_checkpoint import BookCheckpoint, CheckpointState, control_case_id, defect_case_id
from counterfoil.core.case import CaseState
from counterfoil.core.document import Side
from counterfoil.core.foil import Foil, Observation
from counterfoil.store.memory.cases import open_case, resolve_case_by_id
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.book_checkpoints import (
    ChangedDocument,
    PrepareCheckpoint,
    ReportChange,
    SignCheckpoint,
    SignVerdict,
)

_S = CheckpointState


@memory(PrepareCheckpoint)
def prepare_checkpoint(db: Tables, t: PrepareCheckpoint) -> bool:
    new = t.checkpoint
    if new.id in db.book_checkpoints:
        return True
    for former in _supersede(db, new, _S.PREPARED):
        for case in (defect_case_id(former.id), control_case_id(former.id)):
            resolve_case_by_id(db, case, t.at, t.actor, "it was prepared again")
    db.put(db.book_checkpoints, new.id, new)
    db.leaf("book_checkpoint.prepared", new.id, t.at, t.actor, wire.dumps(new.leaf_body))
    for opened in t.cases:
        open_case(db, opened, t.at, t.actor)
    return True


@memory(SignCheckpoint)
def sign_checkpoint(db: Tables, t: SignCheckpoint) -> SignVerdict:
    row = db.book_checkpoints.get(t.checkpoint)
    if row is None or row.state is not _S.PREPARED:
        return "gone"
    if row.prepared_by == t.person:
        return "own"
    before = [
        other.at
        for other in db.book_checkpoints.values()
        if (other.rule, other.entity, other.state) == (row.rule, row.entity, _S.SIGNED) and other.at < row.at
    ]
    if max(before, default="") != t.after:
        return "period"
    for former in _supersede(db, row, _S.SIGNED):
        resolve_case_by_id(db, former.change_case, t.at, t.actor, "the checkpoint was signed again")
    signed = replace(row, state=_S.SIGNED, signed_at=t.at, signed_by=t.person, note=t.note)
    db.put(db.book_checkpoints, row.id, signed)
    db.leaf("book_checkpoint.signed", row.id, t.at, t.actor, wire.dumps(signed.leaf_body))
    return "signed"


@memory(ReportChange)
def report_change(db: Tables, t: ReportChange) -> bool:
    row = db.book_checkpoints.get(t.checkpoint)
    if row is None or row.state is not _S.SIGNED or row.reported >= t.reported:
        return False
    former = db.cases.get(row.change_case)
    if former is not None and former.state is CaseState.OPEN:
        db.put(db.book_checkpoints, row.id, replace(row, reported=t.reported))
        return False
    db.put(db.book_checkpoints, row.id, replace(row, reported=t.reported, change_case=t.case.id))
    return open_case(db, t.case, t.at, t.actor)


def _supersede(db: Tables, new: BookCheckpoint, state: CheckpointState) -> list[BookCheckpoint]:
    """Supersede the others in a state at the cut-off of a checkpoint, and return them."""
    place = (new.rule, new.entity, new.at)
    others = [
        row
        for row in db.book_checkpoints.values()
        if (row.rule, row.entity, row.at) == place and row.state is state and row.id != new.id
    ]
    for row in others:
        db.put(db.book_checkpoints, row.id, replace(row, state=_S.SUPERSEDED))
    return others


# ------------------------------------------------------------------ reads


def book_checkpoint(db: Tables, id_: str) -> BookCheckpoint | None:
    return db.book_checkpoints.get(id_)


def book_checkpoints(db: Tables, rule: str) -> list[BookCheckpoint]:
    rows = [r for r in db.book_checkpoints.values() if r.rule == rule and r.state is not _S.SUPERSEDED]
    by_place = sorted(rows, key=lambda row: (row.entity, row.state, row.id))
    return sorted(by_place, key=lambda row: row.at, reverse=True)


def signed_checkpoints(db: Tables) -> list[BookCheckpoint]:
    signed = (row for row in db.book_checkpoints.values() if row.state is _S.SIGNED)
    return sorted(signed, key=lambda row: row.id)


def changed_documents(
    db: Tables, checkpoint: str, since: datetime, until: datetime, after: str, limit: int
) -> list[ChangedDocument]:
    row = db.book_checkpoints.get(checkpoint)
    if row is None:
        return []
    changed = []
    documents: list[Foil | Observation] = [*db.foils.values(), *db.observations.values()]
    for document in documents:
        side: Side = "left" if isinstance(document, Foil) else "right"
        versions = db.versions.get((side, document.rule, document.document), ())
        present = next((v for v in versions if v.known_to is None), None)
        if document.rule != row.rule or present is None:
            continue
        former = [v for v in versions if v.known_from <= row.known and v.known_to and v.known_to > row.known]
        inside = document.entity == row.entity and document.effective[:10] <= row.at
        if not max(since, row.known) < present.known_from <= until or not (inside or former):
            continue
        changed.append(
            ChangedDocument(
                side=side,
                id=document.id,
                document=document.document,
                known_at=present.known_from,
                event=document.cause if isinstance(document, Foil) else document.event,
                before=former[0].body if former else None,
                present=present.body,
            )
        )
    return sorted((d for d in changed if d.id > after), key=lambda d: d.id)[:limit]
