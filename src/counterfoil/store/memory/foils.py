"""Parts of several transitions: foils opened, settled and moved."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.cases import case_of_break
from counterfoil.core.foil import FOIL_MOVES, UNFINISHED_FOILS, Foil, FoilState, settle
from counterfoil.core.moves import check_move
from counterfoil.store.memory.cases import open_case, resolve_cases_of_foil
from counterfoil.store.memory.runs import append
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.records import NewInboxItem


def settle_match(db: Tables, rule: str, key: str, at: datetime) -> None:
    """Match one row; foils that move append `foil` to their Run."""
    foils = [f for f in db.foils.values() if (f.rule, f.key) == (rule, key)]
    observations = [o for o in db.observations.values() if (o.rule, o.key) == (rule, key)]
    settlement = settle(foils, observations, at)
    db.put(db.allocations, (rule, key), settlement.allocations)
    for foil in foils:
        state = settlement.states.get(foil.id, foil.state)
        if state is foil.state:
            continue
        move_foil(db, foil, state, settlement.reasons.get(foil.id, ""), at)


def move_foil(db: Tables, foil: Foil, state: FoilState, reason: str, at: datetime) -> None:
    check_move(FOIL_MOVES, foil.state, state, foil.id)
    settled = None if state in UNFINISHED_FOILS else at
    moved = replace(foil, state=state, reason=reason, settled_at=settled)
    db.put(db.foils, foil.id, moved)
    db.leaf(f"foil.{state}", foil.id, at, "matching", wire.dumps({"reason": reason}), run=foil.run)
    if state is FoilState.MATCHED:
        resolve_cases_of_foil(db, foil.id, at)
    if state in (FoilState.BROKEN, FoilState.OVER):
        open_case(db, case_of_break(foil, state, reason, at), at, "matching")
    if foil.run is not None and state not in (FoilState.OPEN, FoilState.VOID):
        body = wire.dumps({"foil": foil.id, "rule": foil.rule, "state": str(state), "effect": foil.effect})
        version = len([1 for (r, k, _) in db.inbox_refs if r == foil.run and k == "foil"])
        append(db, NewInboxItem(run=foil.run, kind="foil", ref=f"{foil.id}:{state}:{version}", body=body), at)


def open_foil(db: Tables, foil: Foil) -> None:
    row = db.foils.get(foil.id)
    if row is None:
        db.put(db.foils, foil.id, foil)
    elif row.state is FoilState.PROVISIONAL and foil.state is FoilState.OPEN:
        db.put(db.foils, foil.id, replace(row, state=FoilState.OPEN, legs=foil.legs))


def foils_of_effect(db: Tables, effect: str) -> list[Foil]:
    return [f for f in db.foils.values() if f.effect == effect]
