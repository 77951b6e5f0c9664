"""Findings of the progress scan: rows, each with its Case, until a scan no longer reports them."""

from __future__ import annotations

from datetime import datetime

from counterfoil.core import wire
from counterfoil.core.case import Case, CaseState
from counterfoil.core.clock import micros
from counterfoil.store.port.stalled import RecordStalled, needs_case
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import TEXTS
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.stalled_reads import PRESENT, finding_row
from counterfoil.store.sql.transaction import Tx

LOCK = "counterfoil/stuck"
CASE = f"{t.CASE.select} where id = $1"


@sql(RecordStalled)
async def record_stalled(x: Tx, s: RecordStalled) -> bool:
    """Replace the former findings. One scan at a time; the latest one counts."""
    await x.lock_topics([LOCK])
    former = {(h.stuck.kind, h.stuck.about): h for h in map(finding_row, await x.rows(PRESENT))}
    if any(h.seen_at > s.at for h in former.values()):
        return False
    for finding, case in zip(s.findings, s.cases, strict=True):
        before = former.pop((finding.kind, finding.about), None)
        first_at = s.at if before is None else before.first_at
        case_id = await _case(x, s, first_at, None if before is None else before.case, case)
        if before is not None:
            await x.rows("delete from stuck where kind = $1 and about = $2", finding.kind, finding.about)
        row = (
            finding.kind,
            finding.about,
            finding.count,
            micros(finding.since),
            TEXTS.save(finding.subjects),
            finding.owner,
            micros(first_at),
            micros(s.at),
            case_id,
        )
        await x.insert(t.STUCK, [row])
    for stall in former.values():
        await x.rows("delete from stuck where kind = $1 and about = $2", stall.stuck.kind, stall.stuck.about)
        if stall.case is not None:
            await _resolve(x, s, stall.case)
    return True


async def _case(x: Tx, s: RecordStalled, first_at: datetime, id_: str | None, case: Case) -> str | None:
    """Return the id of the finding's Case from now on; `id_` is its former Case."""
    row = None if id_ is None else await x.one(CASE, id_)
    if not needs_case(None if row is None else t.CASE.read(row), first_at, s):
        return id_
    await x.open_case(case, s.at, s.actor)
    return case.id


async def _resolve(x: Tx, s: RecordStalled, id_: str) -> None:
    row = await x.one(f"{CASE} for update", id_)
    if row is None or t.CASE.read(row).state is not CaseState.OPEN:
        return
    statement = """
    update case_ set state = 'resolved', resolved_at = $2, resolved_by = 'progress', note = 'it moves again'
    where id = $1
    """
    await x.rows(statement, id_, micros(s.at))
    x.leaf("case.resolved", id_, s.at, s.actor, wire.dumps({"note": "it moves again"}))
