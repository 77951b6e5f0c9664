"""Serial keys: one holder, and a queue in order of arrival behind it."""

from __future__ import annotations

from counterfoil.core.clock import micros
from counterfoil.store.port.turns import Turn
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.transaction import Tx

IDLE = "update run set due = null, owner = null, lease_until = null where id = $1"
NEXT = "select run from serial_wait where serial = $1 order by arrival, run limit 1"
WAKE = "update run set due = case when due <= $2 then due else $2 end where id = $1"


async def hold(x: Tx, u: Turn, arrival: int) -> bool:
    """Take every serial requested; or none, and queue for those that other Runs hold.

    A holder's row is locked while this Run queues behind it, so its release comes after the new place in the queue or
    has left the serial free. A serial taken between the read and the insert is read again.
    """
    missing, acquired = set(u.hold), list[str]()
    while missing:
        statement = "select serial, run from hold where serial = any($1::text[]) order by serial for update"
        rows = await x.rows(statement, sorted(missing))
        missing -= {serial for serial, run in rows if run == u.run}
        blocked = sorted(serial for serial, run in rows if run != u.run)
        if blocked:
            await x.rows("delete from hold where serial = any($1::text[])", acquired)
            await x.insert(t.SERIAL_WAIT, [(serial, u.run, arrival) for serial in blocked], ignore=True)
            await x.rows(IDLE, u.run)
            return False
        rows = [(serial, u.run) for serial in sorted(missing)]
        got = [r[0] for r in await x.insert(t.HOLD, rows, ignore=True, returning="serial")]
        acquired += got
        missing -= set(got)
    await x.rows("delete from serial_wait where run = $1 and serial = any($2::text[])", u.run, sorted(u.hold))
    return True


async def unhold(x: Tx, u: Turn) -> list[str]:
    """Release this Run's serials; the Run that arrived first in each queue becomes due."""
    freed = await x.rows(
        "delete from hold where run = $1 and serial = any($2::text[]) returning serial", u.run, list(u.unhold)
    )
    return await _wake_next(x, sorted(r[0] for r in freed), u)


async def refuse_held(x: Tx, u: Turn) -> None:
    """Raise ValueError when a Run would end while it holds a serial: no other Run could get it."""
    rows = await x.rows("select serial from hold where run = $1 order by serial", u.run)
    if rows:
        raise ValueError(f"{u.run} would end and hold {', '.join(row[0] for row in rows)}")


async def leave_queues(x: Tx, u: Turn) -> list[str]:
    left = await x.rows("delete from serial_wait where run = $1 returning serial", u.run)
    serials = sorted(r[0] for r in left)
    if not serials:
        return []
    holds = await x.rows("select serial from hold where serial = any($1::text[]) for update", serials)
    return await _wake_next(x, sorted(set(serials) - {r[0] for r in holds}), u)


async def _wake_next(x: Tx, serials: list[str], u: Turn) -> list[str]:
    woken = []
    for serial in serials:
        for (run,) in await x.rows(NEXT, serial):
            await x.rows(WAKE, run, micros(u.at))
            woken.append(run)
    return woken
