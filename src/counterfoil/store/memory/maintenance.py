"""Specification of expiries, Cases outside of Runs, and the audit tree."""

from __future__ import annotations

from counterfoil.core.foil import FoilState
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.foils import settle_match
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases, PutCheckpoint, Seal, SealResult


@memory(ExpireFoils)
def expire(db: Tables, t: ExpireFoils) -> int:
    moved = 0
    for id_ in t.foils:
        foil = db.foils.get(id_)
        if foil is None or foil.state not in (FoilState.OPEN, FoilState.PARTLY) or foil.due > t.at:
            continue
        settle_match(db, foil.rule, foil.key, t.at)
        if db.foils[id_].state is FoilState.BROKEN:
            moved += 1
    return moved


@memory(OpenCases)
def open_cases(db: Tables, t: OpenCases) -> int:
    return sum(open_case(db, case, t.at, t.actor) for case in t.cases)


@memory(Seal)
def seal(db: Tables, t: Seal) -> SealResult:
    count = 0
    for id_ in list(db.pending)[: t.limit]:
        index = db.frontier.append(db.leaves[id_].hash)
        db.put(db.tree, index, id_)
        db.drop(db.pending, id_)
        count += 1
    return SealResult(count=count, size=db.frontier.size, root=db.frontier.root())


@memory(PutCheckpoint)
def put_checkpoint(db: Tables, t: PutCheckpoint) -> bool:
    db.put(db.checkpoints, t.checkpoint.size, t.checkpoint)
    return True
