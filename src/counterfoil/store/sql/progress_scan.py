"""The progress scan's reads in SQL, once for both stores: whatever has waited for too long, found by index.

Partial indexes hold the unfinished alone, and what is not past its time is never visited: a million parked Runs cost
nothing here.
"""
# ruff: noqa: S608 - only constants are put into statements

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from counterfoil.core.clock import from_micros, micros
from counterfoil.core.run import LANES
from counterfoil.store.port.stalled import (
    MOST,
    WINDOW,
    Stalled,
    StalledFinding,
    StalledSubject,
    StallLimits,
    together,
)
from counterfoil.store.sql.columns import TEXTS
from counterfoil.store.sql.statements import Query, Row
from counterfoil.store.sql.states import (
    EFFECT_UNFINISHED,
    EFFECT_UNSETTLED,
    FOIL_WAITING,
    RUN_ACTIVE,
    RUN_ENDED,
)

DUE = """
select workflow, id, due, owner, lease_until from run
where lane = $3 and due is not null and due < $1 order by due, arrival limit $2
"""
LOST = f"""
select r.workflow, r.id, coalesce(r.now, r.created_at) from (
  select workflow, id, now, created_at from run
  where due is null and status in {RUN_ACTIVE} order by arrival limit $3
) as r
where coalesce(r.now, r.created_at) < $1
  and not exists (select 1 from serial_wait w where w.run = r.id)
  and not exists (
    select 1 from effect e where e.run = r.id and e.state in {EFFECT_UNFINISHED}
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
  where state in {EFFECT_UNSETTLED} order by conclude_at limit $3
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
where state in {FOIL_WAITING} and due < $1 order by due, id limit $2
"""
HELD = f"""
select h.serial, coalesce(r.now, $1) from hold h left join run r on r.id = h.run
where r.id is null or r.status in {RUN_ENDED} order by h.serial limit $2
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
PRESENT = """
select kind, about, count, since, subjects, owner, first_at, seen_at, case_ from stuck order by kind, about
"""
RECEIPTS = "select no, system, received_at from receipt where no = any($1::bigint[])"
EVENTS = "select id, system, received_at from event where id = any($1::text[])"


async def stuck(at: datetime, limits: StallLimits) -> list[Stalled]:
    """Everything that has waited for too long, by kind and class."""
    now = micros(at)
    seen: list[StalledSubject] = []
    for lane in LANES:  # the indexes of what is due and planned begin with the lane
        due = await Query(DUE, (micros(at - min(limits.due, limits.lease)), MOST, lane))
        seen += _due(due, micros(at - limits.due), micros(at - limits.lease))
        seen += _seen("effect_planned", await Query(PLANNED, (micros(at - limits.planned), MOST, lane)))
    seen += _seen("run_lost", await Query(LOST, (micros(at - limits.due), MOST, WINDOW)))
    seen += _seen("effect_sending", await Query(SENDING, (micros(at - limits.sending), MOST)))
    seen += _seen("effect_unknown", await Query(UNKNOWN, (micros(at - limits.unknown), MOST, WINDOW)))
    seen += [each for each in await _todos("todo_waiting", WAITING, MOST) if each.since < at - limits.todo]
    seen += await _todos("todo_parked", PARKED, MOST, WINDOW)
    for owner, id_, since in await Query(OVERDUE, (now, MOST)):
        seen.append(_one("case_overdue", owner, id_, since, owner))
    for rule, id_, since, owner in await Query(FOILS, (micros(at - limits.foil), MOST)):
        seen.append(_one("foil_past_due", rule, id_, since, owner))
    for serial, since in await Query(HELD, (now, MOST)):
        seen.append(_one("serial_held", "serials", serial, since))
    for serial, since in await Query(STRANDED, (now, MOST, WINDOW)):
        seen.append(_one("serial_stranded", "serials", serial, since))
    for id_, since in await Query(PENDING, (MOST,)):
        if since < micros(at - limits.leaf):
            seen.append(_one("leaf_pending", "audit", id_, since))
    return together(seen)


def _due(rows: list[Row], due_before: int, lease_before: int) -> Iterator[StalledSubject]:
    """A Run whose lease ended long ago is one that a worker took and never gave back."""
    for workflow, id_, due, owner, lease_until in rows:
        if owner is not None and lease_until is not None and lease_until < lease_before:
            yield _one("lease_expired", workflow, id_, due)
        elif due < due_before:
            yield _one("run_not_turned", workflow, id_, due)


def _seen(kind: str, rows: list[Row]) -> list[StalledSubject]:
    return [_one(kind, about, subject, since) for about, subject, since in rows]


def _one(kind: str, about: str, subject: str, since: int, owner: str = "") -> StalledSubject:
    return StalledSubject(kind=kind, about=about, subject=subject, since=from_micros(since), owner=owner)


async def _todos(kind: str, sql: str, *limits: int) -> list[StalledSubject]:
    """Todos with the system and the time of what they are about."""
    rows = await Query(sql, limits)
    numbers = [int(ref) for what, ref in rows if what == "receipt"]
    names = [ref for what, ref in rows if what == "event"]
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for no, system, received in await Query(RECEIPTS, (numbers,)) if numbers else ():
        found["receipt", str(no)] = (system, received)
    for id_, system, received in await Query(EVENTS, (names,)) if names else ():
        found["event", id_] = (system, received)
    seen = []
    for what, ref in rows:
        system, received = found.get((what, ref), ("", 0))
        seen.append(_one(kind, system, f"{what} {ref}", received))
    return seen


async def stuckness() -> list[StalledFinding]:
    """What the latest scan found."""
    return [held_row(row) for row in await Query(PRESENT, ())]


def held_row(row: Row) -> StalledFinding:
    kind, about, count, since, subjects, owner, first_at, seen_at, case = row
    found = Stalled(
        kind=kind,
        about=about,
        count=count,
        since=from_micros(since),
        subjects=TEXTS.load(subjects),
        owner=owner,
    )
    return StalledFinding(
        stuck=found, first_at=from_micros(first_at), seen_at=from_micros(seen_at), case=case
    )
