"""Reads of sweeps: what is under way, what it waits for, and what its book did not list."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.clock import from_micros, micros
from counterfoil.core.sweep import Sweep
from counterfoil.store.port.sweeps import UnlistedCase, UnlistedDocument
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, record, records

_UNLISTED = """
select d.side, d.id, d.rule, d.document, d.entity, d.known_at, e.object, e.correlation from (
  select 'left' as side, id, rule, document, entity, known_from as known_at, cause as event from foil
  where stands and id > $1 and known_from <= $2
  union all
  select 'right' as side, id, rule, document, entity, at as known_at, event from observation
  where stands and id > $1 and at <= $2
) as d join event e on e.id = d.event join receipt on receipt.no = e.receipt
where e.system = $3 and e.object <> '' and receipt.type = any($4::text[]) and not exists (
  select 1 from event fact
  where fact.object = e.object and fact.key = e.key and fact.correlation = e.correlation and fact.system = e.system and (
    exists (select 1 from swept where swept.sweep = $5 and swept.receipt = fact.receipt)
    or exists (
      select 1 from event_repeat r join swept on swept.sweep = $5 and swept.receipt = r.receipt where r.event = fact.id
    )
  )
)
order by d.id limit $6
"""

_LISTED = """
where id > $2 and id in (
  select event.id from swept join event on event.receipt = swept.receipt where swept.sweep = $1
  union select r.event from swept join event_repeat r on r.receipt = swept.receipt where swept.sweep = $1
) order by id limit $3
"""

_CASES = """
select c.id, d.id, c.state, c.created_at from case_ c join (
  select id, cause as event from foil union all select id, event from observation
) as d on d.id = coalesce(c.foil, c.observation)
join event e on e.id = d.event join receipt on receipt.no = e.receipt
where c.reason = 'unlisted' and (c.state = 'open' or c.choice is not null) and e.system = $1 and receipt.type = any($2::text[])
order by c.id
"""


async def sweep(id_: str) -> Sweep | None:
    return await record(t.SWEEP, "where id = $1", id_)


async def latest_sweeps() -> list[Sweep]:
    """The newest of each book has no newer one."""
    newer = """
    select 1 from sweep other where other.system = sweep.system and other.book = sweep.book
      and (other.requested_at, other.id) > (sweep.requested_at, sweep.id)
    """
    return await records(t.SWEEP, f"where not exists ({newer}) order by system, book")


async def completed_sweeps() -> list[Sweep]:
    """The newest of each book that was read to its end, and whose listing is there: former versions kept none."""
    newer = """
    select 1 from sweep other where other.system = sweep.system and other.book = sweep.book and other.state = 'done'
      and (other.requested_at, other.id) > (sweep.requested_at, sweep.id)
    """
    listing = "listed = 0 or exists (select 1 from swept where swept.sweep = sweep.id)"
    return await records(
        t.SWEEP, f"where state = 'done' and ({listing}) and not exists ({newer}) order by system, book"
    )


async def swept_to_admit(sweep: str) -> int:
    return await _todos(sweep, "not todo.parked")


async def swept_and_held(sweep: str) -> int:
    return await _todos(sweep, "todo.parked")


async def swept_and_dismissed(sweep: str) -> int:
    statement = """
    select count(*) from swept where sweep = $1
      and exists (select 1 from case_ c where c.receipt = swept.receipt and c.choice = 'dismiss')
      and not exists (select 1 from event e where e.receipt = swept.receipt)
      and not exists (select 1 from event_repeat r where r.receipt = swept.receipt)
    """
    rows = await Statement(statement, (sweep,))
    return int(rows[0][0])


async def _todos(sweep: str, which: str) -> int:
    statement = f"""
    select count(*) from swept join todo on todo.kind = 'receipt' and todo.ref = cast(swept.receipt as text)
    where swept.sweep = $1 and {which}
    """  # noqa: S608 - only constants
    rows = await Statement(statement, (sweep,))
    return int(rows[0][0])


async def listed_events(sweep: str, after: str, limit: int) -> list[CanonicalEvent]:
    return await records(t.EVENT, _LISTED, sweep, after, limit)


async def unlisted_documents(
    sweep: Sweep, types: Sequence[str], after: str, limit: int
) -> list[UnlistedDocument]:
    args = (after, micros(sweep.requested_at), sweep.system, list(types), sweep.id, limit)
    return [
        UnlistedDocument(side, id_, rule, document, entity, from_micros(known_at), object_, record_)
        for side, id_, rule, document, entity, known_at, object_, record_ in await Statement(_UNLISTED, args)
    ]


async def unlisted_cases(system: str, types: Sequence[str]) -> list[UnlistedCase]:
    rows = await Statement(_CASES, (system, list(types)))
    return [
        UnlistedCase(id_, document, state == "open", from_micros(at)) for id_, document, state, at in rows
    ]
