"""Notices of persons: written once for each mark, and marked as read."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from counterfoil.core import wire
from counterfoil.core.clock import micros
from counterfoil.core.delivery import NoticeDelivery, digest_ids, planned_deliveries
from counterfoil.core.notice import (
    NewNotice,
    Notice,
    NoticeSource,
    is_fresh,
    notice_id,
    notice_with,
    written_body,
)
from counterfoil.store.port.notices import (
    PreferenceVerdict,
    PutNoticePreferences,
    ReadNotices,
    SettleNotices,
    WriteNotices,
    mail_channels,
    read_leaf,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

_MARKS = {
    NoticeSource.CASE: ("case_", "noticed"),
    NoticeSource.DEADLINE: ("case_", "deadline_noticed"),
    NoticeSource.APPROVAL: ("approval", "noticed"),
}
"""Table and column of each mark."""
NOTICES = f"{t.NOTICE.select} where id = any($1::text[]) order by id for update"
PUT = f"""
insert into notice ({t.NOTICE.names}) values ({", ".join(f"${n}" for n in range(1, len(t.NOTICE.columns) + 1))})
on conflict (id) do update set
  {", ".join(f"{name} = excluded.{name}" for name in t.NOTICE.columns if name != "id")}
"""
WISHES = f"{t.NOTICE_PREFERENCE.select} where person = any($1::text[]) order by person"
DIGESTS = f"{t.DELIVERY.select} where id = any($1::text[]) order by id for update"
SAVE_DELIVERY = f"""
update delivery set {", ".join(f"{name} = ${n}" for n, name in enumerate(t.DELIVERY.columns, start=1))} where id = $1
"""
PUT_WISHES = f"""
insert into notice_preference ({t.NOTICE_PREFERENCE.names})
values ({", ".join(f"${n}" for n in range(1, len(t.NOTICE_PREFERENCE.columns) + 1))})
on conflict (person) do update set
  {", ".join(f"{name} = excluded.{name}" for name in t.NOTICE_PREFERENCE.columns if name != "person")}
"""
ADD_UNREAD = """
insert into notice_count (person, kind, entity, unread) values ($1, $2, $3, $4)
on conflict (person, kind, entity) do update set unread = notice_count.unread + excluded.unread
"""
MARK_READ = f"""
update notice set read_at = $3 where person = $1 and read_at is null and at <= $2 {{which}} returning {t.NOTICE.names}
"""


SETTLED = """
update notice set read_at = $1 where read_at is null and case kind
  when 'approval' then not exists (select 1 from approval a where a.id = notice.subject and a.state = 'open')
  when 'assigned' then not exists (
    select 1 from case_ c where c.id = notice.subject and c.state = 'open' and c.assignee = notice.person
  )
  else not exists (select 1 from case_ c where c.id = notice.subject and c.state = 'open')
    and not exists (select 1 from case_ c where c.cause = notice.cause and c.state = 'open')
end returning {names}
"""


@sql(WriteNotices)
async def write_notices(x: Tx, w: WriteNotices) -> int:
    """Set the marks first, in one order: a second worker waits there, and sets none of them again."""
    fresh: set[tuple[NoticeSource, str]] = set()
    for source, (table, column) in _MARKS.items():
        ids = sorted({new.subject for new in w.notices if new.source is source})
        if not ids:
            continue
        if x.dialect == "postgres":
            await x.rows(f"select 1 from {table} where id = any($1::text[]) order by id for update", ids)
        statement = (
            f"update {table} set {column} = true where id = any($1::text[]) and not {column} returning id"
        )
        fresh |= {(source, row[0]) for row in await x.rows(statement, ids)}
    return await put_notices(x, [n for n in w.notices if n.source and (n.source, n.subject) in fresh], w.at)


async def put_notices(x: Tx, notices: Sequence[NewNotice], at: datetime) -> int:
    """Write or raise the notices of each person; return how many. The caller has locked the rows they are about."""
    if not any(new.persons for new in notices):
        return 0
    await x.lock_topics(["notices"])
    names = {notice_id(p, new.kind, new.cause, new.entity) for new in notices for p in new.persons}
    former = {n.id: n for n in map(t.NOTICE.read, await x.rows(NOTICES, sorted(names)))}
    after = dict(former)
    for new in notices:
        for person in new.persons:
            id_ = notice_id(person, new.kind, new.cause, new.entity)
            after[id_] = notice_with(after.get(id_), new, person, at)
    for id_ in sorted(names):
        await x.rows(PUT, *t.NOTICE.row(after[id_]))
        x.leaf("notice.written", id_, at, "notices", written_body(after[id_]))
    # Planned with the notice; the second of two workers has no fresh mark, and a round is planned once.
    mails = mail_channels(notices)
    await _plan(
        x, [(after[i], mails.get(i, "")) for i in sorted(names) if is_fresh(former.get(i), after[i])], at
    )
    unread = [after[i] for i in names if i not in former or former[i].read_at is not None]
    await _count(x, unread, 1)
    return len(names)


@sql(ReadNotices)
async def read_notices(x: Tx, r: ReadNotices) -> int:
    await x.lock_topics(["notices"])
    args = (r.person, micros(r.until), micros(r.at))
    if r.ids is None:
        rows = await x.rows(MARK_READ.format(which=""), *args)
    else:
        rows = await x.rows(MARK_READ.format(which="and id = any($4::text[])"), *args, list(r.ids))
    notices = [t.NOTICE.read(row) for row in rows]
    if notices:
        await _count(x, notices, -1)
        body = wire.dumps(read_leaf(notices))
        x.leaf("notice.read", r.person, r.at, f"person:{r.person}", body)
    return len(notices)


@sql(SettleNotices)
async def settle_notices(x: Tx, s: SettleNotices) -> int:
    await x.lock_topics(["notices"])
    rows = await x.rows(SETTLED.format(names=t.NOTICE.names), micros(s.at))
    notices = [t.NOTICE.read(row) for row in rows]
    if notices:
        await _count(x, notices, -1)
        x.leaf("notice.settled", "notices", s.at, "notices", wire.dumps(read_leaf(notices)))
    return len(notices)


async def _plan(x: Tx, rounds: Sequence[tuple[Notice, str]], at: datetime) -> None:
    """Plan the deliveries of fresh rounds; a digest that is open takes in its notices."""
    persons = sorted({notice.person for notice, mail in rounds if mail})
    wishes = [t.NOTICE_PREFERENCE.read(row) for row in (await x.rows(WISHES, persons) if persons else [])]
    days = digest_ids(wishes, at)
    rows = [t.DELIVERY.read(row) for row in (await x.rows(DIGESTS, days) if days else [])]
    digests: dict[str, NoticeDelivery] = {row.id: row for row in rows}
    planned = planned_deliveries(rounds, {w.person: w for w in wishes}, digests, at)
    for row in planned:
        if row.id in digests:
            await x.rows(SAVE_DELIVERY, *t.DELIVERY.row(row))
    new = [t.DELIVERY.row(row) for row in planned if row.id not in digests]
    await x.insert(t.DELIVERY, new, ignore=True, returning="id")


async def _count(x: Tx, notices: Iterable[Notice], step: int) -> None:
    """Keep the counts of unread notices, in one order."""
    counts = Counter((notice.person, str(notice.kind), notice.entity) for notice in notices)
    for name, number in sorted(counts.items()):
        await x.rows(ADD_UNREAD, *name, step * number)


@sql(PutNoticePreferences)
async def put_notice_preferences(x: Tx, p: PutNoticePreferences) -> PreferenceVerdict:
    """Two changes of one person wait for each other on the row of the person."""
    new = p.preferences
    row = await x.one(f"{t.PERSON.select} where id = $1 for update", new.person)
    former = await x.one(f"{t.NOTICE_PREFERENCE.select} where person = $1", new.person)
    verdict = p.verdict(
        None if row is None else t.PERSON.read(row),
        None if former is None else t.NOTICE_PREFERENCE.read(former),
    )
    if verdict == "done":
        await x.rows(PUT_WISHES, *t.NOTICE_PREFERENCE.row(p.after))
        x.leaf("notice.preferences", new.person, p.at, f"person:{new.person}", p.body())
    return verdict
