"""Guard rows: cumulative limits shared by many Runs, reserved in a turn and given back by undo."""

from __future__ import annotations

from counterfoil.store.port.turns import Reserve, Turn, TurnResult
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Rollback
from counterfoil.store.sql.transaction import Tx

Guard = tuple[str, str]


async def reserve(x: Tx, u: Turn) -> None:
    """Take all reservations or none; those that this Run has already count once. Raises Rollback with `limited`."""
    if not (u.reserve or u.release):
        return
    used = await _lock(x, u)
    existing = {
        (scope, key, path)
        for scope, key, path in await x.rows(
            "select scope, key, path from reservation where run = $1 and path = any($2::text[])",
            u.run,
            sorted({r.path for r in u.reserve}),
        )
    }
    planned_use, refused = dict(used), False
    new: dict[tuple[str, str, str], Reserve] = {}
    for r in u.reserve:
        guard = (r.scope, r.key)
        if (r.scope, r.key, r.path) in existing:
            continue
        refused |= r.expected_use is not None and used[guard] != r.expected_use
        planned_use[guard] += r.amount
        refused |= r.limit is not None and planned_use[guard] > r.limit
        new.setdefault((r.scope, r.key, r.path), r)
    if refused:
        names = sorted({(r.scope, r.key) for r in u.reserve})
        raise Rollback(TurnResult(verdict="limited", used=tuple((s, k, used[s, k]) for s, k in names)))
    rows = [(r.scope, r.key, u.run, r.path, r.amount, True) for r in new.values()]
    await x.insert(t.RESERVATION, rows)
    for r in new.values():
        statement = "update guard set used = $3, most = $4 where scope = $1 and key = $2"
        await x.rows(statement, r.scope, r.key, planned_use[r.scope, r.key], r.limit)


async def _lock(x: Tx, u: Turn) -> dict[Guard, int]:
    """Lock every guard row of this turn, in order, and return its present use."""
    await x.insert(t.GUARD, sorted({(r.scope, r.key, 0, None) for r in u.reserve}), ignore=True)
    guards: set[Guard] = {(r.scope, r.key) for r in u.reserve}
    if u.release:
        statement = "select scope, key from reservation where run = $1 and path = any($2::text[])"
        back = await x.rows(statement, u.run, sorted(u.release))
        guards |= {(scope, key) for scope, key in back}
    used = {}
    for scope, key in sorted(guards):
        row = await x.one("select used from guard where scope = $1 and key = $2 for update", scope, key)
        assert row is not None
        used[scope, key] = int(row[0])
    return used


async def release(x: Tx, u: Turn) -> None:
    """Give back the reservations of these paths. A terminal Run's other reservations stay: they were consumed."""
    if not u.release:
        return
    statement = """
    update reservation set live = false
    where run = $1 and path = any($2::text[]) and live
    returning scope, key, amount
    """
    back = await x.rows(statement, u.run, sorted(u.release))
    for scope, key, amount in back:
        await x.rows("update guard set used = used - $3 where scope = $1 and key = $2", scope, key, amount)
