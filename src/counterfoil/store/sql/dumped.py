"""All rows of an SQL store as records, in the order that every store gives them."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from typing import Any, TypeVar

from counterfoil.core.clock import from_micros
from counterfoil.store.dump import Dump, GuardRow, Reservation, version_order
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import SqlTable
from counterfoil.store.sql.reads import active_release, receipts
from counterfoil.store.sql.statements import Statement, records
from counterfoil.store.sql.views import matches

R = TypeVar("R")
NOTICED = """
select 'approval', id from approval where noticed union all select 'case', id from case_ where noticed
union all select 'deadline', id from case_ where deadline_noticed order by 1, 2
"""


async def dump() -> Dump:
    async def all_of(table: SqlTable[R], order: str) -> list[R]:
        return await records(table, f"order by {order}")

    async def rows(sql: str) -> list[Any]:
        return [tuple(row) for row in await Statement(sql, ())]

    todos = await rows("select kind, ref, case when parked then wake_topic end from todo order by kind, ref")
    waits = await rows("select topic, run, since from wait order by topic, run")
    posts = await rows("select topic, event, at, body from post order by topic, event")
    leaves = await rows(
        f"select tree.idx, {t.LEAF.of('l')} from leaf l left join tree on tree.leaf = l.id order by l.rowid"
    )
    guards = await rows("select scope, key, used, most from guard order by scope, key")
    reservations = await rows(f"{t.RESERVATION.select} order by scope, key, run, path")
    return Dump(
        receipts=await receipts("true order by r.no"),
        todos=todos,
        events=await all_of(t.EVENT, "id"),
        heads=await all_of(t.HEAD, "object, key"),
        history=await all_of(t.HEAD_HISTORY, "object, key, rowid"),
        links=await all_of(t.LINK, "object, system, account, ext_id, valid_from, canonical, status"),
        runs=await all_of(t.RUN, "id"),
        inbox=await all_of(t.INBOX, "run, seq"),
        effects=await all_of(t.EFFECT, "id"),
        approvals=await all_of(t.APPROVAL, "id"),
        votes=await all_of(t.VOTE, "approval, person"),
        cases=await all_of(t.CASE, "id"),
        delegations=await all_of(t.DELEGATION, "id"),
        case_comments=await all_of(t.CASE_COMMENT, "id"),
        deliveries=await all_of(t.DELIVERY, "id"),
        notices=await all_of(t.NOTICE, "id"),
        notice_counts=await rows(
            "select person, kind, entity, unread from notice_count order by person, kind, entity"
        ),
        notice_preferences=await all_of(t.NOTICE_PREFERENCE, "person"),
        noticed=await rows(NOTICED),
        matches=await matches(10**9),
        guards=[GuardRow(scope=s, key=k, used=used, limit=most) for s, k, used, most in guards],
        reservations=[
            Reservation(scope=s, key=k, run=run, path=path, amount=amount, live=bool(live))
            for s, k, run, path, amount, live in reservations
        ],
        holds=await rows("select serial, run from hold order by serial"),
        queues=await rows("select serial, run, arrival from serial_wait order by serial, arrival, run"),
        waits=[(topic, run, None if since is None else from_micros(since)) for topic, run, since in waits],
        posts=[(topic, event, from_micros(at), body) for topic, event, at, body in posts],
        persons=await all_of(t.PERSON, "id"),
        workers=await all_of(t.WORKER, "id"),
        accounts=await all_of(t.ACCOUNT, "account"),
        quotas=await all_of(t.QUOTA, "account, worker"),
        leaves=[(row[0], t.LEAF.read(row[1:])) for row in leaves],
        pending=[row[0] for row in await rows("select leaf from pending order by rowid")],
        usage=await rows(f"{t.USAGE.select} order by source, id"),
        quarantine=await rows(f"{t.QUARANTINE.select} order by id"),
        calls=await all_of(t.CALL, "consumer, operation, key"),
        plans=await all_of(t.PLAN, "digest"),
        releases=await all_of(t.RELEASE_STEP, "no"),
        present=await active_release(),
        versions=sorted(await records(t.VERSION, ""), key=version_order),
        pairings=await all_of(t.PAIRING, "id"),
        waivers=await all_of(t.WAIVER, "id"),
        match_basis=await rows("select rule, digest from match_basis order by rule"),
        sweeps=await all_of(t.SWEEP, "id"),
        book_checkpoints=await all_of(t.BOOK_CHECKPOINT, "id"),
        swept=await rows("select sweep, receipt from swept order by sweep, receipt"),
        event_repeats=await rows("select event, receipt from event_repeat order by event, receipt"),
    )
