"""Notices of persons, and the rows that have none yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from counterfoil.core.clock import micros
from counterfoil.core.notice import Notice
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.store.port.notices import NoticeFilter, Unnoticed, UnreadCount
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, record, records
from counterfoil.store.sql.views import targets

_DAY_MICROS = timedelta(days=1) // timedelta(microseconds=1)


async def unnoticed(at: datetime, limit: int) -> Unnoticed:
    oldest = "where not noticed order by created_at, id limit $1"
    cases = await records(t.CASE, oldest, limit)
    approvals = await records(t.APPROVAL, oldest, limit)
    near = """
    where state = 'open' and not deadline_noticed
      and deadline <= $1 and deadline - $2 <= (deadline - created_at) / 4 order by deadline, id limit $3
    """
    now = micros(at)
    deadlines = await records(t.CASE, near, now + _DAY_MICROS, now, limit)
    return Unnoticed(await targets(cases), approvals, await targets(deadlines))


async def notices(page: NoticeFilter) -> tuple[list[Notice], str | None]:
    """Return the newest notices that fit, and the cursor of the next page."""
    args: list[Any] = [page.person]
    scopes = []
    for kinds, entities in page.scopes:
        args.append(list(kinds))
        clause = f"kind = any(${len(args)}::text[])"
        if entities is not None:
            args.append(list(entities))
            clause += f" and entity = any(${len(args)}::text[])"
        scopes.append(f"({clause})")
    clauses = ["person = $1", f"({' or '.join(scopes) or 'false'})"]
    if page.unread:
        clauses.append("read_at is null")
    if page.cursor is not None:
        at, _, id_ = page.cursor.partition(".")
        args += [int(at), id_]
        clauses.append(f"(at, id) < (${len(args) - 1}, ${len(args)})")
    args.append(page.limit + 1)
    which = f"where {' and '.join(clauses)} order by at desc, id desc limit ${len(args)}"
    rows = await records(t.NOTICE, which, *args)
    last = rows[page.limit - 1] if len(rows) > page.limit else None
    return rows[: page.limit], None if last is None else f"{micros(last.at)}.{last.id}"


async def notice_preferences(person: str) -> NoticePreferences | None:
    return await record(t.NOTICE_PREFERENCE, "where person = $1", person)


async def unread_counts(person: str) -> list[UnreadCount]:
    statement = (
        "select kind, entity, unread from notice_count where person = $1 and unread <> 0 order by 1, 2"
    )
    return [
        UnreadCount(kind, entity, unread) for kind, entity, unread in await Statement(statement, (person,))
    ]
