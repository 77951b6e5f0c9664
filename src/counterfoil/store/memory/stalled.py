"""Specification of recording what the progress scan found."""

from __future__ import annotations

import msgspec

from counterfoil.core import wire
from counterfoil.core.case import CaseState
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.stalled import (
    RecordStalled,
    StalledFinding,
    opens,
)


@memory(RecordStalled)
def record_stalled(db: Tables, t: RecordStalled) -> bool:
    if any(held.seen_at > t.at for held in db.stalled.values()):
        return False
    gone = dict(db.stalled)
    for found, case in zip(t.found, t.cases, strict=True):
        key = (found.kind, found.about)
        before = gone.pop(key, None)
        first_at = t.at if before is None else before.first_at
        named = None if before is None else before.case
        if opens(db.cases.get(named) if named else None, first_at, t):
            open_case(db, case, t.at, t.actor)
            named = case.id
        row = StalledFinding(stuck=found, first_at=first_at, seen_at=t.at, case=named)
        db.put(db.stalled, key, row)
    for key, held in sorted(gone.items()):
        db.drop(db.stalled, key)
        stuck_case = db.cases.get(held.case) if held.case else None
        if stuck_case is not None and stuck_case.state is CaseState.OPEN:
            note = "it moves again"
            done = msgspec.structs.replace(
                stuck_case, state=CaseState.RESOLVED, resolved_at=t.at, resolved_by="progress", note=note
            )
            db.put(db.cases, done.id, done)
            db.leaf("case.resolved", done.id, t.at, t.actor, wire.dumps({"note": note}))
    return True
