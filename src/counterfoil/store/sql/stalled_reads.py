"""The progress scan's reads in SQL, once for both stores: rows that have waited for too long, selected by index.

Partial indexes contain only unfinished rows, and rows within their time are never read: a million parked Runs cost
nothing here.
"""
# ruff: noqa: S608 - only constants are put into statements

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from counterfoil.core.clock import from_micros, micros
from counterfoil.core.run import LANES
from counterfoil.store.port.stalled import (
    MAX_SCANNED_ROWS,
    MAX_SUBJECTS,
    StalledFinding,
    StalledGroup,
    StalledSubject,
    StallLimits,
    group_subjects,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import TEXTS
from counterfoil.store.sql.statements import Row, Statement

DUE = """
select workflow, id, due, owner, lease_until from run
where lane = $3 and due is not null and due < $1 order by due, arrival limit $2
"""
LOST = f"""
select r.workflow, r.id, coalesce(r.now, r.created_at) from (
  select workflow, id, now, created_at from run
  where due is null and status in {t.RUN_ACTIVE} order by arrival limit $3
) as r
where coalesce(r.now, r.created_at) < $1
  and not exists (select 1 from serial_wait w where w.run = r.id)
  and not exists (
    select 1 from effect e where e.run = r.id and e.state in {t.EFFECT_UNFINISHED}
  )
  and not exists (select 1 from case_ c where c.run = r.id and c.state = 'open')
limit $2
"""
PLANNED = """
select system, id, created_at from effect
where lane = $3 and state = 'planned' and created_at < $1 order by created_at, id limit $2
"""
SENDING = """
select system, id, call_until from effect
where state = 'sending' and call_until < $1 order by call_until, id limit $2
"""
UNKNOWN = f"""
select e.system, e.id, coalesce(e.conclude_at, e.created_at) from (
  select id, system, run, state, look_at, conclude_at, created_at from effect
  where state in {t.EFFECT_UNSETTLED} order by conclude_at limit $3
) as e
where coalesce(e.conclude_at, e.created_at) < $1 and (e.state = 'unknown' or e.look_at is null)
  and not exists (select 1 from case_ c where c.run = e.run and c.state = 'open')
limit $2
"""
WAITING = "select kind, ref from todo where parked = false order by rowid limit $1"
PARKED = """
select t.kind, t.ref from (
  select kind, ref from todo where parked and wake_topic = '' order by kind, ref limit $2
) as t
where not exists (
  select 1 from case_ c
  where c.receipt is not null and c.state = 'open'
    and c.receipt = case when t.kind = 'receipt' then t.ref::bigint end
) and not exists (
  select 1 from case_ c
  where c.event is not null and c.state = 'open' and c.event = case when t.kind = 'event' then t.ref end
)
limit $1
"""
OVERDUE = """
select owner, id, deadline from case_
where state = 'open' and deadline < $1 and reason not like 'stuck^_%' escape '^' order by deadline, id limit $2
"""
FOILS = f"""
select rule, id, due, owner from foil
where state in {t.FOIL_WAITING} and due < $1 order by due, id limit $2
"""
HELD_BY_ENDED = f"""
select h.serial, coalesce(r.now, $1) from hold h left join run r on r.id = h.run
where r.id is null or r.status in {t.RUN_ENDED} order by h.serial limit $2
"""
STRANDED = """
select w.serial, min(coalesce(r.now, r.created_at, $1)) from (
  select serial, run from serial_wait order by serial, arrival limit $3
) as w left join run r on r.id = w.run
where not exists (select 1 from hold h where h.serial = w.serial)
group by w.serial having max(case when r.due is not null then 1 else 0 end) = 0
order by w.serial limit $2
"""
PENDING = "select l.id, l.at from pending p join leaf l on l.id = p.leaf order by p.rowid limit $1"
SWEEPS = """
select system, book, coalesce(lease_until, requested_at) from sweep
where state = 'reading' and coalesce(lease_until, requested_at) < $1
  and (lease_until is not null or not exists (
    select 1 from sweep other where other.state = 'reading' and other.lease_until >= $3
  ))
order by 3, id limit $2
"""
PRESENT = """
select kind, about, count, since, subjects, owner, first_at, seen_at, case_ from stuck order by kind, about
"""
RECEIPTS = "select no, system, received_at from receipt where no = any($1::bigint[])"
EVENTS = "select id, system, received_at from event where id = any($1::text[])"


async def stalled_work(at: datetime, limits: StallLimits) -> list[StalledGroup]:
    now = micros(at)
    subjects: list[StalledSubject] = []
    for lane in LANES:  # the indexes of what is due and planned begin with the lane
        due = await Statement(DUE, (micros(at - min(limits.due, limits.lease)), MAX_SUBJECTS, lane))
        subjects += _due(due, micros(at - limits.due), micros(at - limits.lease))
        subjects += await _subjects("effect_planned", PLANNED, at - limits.planned, lane)
    subjects += await _subjects("run_lost", LOST, at - limits.due, MAX_SCANNED_ROWS)
    subjects += await _subjects("effect_sending", SENDING, at - limits.sending)
    subjects += await _subjects("effect_unknown", UNKNOWN, at - limits.unknown, MAX_SCANNED_ROWS)
    waiting = await _todos("todo_waiting", WAITING, MAX_SUBJECTS)
    subjects += [each for each in waiting if each.since < at - limits.todo]
    subjects += await _todos("todo_parked", PARKED, MAX_SUBJECTS, MAX_SCANNED_ROWS)
    for owner, id_, since in await Statement(OVERDUE, (now, MAX_SUBJECTS)):
        subjects.append(_subject("case_overdue", owner, id_, since, owner))
    for rule, id_, since, owner in await Statement(FOILS, (micros(at - limits.foil), MAX_SUBJECTS)):
        subjects.append(_subject("foil_past_due", rule, id_, since, owner))
    for serial, since in await Statement(HELD_BY_ENDED, (now, MAX_SUBJECTS)):
        subjects.append(_subject("serial_held", "serials", serial, since))
    for serial, since in await Statement(STRANDED, (now, MAX_SUBJECTS, MAX_SCANNED_ROWS)):
        subjects.append(_subject("serial_stranded", "serials", serial, since))
    for id_, since in await Statement(PENDING, (MAX_SUBJECTS,)):
        if since < micros(at - limits.leaf):
            subjects.append(_subject("leaf_pending", "audit", id_, since))
    for system, book, since in await Statement(SWEEPS, (micros(at - limits.sweep), MAX_SUBJECTS, now)):
        subjects.append(_subject("sweep_waiting", system, f"{system}.{book}", since))
    return group_subjects(subjects)


def _due(rows: list[Row], due_before: int, lease_before: int) -> Iterator[StalledSubject]:
    """Yield due Runs; one with a long-expired lease was taken by a worker and never given back."""
    for workflow, id_, due, owner, lease_until in rows:
        if owner is not None and lease_until is not None and lease_until < lease_before:
            yield _subject("lease_expired", workflow, id_, due)
        elif due < due_before:
            yield _subject("run_not_turned", workflow, id_, due)


async def _subjects(kind: str, sql: str, before: datetime, *more: int) -> list[StalledSubject]:
    rows = await Statement(sql, (micros(before), MAX_SUBJECTS, *more))
    return [_subject(kind, about, subject, since) for about, subject, since in rows]


def _subject(kind: str, about: str, subject: str, since: int, owner: str = "") -> StalledSubject:
    return StalledSubject(kind=kind, about=about, subject=subject, since=from_micros(since), owner=owner)


async def _todos(kind: str, sql: str, *limits: int) -> list[StalledSubject]:
    """Return todos with the system and the time of their receipt or event."""
    rows = await Statement(sql, limits)
    numbers = [int(ref) for what, ref in rows if what == "receipt"]
    names = [ref for what, ref in rows if what == "event"]
    about_refs: dict[tuple[str, str], tuple[str, int]] = {}
    for no, system, received in await Statement(RECEIPTS, (numbers,)) if numbers else ():
        about_refs["receipt", str(no)] = (system, received)
    for id_, system, received in await Statement(EVENTS, (names,)) if names else ():
        about_refs["event", id_] = (system, received)
    subjects = []
    for what, ref in rows:
        system, received = about_refs.get((what, ref), ("", 0))
        subjects.append(_subject(kind, system, f"{what} {ref}", received))
    return subjects


async def stall_findings() -> list[StalledFinding]:
    return [finding_row(row) for row in await Statement(PRESENT, ())]


def finding_row(row: Row) -> StalledFinding:
    kind, about, count, since, subjects, owner, first_at, seen_at, case = row
    ids, times = TEXTS.load(subjects), [from_micros(at) for at in (since, first_at, seen_at)]
    group = StalledGroup(kind=kind, about=about, count=count, since=times[0], subjects=ids, owner=owner)
    return StalledFinding(stuck=group, first_at=times[1], seen_at=times[2], case=case)
