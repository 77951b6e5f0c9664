"""Recorded traffic in SQL, once for both stores: a page of deliveries with everything they led to, set by set."""

from __future__ import annotations

from collections import defaultdict

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
from counterfoil.store.sql.reads import receipts
from counterfoil.store.sql.statements import Statement, records

_PAGE = f"""
r.no > $1 and r.received_at >= $2 and r.received_at < $3
and r.door not in ({", ".join(repr(d) for d in NO_DELIVERY)}) order by r.no limit $4
"""
_EVENTS = "where received_at >= $1 and received_at <= $2 and receipt = any($3::bigint[]) order by rowid"
_LINKS = """
where object = $1 and canonical = any($2::text[]) and status = 'confirmed' order by valid_from, ext_id
"""
_OF_RUNS = "where run = any($1::text[]) order by rowid"
_RESERVED = """
select o.scope, o.key, o.run, run.arrival, o.amount from reservation o join run on run.id = o.run
where o.live and (o.scope, o.key) in (
  select scope, key from reservation where run = any($1::text[]) and live
)
"""


async def traffic(of: DeliveryFilter) -> tuple[list[RecordedDelivery], int | None]:
    after = of.after
    if after is None:
        rows = await Statement("select min(no) from receipt where received_at >= $1", (micros(of.since),))
        if not rows or rows[0][0] is None:
            return [], None
        after = int(rows[0][0]) - 1
    deliveries = await receipts(_PAGE, after, micros(of.since), micros(of.until), of.limit)
    if not deliveries:
        return [], None
    rows_of_page = RecordedPage(receipts=deliveries)
    names = [f"{operation}:{r.no}" for operation in of.fetches for r in deliveries]
    if names:
        rows_of_page.fetched = await receipts("r.door = 'fetch' and r.type = any($1::text[])", names)
    times, numbers = [micros(r.received_at) for r in deliveries], [r.no for r in deliveries]
    rows_of_page.events = await records(t.EVENT, _EVENTS, min(times), max(times), numbers)
    if rows_of_page.events:
        await _runs(rows_of_page)
        await _around(rows_of_page)
    for object_ in of.calendars:
        history = await records(t.HEAD_HISTORY, "where object = $1 order by rowid", object_)
        rows_of_page.calendars = [*rows_of_page.calendars, *history]
    return assemble(rows_of_page), deliveries[-1].no if len(deliveries) == of.limit else None


async def _runs(rows_of_page: RecordedPage) -> None:
    """Read the Runs that the page's events started, with their rows."""
    sql = "select run, ref from inbox where kind = 'start' and seq = 1 and ref = any($1::text[])"
    births = await Statement(sql, ([event.id for event in rows_of_page.events],))
    rows_of_page.births = {row[0]: row[1] for row in births}
    ids = list(rows_of_page.births)
    if not ids:
        return
    rows_of_page.runs = await records(t.RUN, "where id = any($1::text[])", ids)
    items = "where run = any($1::text[]) and kind = 'event' order by run, seq"
    rows_of_page.inbox = await records(t.INBOX, items, ids)
    rows_of_page.effects = await records(t.EFFECT, _OF_RUNS, ids)
    rows_of_page.approvals = await records(t.APPROVAL, _OF_RUNS, ids)
    sql = "select run, count(*) from case_ where run = any($1::text[]) group by run"
    cases = await Statement(sql, (ids,))
    rows_of_page.cases = {row[0]: int(row[1]) for row in cases}
    rows_of_page.reserved = [tuple(row) for row in await Statement(_RESERVED, (ids,))]


async def _around(rows_of_page: RecordedPage) -> None:
    """Read Links and heads of the objects that the page's events name."""
    named: dict[str, list[str]] = defaultdict(list)
    for object_, key in sorted(spoken(rows_of_page.events)):
        named[object_].append(key)
    for object_, keys in named.items():
        rows_of_page.links = [*rows_of_page.links, *await records(t.LINK, _LINKS, object_, keys)]
        heads = "where object = $1 and key = any($2::text[]) order by rowid"
        rows_of_page.history = [*rows_of_page.history, *await records(t.HEAD_HISTORY, heads, object_, keys)]
