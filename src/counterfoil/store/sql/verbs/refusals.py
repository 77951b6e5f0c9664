"""Refused attempts of persons: count each one, and add a leaf within the limit."""

from __future__ import annotations

from counterfoil.core.clock import micros
from counterfoil.store.port.refusals import REFUSAL_LEAVES, REFUSAL_WINDOW, RecordRefusal, RefusedAttempt
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

COUNT = """
insert into refusal (person, action, since, recent, total) values ($1, $2, $3, 1, 1)
on conflict (person, action) do update set
  since = case when refusal.since <= $4 then excluded.since else refusal.since end,
  recent = case when refusal.since <= $4 then 1 else refusal.recent + 1 end,
  total = refusal.total + 1
returning recent, total
"""


async def refuse(x: Tx, attempt: RefusedAttempt) -> bool:
    """Record a refusal within the transaction that refuses. Return True if it left a leaf."""
    if not attempt.person:
        x.leaf(attempt.kind, attempt.subject, attempt.at, attempt.actor, attempt.body(1), run=attempt.run)
        return True
    over = micros(attempt.at - REFUSAL_WINDOW)
    ((recent, total),) = await x.rows(COUNT, attempt.person, attempt.action, micros(attempt.at), over)
    if recent > REFUSAL_LEAVES:
        return False
    body = attempt.body(total)
    x.leaf(attempt.kind, attempt.subject, attempt.at, attempt.actor, body, run=attempt.run)
    return True


@sql(RecordRefusal)
async def record_refusal(x: Tx, r: RecordRefusal) -> bool:
    return await refuse(x, r.attempt)
