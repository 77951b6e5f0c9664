"""Recorded traffic in SQL, once for both stores: a page of deliveries with everything they led to, set by set."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeVar

from counterfoil.core.canonical import Receipt
from counterfoil.core.clock import micros
from counterfoil.store.port.recorded import (
    NO_DELIVERY,
    DeliveryFilter,
    RecordedDelivery,
    RecordedPage,
    assemble,
    spoken,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import HEADERS, SqlTable
from counterfoil.store.sql.statements import Row, Statement

R = TypeVar("R")

_RECEIPT = (
    f"select {t.RECEIPT.of('r')}, r.no, b.headers, b.body from receipt r join receipt_body b on b.no = r.no"
)
_PAGE = f"""
{_RECEIPT} where r.no > $1 and r.received_at >= $2 and r.received_at < $3 and r.door not in ({", ".join(repr(d) for d in NO_DELIVERY)})
order by r.no limit $4
"""
_EVENTS = f"""
select {t.EVENT.names} from event
where received_at >= $1 and received_at <= $2 and receipt = any($3::bigint[]) order by rowid
"""
_RESERVED = """
select o.scope, o.key, o.run, run.arrival, o.amount from reservation o join run on run.id = o.run
where o.live and (o.scope, o.key) in (
  select scope, key from reservation where run = any($1::text[]) and live
)
"""


async def traffic(of: DeliveryFilter) -> tuple[list[RecordedDelivery], int | None]:
    """Return a page, and the number after which the next one begins; None: it was the last."""
    after = of.after
    if after is None:
        rows = await Statement("select min(no) from receipt where received_at >= $1", (micros(of.since),))
        if not rows or rows[0][0] is None:
            return [], None
        after = int(rows[0][0]) - 1
    page = await Statement(_PAGE, (after, micros(of.since), micros(of.until), of.limit))
    receipts = [_receipt(row) for row in page]
    if not receipts:
        return [], None
    rows_of_page = RecordedPage(receipts=receipts)
    names = [f"{operation}:{r.no}" for operation in of.fetches for r in receipts]
    if names:
        sql = f"{_RECEIPT} where r.door = 'fetch' and r.type = any($1::text[])"
        rows_of_page.fetched = [_receipt(row) for row in await Statement(sql, (names,))]
    times = [micros(r.received_at) for r in receipts]
    rows_of_page.events = await _all(t.EVENT, _EVENTS, min(times), max(times), [r.no for r in receipts])
    if rows_of_page.events:
        await _runs(rows_of_page)
        await _around(rows_of_page)
    for object_ in of.calendars:
        sql = f"select {t.HEAD_HISTORY.names} from head_history where object = $1 order by rowid"
        rows_of_page.calendars = [*rows_of_page.calendars, *await _all(t.HEAD_HISTORY, sql, object_)]
    return assemble(rows_of_page), receipts[-1].no if len(receipts) == of.limit else None


async def _runs(rows_of_page: RecordedPage) -> None:
    """Read the Runs that the page's events started, with their rows."""
    sql = "select run, ref from inbox where kind = 'start' and seq = 1 and ref = any($1::text[])"
    births = await Statement(sql, ([event.id for event in rows_of_page.events],))
    rows_of_page.births = {row[0]: row[1] for row in births}
    ids = list(rows_of_page.births)
    if not ids:
        return
    rows_of_page.runs = await _all(t.RUN, f"select {t.RUN.names} from run where id = any($1::text[])", ids)
    rows_of_page.inbox = await _all(
        t.INBOX,
        f"select {t.INBOX.names} from inbox where run = any($1::text[]) and kind = 'event' order by run, seq",
        ids,
    )
    rows_of_page.effects = await _all(
        t.EFFECT, f"select {t.EFFECT.names} from effect where run = any($1::text[]) order by rowid", ids
    )
    rows_of_page.approvals = await _all(
        t.APPROVAL, f"select {t.APPROVAL.names} from approval where run = any($1::text[]) order by rowid", ids
    )
    cases = await Statement(
        "select run, count(*) from case_ where run = any($1::text[]) group by run", (ids,)
    )
    rows_of_page.cases = {row[0]: int(row[1]) for row in cases}
    rows_of_page.reserved = [tuple(row) for row in await Statement(_RESERVED, (ids,))]


async def _around(rows_of_page: RecordedPage) -> None:
    """Read Links and heads of the objects that the page's events name."""
    named: dict[str, list[str]] = defaultdict(list)
    for object_, key in sorted(spoken(rows_of_page.events)):
        named[object_].append(key)
    for object_, keys in named.items():
        links = f"""
        select {t.LINK.names} from link
        where object = $1 and canonical = any($2::text[]) and status = 'confirmed' order by valid_from, ext_id
        """
        rows_of_page.links = [*rows_of_page.links, *await _all(t.LINK, links, object_, keys)]
        heads = f"""
        select {t.HEAD_HISTORY.names} from head_history
        where object = $1 and key = any($2::text[]) order by rowid
        """
        rows_of_page.history = [*rows_of_page.history, *await _all(t.HEAD_HISTORY, heads, object_, keys)]


async def _all(table: SqlTable[R], sql: str, *args: Any) -> list[R]:
    return [table.read(row) for row in await Statement(sql, args)]


def _receipt(row: Row) -> Receipt:
    *_, no, headers, body = row
    return t.RECEIPT.read(row, no=no, headers=HEADERS.load(headers), body=body)
