"""Checkpoints of the books: unique indexes hold one of each state at a cut-off, and a condition holds two persons apart."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.book_checkpoint import control_case_id, defect_case_id
from counterfoil.core.clock import micros
from counterfoil.store.port.book_checkpoints import (
    PrepareCheckpoint,
    ReportChange,
    SignCheckpoint,
    SignVerdict,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

SUPERSEDE = f"""
update book_checkpoint set state = 'superseded' where rule = $1 and entity = $2 and at = $3 and state = $4 and id <> $5
returning {t.BOOK_CHECKPOINT.names}
"""
READ = f"{t.BOOK_CHECKPOINT.select} where id = $1 for update"
SIGN = f"""
update book_checkpoint set state = 'signed', signed_at = $2, signed_by = $3, note = $4
where id = $1 and state = 'prepared' and prepared_by <> $3 returning {t.BOOK_CHECKPOINT.names}
"""
LAST_SIGNED = """
select max(at) from book_checkpoint where rule = $1 and entity = $2 and at < $3 and state = 'signed'
"""
REPORT = "update book_checkpoint set reported = $2, change_case = $3 where id = $1"
OPEN = "select id from case_ where id = $1 and state = 'open'"
SETTLE = """
update case_ set state = 'resolved', resolved_at = $2, resolved_by = $3, note = $4
where id = $1 and state = 'open'
"""


@sql(PrepareCheckpoint)
async def prepare_checkpoint(x: Tx, p: PrepareCheckpoint) -> bool:
    new = p.checkpoint
    if await x.one(READ, new.id) is not None:
        return True
    for row in await x.rows(SUPERSEDE, new.rule, new.entity, new.at, "prepared", new.id):
        former = t.BOOK_CHECKPOINT.read(row)
        for case in (defect_case_id(former.id), control_case_id(former.id)):
            await x.rows(SETTLE, case, micros(p.at), p.actor, "it was prepared again")
    if not await x.insert(t.BOOK_CHECKPOINT, [t.BOOK_CHECKPOINT.row(new)], ignore=True, returning="id"):
        return False
    x.leaf("book_checkpoint.prepared", new.id, p.at, p.actor, wire.dumps(new.leaf_body))
    for opened in p.cases:
        await x.open_case(opened, p.at, p.actor)
    return True


@sql(SignCheckpoint)
async def sign_checkpoint(x: Tx, s: SignCheckpoint) -> SignVerdict:
    row = await x.one(READ, s.checkpoint)
    former = None if row is None else t.BOOK_CHECKPOINT.read(row)
    if former is None or former.state != "prepared":
        return "gone"
    if former.prepared_by == s.person:
        return "own"
    before = await x.one(LAST_SIGNED, former.rule, former.entity, former.at)
    if (before[0] or "" if before else "") != s.after:
        return "period"
    for old in await x.rows(SUPERSEDE, former.rule, former.entity, former.at, "signed", former.id):
        case = t.BOOK_CHECKPOINT.read(old).change_case
        await x.rows(SETTLE, case, micros(s.at), s.actor, "the checkpoint was signed again")
    signed = await x.one(SIGN, s.checkpoint, micros(s.at), s.person, s.note)
    assert signed is not None
    body = t.BOOK_CHECKPOINT.read(signed).leaf_body
    x.leaf("book_checkpoint.signed", s.checkpoint, s.at, s.actor, wire.dumps(body))
    return "signed"


@sql(ReportChange)
async def report_change(x: Tx, r: ReportChange) -> bool:
    row = await x.one(READ, r.checkpoint)
    before = None if row is None else t.BOOK_CHECKPOINT.read(row)
    if before is None or before.state != "signed" or before.reported >= r.reported:
        return False
    if before.change_case and await x.one(OPEN, before.change_case) is not None:
        await x.rows(REPORT, r.checkpoint, micros(r.reported), before.change_case)
        return False
    await x.rows(REPORT, r.checkpoint, micros(r.reported), r.case.id)
    return await x.open_case(r.case, r.at, r.actor)
