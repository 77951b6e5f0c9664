"""Sweeps: the row of a sweep decides who reads its book, and which page is next."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.clock import micros
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.store.port.sweeps import (
    ClaimSweep,
    EndSweep,
    ReceiveSweepPage,
    RequestSweep,
    SweepPageResult,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.intake import receive

UNDER_WAY = f"{t.SWEEP.select} where system = $1 and book = $2 and state = 'reading'"
CLAIM = f"""
update sweep set worker = $1, lease_until = $2
where id = (
  select id from sweep
  where state = 'reading' and system = any($4::text[]) and (lease_until is null or lease_until <= $3)
  order by requested_at, id limit 1 for update skip locked
)
returning {t.SWEEP.names}
"""
MOVE = f"""
update sweep set pages = pages + 1, cursor = $4, lease_until = $5
where id = $1 and worker = $2 and pages = $3 and state = 'reading' returning {t.SWEEP.names}
"""
COUNT = f"update sweep set listed = listed + $2, fresh = fresh + $3 where id = $1 returning {t.SWEEP.names}"
END = f"""
update sweep set state = $4, missing = $5, error = $6, ended_at = $7, lease_until = null
where id = $1 and worker = $2 and pages = $3 and state = 'reading' returning {t.SWEEP.names}
"""
FORGET = "delete from swept where sweep = $1"
FORGET_FORMER = """
delete from swept where sweep in (
  select id from sweep where system = $1 and book = $2 and state <> 'reading' and id <> $3
)
"""
SETTLE = """
update case_ set state = 'resolved', resolved_at = $2, resolved_by = $3, note = 'the book lists it again'
where id = any($1::text[]) and state = 'open'
"""


@sql(RequestSweep)
async def request_sweep(x: Tx, r: RequestSweep) -> Sweep:
    """Insert the sweep; the unique index of sweeps under way decides, also between processes."""
    while True:
        if await x.insert(t.SWEEP, [t.SWEEP.row(r.sweep)], ignore=True, returning="id"):
            x.leaf("sweep.requested", r.sweep.id, r.at, r.actor, wire.dumps(r.sweep.leaf_body))
            return r.sweep
        row = await x.one(UNDER_WAY, r.sweep.system, r.sweep.book)
        if row is not None:
            return t.SWEEP.read(row)


@sql(ClaimSweep)
async def claim_sweep(x: Tx, c: ClaimSweep) -> Sweep | None:
    row = await x.one(CLAIM, c.worker, micros(c.lease_until), micros(c.at), list(c.systems))
    return None if row is None else t.SWEEP.read(row)


@sql(ReceiveSweepPage)
async def receive_sweep_page(x: Tx, p: ReceiveSweepPage) -> SweepPageResult:
    row = await x.one(MOVE, p.sweep, p.worker, p.pages, p.cursor, micros(p.lease_until))
    if row is None:
        return SweepPageResult(sweep=None)
    received = await receive(x, p.receive)
    listed = [(p.sweep, no) for no in sorted(set(received.numbers))]
    await x.insert(t.SWEPT, listed, ignore=True)
    row = await x.one(COUNT, p.sweep, len(received.numbers), received.verdicts.count("new"))
    assert row is not None
    return SweepPageResult(sweep=t.SWEEP.read(row), received=received)


@sql(EndSweep)
async def end_sweep(x: Tx, e: EndSweep) -> Sweep | None:
    assert e.state is not SweepState.READING
    row = await x.one(END, e.sweep, e.worker, e.pages, e.state, e.missing, e.error, micros(e.at))
    if row is None:
        return None
    ended = t.SWEEP.read(row)
    if ended.state is SweepState.DONE:
        await x.rows(FORGET_FORMER, ended.system, ended.book, ended.id)
    else:
        await x.rows(FORGET, ended.id)
    if e.resolved:
        await x.rows(SETTLE, list(e.resolved), micros(e.at), e.actor)
    for case in e.cases:
        await x.open_case(case, e.at, e.actor)
    x.leaf("sweep.ended", ended.id, e.at, e.actor, wire.dumps(ended.leaf_body))
    return ended
