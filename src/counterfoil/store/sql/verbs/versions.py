"""Counted use of versions: one row for each version, user and day."""

from __future__ import annotations

from counterfoil.core.clock import micros
from counterfoil.store.port.versions import CountUse
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

ADD = """
insert into version_use (name, side, who, day, count, first_at, last_at) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name, side, who, day) do update set
  count = version_use.count + excluded.count,
  first_at = case when excluded.first_at < version_use.first_at then excluded.first_at else version_use.first_at end,
  last_at = case when excluded.last_at > version_use.last_at then excluded.last_at else version_use.last_at end
"""


@sql(CountUse)
async def count_use(x: Tx, t: CountUse) -> bool:
    """Add uses in one fixed order, so that two processes do not deadlock."""
    for use in sorted(t.uses, key=lambda u: (u.name, u.side, u.who, u.day)):
        times = (micros(use.first_at), micros(use.last_at))
        await x.rows(ADD, use.name, use.side, use.who, use.day, use.count, *times)
    return True
