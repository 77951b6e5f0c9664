"""Maintenance: expiries, Cases outside of Runs, the tree of leaves, its checkpoints, and counted use of versions."""

from __future__ import annotations

import msgspec

from counterfoil.core.audit import Frontier
from counterfoil.core.clock import micros
from counterfoil.core.foil import UNFINISHED_FOILS
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases, PutCheckpoint, Seal, SealResult
from counterfoil.store.port.versions import CountUse
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.matches import settle_matches
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.people import FOIL

ADD_USE = """
insert into version_use (name, side, who, day, count, first_at, last_at) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name, side, who, day) do update set
  count = version_use.count + excluded.count,
  first_at = case when excluded.first_at < version_use.first_at then excluded.first_at else version_use.first_at end,
  last_at = case when excluded.last_at > version_use.last_at then excluded.last_at else version_use.last_at end
"""
_NODES = msgspec.json.Decoder(list[str])


@sql(ExpireFoils)
async def expire(x: Tx, e: ExpireFoils) -> int:
    """Settle foils past due to broken, unless the other half has arrived."""
    await _lock(x, e)
    moved = 0
    for id_ in e.foils:
        row = await x.one(FOIL, id_)
        if row is None:
            continue
        foil = t.FOIL.read(row)
        if foil.state not in UNFINISHED_FOILS or foil.due > e.at:
            continue
        await settle_matches(x, [(foil.rule, foil.key)], e.at)
        if await x.one("select 1 from foil where id = $1 and state = 'broken'", id_):
            moved += 1
    return moved


async def _lock(x: Tx, e: ExpireFoils) -> None:
    if x.dialect == "sqlite":
        return
    rows = await x.rows("select rule, key from foil where id = any($1::text[])", sorted(e.foils))
    matches = {(rule, key) for rule, key in rows}
    await x.lock_matches(matches)
    await x.lock_runs((), (), matches)


@sql(OpenCases)
async def open_cases(x: Tx, o: OpenCases) -> int:
    return sum([await x.open_case(case, o.at, o.actor) for case in o.cases])


@sql(Seal)
async def seal(x: Tx, s: Seal) -> SealResult:
    """Give pending leaves their tree index. The row of the tree's edge is the lock of the log."""
    edge = await x.one("select size, nodes from tree_edge where one = 1 for update")
    assert edge is not None
    frontier = Frontier(edge[0], [bytes.fromhex(node) for node in _NODES.decode(edge[1])])
    pending = await x.rows("select rowid, leaf, hash from pending order by rowid limit $1", s.limit)
    if pending:
        places = [(frontier.append(bytes(hash_)), leaf, bytes(hash_)) for _, leaf, hash_ in pending]
        await x.insert(t.TREE, places)
        await x.rows("delete from pending where rowid = any($1::bigint[])", [row[0] for row in pending])
        nodes = msgspec.json.encode([node.hex() for node in frontier.nodes]).decode()
        await x.rows("update tree_edge set size = $1, nodes = $2 where one = 1", frontier.size, nodes)
    return SealResult(count=len(pending), size=frontier.size, root=frontier.root())


@sql(PutCheckpoint)
async def put_checkpoint(x: Tx, p: PutCheckpoint) -> bool:
    statement = """
    insert into checkpoint (size, root, at, text) values ($1, $2, $3, $4)
    on conflict (size) do update set root = excluded.root, at = excluded.at, text = excluded.text
    """
    await x.rows(statement, *t.CHECKPOINT.row(p.checkpoint))
    return True


@sql(CountUse)
async def count_use(x: Tx, c: CountUse) -> bool:
    """Add uses in one fixed order, so that two processes do not deadlock."""
    for use in sorted(c.uses, key=lambda u: (u.name, u.side, u.who, u.day)):
        times = (micros(use.first_at), micros(use.last_at))
        await x.rows(ADD_USE, use.name, use.side, use.who, use.day, use.count, *times)
    return True
