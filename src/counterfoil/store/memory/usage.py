"""Specification of usage batches."""

from __future__ import annotations

from counterfoil.core.usage import same_content
from counterfoil.store.memory.cases import count_case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port import usage
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult


@memory(StoreUsage)
def store_usage(db: Tables, t: StoreUsage) -> StoreUsageResult:
    accepted, clashes, repeated = [], [], 0
    for place, row in enumerate(t.rows):
        former = db.usage.get(row[:2])
        if former is None:
            db.put(db.usage, row[:2], row)
            accepted.append(row)
        elif same_content(former[7], row[7]):
            repeated += 1
        else:
            clashes.append(place)
    aside = []
    for refused in (*t.refused, *(usage.clash(t.rows[place]) for place in clashes)):
        if refused.key not in db.quarantine:
            db.put(db.quarantine, refused.key, usage.quarantine_row(t, refused))
            aside.append(refused)
    for case in usage.cases_of(t, aside):
        count_case(db, case, t.at, t.actor)
    if accepted or aside:
        body = usage.leaf_of(accepted, repeated, len(aside))
        db.leaf("usage.kept", t.batch, t.at, t.actor, body)
    return StoreUsageResult(accepted=len(accepted), repeated=repeated, clashes=tuple(clashes))
