"""Specification of recording what the progress scan found."""

from __future__ import annotations

import msgspec

from counterfoil.core import wire
from counterfoil.core.case import CaseState
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.stalled import RecordStalled, StalledFinding, needs_case


@memory(RecordStalled)
def record_stalled(db: Tables, t: RecordStalled) -> bool:
    if any(row.seen_at > t.at for row in db.stalled.values()):
        return False
    former = dict(db.stalled)
    for finding, case in zip(t.findings, t.cases, strict=True):
        key = (finding.kind, finding.about)
        before = former.pop(key, None)
        first_at = t.at if before is None else before.first_at
        case_id = None if before is None else before.case
        if needs_case(db.cases.get(case_id) if case_id else None, first_at, t):
            open_case(db, case, t.at, t.actor)
            case_id = case.id
        row = StalledFinding(stuck=finding, first_at=first_at, seen_at=t.at, case=case_id)
        db.put(db.stalled, key, row)
    for key, row in sorted(former.items()):
        db.drop(db.stalled, key)
        stuck_case = db.cases.get(row.case) if row.case else None
        if stuck_case is not None and stuck_case.state is CaseState.OPEN:
            note = "it moves again"
            done = msgspec.structs.replace(
                stuck_case, state=CaseState.RESOLVED, resolved_at=t.at, resolved_by="progress", note=note
            )
            db.put(db.cases, done.id, done)
            db.leaf("case.resolved", done.id, t.at, t.actor, wire.dumps({"note": note}))
    return True
