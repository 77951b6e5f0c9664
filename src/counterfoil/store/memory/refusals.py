"""Specification of refused attempts: each is counted, and leaves a leaf within the limit."""

from __future__ import annotations

from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.refusals import REFUSAL_LEAVES, REFUSAL_WINDOW, RecordRefusal, RefusedAttempt


def refuse(db: Tables, attempt: RefusedAttempt) -> bool:
    if not attempt.person:
        db.leaf(attempt.kind, attempt.subject, attempt.at, attempt.actor, attempt.body(1), run=attempt.run)
        return True
    key = (attempt.person, attempt.action)
    since, recent, total = db.refusals.get(key, (attempt.at, 0, 0))
    if since <= attempt.at - REFUSAL_WINDOW:
        since, recent = attempt.at, 0
    db.put(db.refusals, key, (since, recent + 1, total + 1))
    if recent >= REFUSAL_LEAVES:
        return False
    body = attempt.body(total + 1)
    db.leaf(attempt.kind, attempt.subject, attempt.at, attempt.actor, body, run=attempt.run)
    return True


@memory(RecordRefusal)
def record_refusal(db: Tables, t: RecordRefusal) -> bool:
    return refuse(db, t.attempt)
