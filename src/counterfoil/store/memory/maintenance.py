"""Specification of expiries, Cases outside of Runs, the audit tree, and counted use of versions."""

from __future__ import annotations

from counterfoil.core.foil import UNFINISHED_FOILS
from counterfoil.core.matching import FoilState
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.foils import settle_matches
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases, PutCheckpoint, Seal, SealResult
from counterfoil.store.port.versions import CountUse


@memory(ExpireFoils)
def expire(db: Tables, t: ExpireFoils) -> int:
    moved = 0
    for id_ in t.foils:
        foil = db.foils.get(id_)
        if foil is None or foil.state not in UNFINISHED_FOILS or foil.due > t.at:
            continue
        settle_matches(db, [(foil.rule, foil.key)], t.at)
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
        hash_ = db.leaves[id_].hash
        index = db.frontier.append(hash_)
        db.put(db.tree, index, id_)
        db.put(db.tree_hashes, index, hash_)
        db.drop(db.pending, id_)
        count += 1
    return SealResult(count=count, size=db.frontier.size, root=db.frontier.root())


@memory(PutCheckpoint)
def put_checkpoint(db: Tables, t: PutCheckpoint) -> bool:
    db.put(db.checkpoints, t.checkpoint.size, t.checkpoint)
    return True


@memory(CountUse)
def count_use(db: Tables, t: CountUse) -> bool:
    for use in t.uses:
        key = (use.name, use.side, use.who, use.day)
        count, first, last = db.version_uses.get(key, (0, use.first_at, use.last_at))
        row = (count + use.count, min(first, use.first_at), max(last, use.last_at))
        db.put(db.version_uses, key, row)
    return True
