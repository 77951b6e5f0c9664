"""Specification of counted version use."""

from __future__ import annotations

from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.versions import CountUse


@memory(CountUse)
def count_use(db: Tables, t: CountUse) -> bool:
    for use in t.uses:
        key = (use.name, use.side, use.who, use.day)
        count, first, last = db.version_uses.get(key, (0, use.first_at, use.last_at))
        row = (count + use.count, min(first, use.first_at), max(last, use.last_at))
        db.put(db.version_uses, key, row)
    return True
