"""What the progress scan found: kept as rows, each with its Case, until a scan finds it gone."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from datetime import datetime

from counterfoil.core import wire
from counterfoil.core.case import Case, CaseState
from counterfoil.core.clock import micros
from counterfoil.store.port.stalled import RecordStalled, opens
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import TEXTS
from counterfoil.store.sql.progress_scan import PRESENT, held_row
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

LOCK = "counterfoil/stuck"
CASE = f"select {t.CASE.names} from case_ where id = $1"


@sql(RecordStalled)
async def tell(x: Tx, s: RecordStalled) -> bool:
    """Replace what was found before. One teller at a time, the latest scan's word counts."""
    await x.lock_topics([LOCK])
    held = {(h.stuck.kind, h.stuck.about): h for h in map(held_row, await x.rows(PRESENT))}
    if any(h.seen_at > s.at for h in held.values()):
        return False
    for found, case in zip(s.found, s.cases, strict=True):
        before = held.pop((found.kind, found.about), None)
        first_at = s.at if before is None else before.first_at
        named = await _case(x, s, first_at, None if before is None else before.case, case)
        if before is not None:
            await x.rows("delete from stuck where kind = $1 and about = $2", found.kind, found.about)
        row = (
            found.kind,
            found.about,
            found.count,
            micros(found.since),
            TEXTS.save(found.subjects),
            found.owner,
            micros(first_at),
            micros(s.at),
            named,
        )
        await x.insert(t.STUCK, [row])
    for gone in held.values():
        await x.rows("delete from stuck where kind = $1 and about = $2", gone.stuck.kind, gone.stuck.about)
        if gone.case is not None:
            await _resolve(x, s, gone.case)
    return True


async def _case(x: Tx, s: RecordStalled, first_at: datetime, id_: str | None, case: Case) -> str | None:
    """The id of the Case that it has from now on; `id_` is the one that it had."""
    row = None if id_ is None else await x.one(CASE, id_)
    if not opens(None if row is None else t.CASE.read(row), first_at, s):
        return id_
    await x.open_case(case, s.at, s.actor)
    return case.id


async def _resolve(x: Tx, s: RecordStalled, id_: str) -> None:
    row = await x.one(f"{CASE} for update", id_)
    if row is None or t.CASE.read(row).state is not CaseState.OPEN:
        return
    await x.rows(
        """
        update case_ set state = 'resolved', resolved_at = $2, resolved_by = 'progress', note = 'it moves again'
        where id = $1
        """,
        id_,
        micros(s.at),
    )
    x.leaf("case.resolved", id_, s.at, s.actor, wire.dumps({"note": "it moves again"}))
