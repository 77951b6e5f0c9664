"""The reads of the port in SQL, once for both stores; each is one snapshot."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from counterfoil.core import wire
from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, HeadState, Receipt
from counterfoil.core.clock import from_micros, micros
from counterfoil.core.delegation import Delegation
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.people import Person
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import LANES, Run
from counterfoil.store.port import store as port
from counterfoil.store.port.releases import PinCount
from counterfoil.store.port.versions import VersionUsage, WaitingRuns, usage_by_user
from counterfoil.store.port.views import CaseRow
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, one, record, records
from counterfoil.store.sql.views import targets

R = TypeVar("R")

_RECEIPT = f"""
select {t.RECEIPT.of("r")}, r.no, b.headers, b.body from receipt r join receipt_body b on b.no = r.no
"""
_DUE_TODOS = "select kind, ref from todo where parked = false order by rowid"
_COUNT_TODOS = "select count(*) from (select 1 from todo where parked = false limit $1) as waiting"
_EVENT_RECEIVED = "select received_at from event where id = $1"
_OF_LANES = " union all ".join(
    f"select min(due) as due from run where lane = {lane} and due is not null" for lane in LANES
)
_NEXT_DUE = f"""
select min(due) from (
  {_OF_LANES}
  union all select min(look_at) from effect where look_at is not null
  union all select min(call_until) from effect where state = 'sending'
  union all select min(due) from foil where state in {t.FOIL_WAITING}
) as dues
"""


async def receipts(which: str, *args: Any) -> list[Receipt]:
    """Return receipts with their bodies; `which` is a condition on `r`, their table."""
    rows = await Statement(f"{_RECEIPT} where {which}", args)
    return [t.RECEIPT.read(r, **t.RECEIPT_BODY.read(r[-3:])) for r in rows]


async def load(run: str) -> port.LoadedRun | None:
    row = await record(t.RUN, "where id = $1", run)
    if row is None:
        return None
    inbox = await records(t.INBOX, "where run = $1 and seq > $2 order by seq", run, row.consumed)
    effects = await records(t.EFFECT, "where run = $1 order by rowid", run)
    approvals = await records(t.APPROVAL, "where run = $1 order by rowid", run)
    foils = await records(t.FOIL, "where run = $1 order by rowid", run)
    holds = await Statement("select serial from hold where run = $1 order by serial", (run,))
    return port.LoadedRun(
        run=row,
        inbox=tuple(inbox),
        effects=tuple(effects),
        approvals=tuple(approvals),
        foils=tuple(foils),
        holds=tuple(row[0] for row in holds),
    )


async def todos(limit: int, skip: Sequence[tuple[str, str]] = ()) -> list[port.AdmissionTodo]:
    """Return todos, oldest first, with their receipt or event."""
    rows = await Statement(f"{_DUE_TODOS} limit $1", (limit + len(skip),))
    skipped = set(skip)
    chosen = [(kind, ref) for kind, ref in rows if (kind, ref) not in skipped][:limit]
    numbers = [int(ref) for kind, ref in chosen if kind == "receipt"]
    ids = [ref for kind, ref in chosen if kind == "event"]
    by_no = {str(r.no): r for r in await receipts("r.no = any($1::bigint[])", numbers)} if numbers else {}
    events = {e.id: e for e in await records(t.EVENT, "where id = any($1::text[])", ids)} if ids else {}
    return [
        port.AdmissionTodo(
            kind=kind,
            ref=ref,
            receipt=by_no.get(ref) if kind == "receipt" else None,
            event=events.get(ref) if kind == "event" else None,
        )
        for kind, ref in chosen
    ]


async def backlog(most: int, place: int) -> port.Backlog:
    """Count the backlog by its index, never past `most` entries."""
    counted = await Statement(_COUNT_TODOS, (most,))
    chosen = await Statement(f"{_DUE_TODOS} limit 1 offset $1", (place,))
    since = None
    for kind, ref in chosen:
        sql = "select received_at from receipt where no = $1" if kind == "receipt" else _EVENT_RECEIVED
        row = await one(sql, int(ref) if kind == "receipt" else ref)
        since = None if row is None else from_micros(row[0])
    return port.Backlog(waiting=counted[0][0], since=since)


async def existing_receipts(names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
    receipts = {}
    for system in sorted({system for system, _ in names}):
        ext_ids = sorted({ext_id for s, ext_id in names if s == system})
        sql = "select ext_id, no, identity from receipt where system = $1 and ext_id = any($2::text[])"
        for ext_id, no, identity in await Statement(sql, (system, ext_ids)):
            receipts[system, ext_id] = (no, identity)
    return receipts


async def next_due() -> datetime | None:
    row = await one(_NEXT_DUE)
    return from_micros(row[0]) if row is not None and row[0] is not None else None


async def head(object_: str, key: str, at: datetime | None = None) -> Head | None:
    if at is None:
        return await record(t.HEAD, "where object = $1 and key = $2", object_, key)
    which = """where object = $1 and key = $2 and effective_at <= $3
    order by effective_at desc, version desc, rowid desc limit 1"""
    return await record(t.HEAD_HISTORY, which, object_, key, micros(at))


async def heads(object_: str, limit: int = 1000) -> list[Head]:
    return await records(t.HEAD, "where object = $1 order by key limit $2", object_, limit)


async def heads_of(object_: str, keys: Sequence[str]) -> list[Head]:
    return await records(
        t.HEAD, "where object = $1 and key = any($2::text[]) order by key", object_, sorted(set(keys))
    )


async def known_heads(object_: str, keys: Sequence[str]) -> dict[str, str]:
    sql = "select key, entity from head where object = $1 and key = any($2::text[])"
    rows = await Statement(sql, (object_, sorted(keys)))
    return {key: entity for key, entity in rows}  # noqa: C416 - rows are sequences, not pairs


async def head_states(object_: str, keys: Sequence[str]) -> dict[str, list[HeadState]]:
    sql = """select key, effective_at, state from head_history where object = $1 and key = any($2::text[])
    order by key, effective_at, version, rowid"""
    states: dict[str, list[HeadState]] = {}
    for key, at, state in await Statement(sql, (object_, sorted(keys))):
        states.setdefault(key, []).append(HeadState(from_micros(at), _state(bytes(state))))
    return states


async def usage_meters(source: str, event_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    sql = "select id, subscription, meter from usage_event where source = $1 and id = any($2::text[])"
    rows = await Statement(sql, (source, sorted(event_ids)))
    return {id_: (subscription, meter) for id_, subscription, meter in rows}


@lru_cache(maxsize=65_536)
def _state(stored: bytes) -> dict[str, Any]:
    """Decode the state of an object. The same subscriptions come with every batch of usage."""
    state: dict[str, Any] = wire.loads(stored)
    return state


async def link_by_ext(object_: str, system: str, ext_id: str, account: str = "") -> Link | None:
    which = f"where {t.LINK_CONFIRMED} and object = $1 and system = $2 and account = $3 and ext_id = $4"
    return await record(t.LINK, which, object_, system, account, ext_id)


async def link_by_canonical(object_: str, canonical: str, system: str) -> Link | None:
    which = f"where {t.LINK_CONFIRMED} and object = $1 and canonical = $2 and system = $3"
    return await record(t.LINK, f"{which} order by valid_from, ext_id limit 1", object_, canonical, system)


async def guard_used(scope: str, key: str) -> int:
    row = await one("select used from guard where scope = $1 and key = $2", scope, key)
    return 0 if row is None else int(row[0])


async def event(id_: str) -> CanonicalEvent | None:
    return await record(t.EVENT, "where id = $1", id_)


async def approval(id_: str) -> Approval | None:
    return await record(t.APPROVAL, "where id = $1", id_)


async def votes(approvals: Sequence[str]) -> dict[str, list[Vote]]:
    by_approval: dict[str, list[Vote]] = {id_: [] for id_ in approvals}
    which = "where approval = any($1::text[]) order by at, person"
    for vote in await records(t.VOTE, which, sorted(by_approval)):
        by_approval[vote.approval].append(vote)
    return by_approval


async def case(id_: str) -> CaseRow | None:
    cases = await records(t.CASE, "where id = $1", id_)
    return next(iter(await targets(cases)), None)


async def receipt(no: int) -> Receipt | None:
    return next(iter(await receipts("r.no = $1", no)), None)


async def cursor(system: str, feed: str) -> str | None:
    row = await one("select value from feed_cursor where system = $1 and feed = $2", system, feed)
    return None if row is None else str(row[0])


async def call(consumer: str, operation: str, key: str) -> OperationCall | None:
    which = "where consumer = $1 and operation = $2 and key = $3"
    return await record(t.CALL, which, consumer, operation, key)


async def call_of_run(run: str) -> OperationCall | None:
    return await record(t.CALL, "where run = $1", run)


async def release(digest: str | None = None) -> tuple[str, bytes] | None:
    if digest is None:
        row = await one(
            "select r.digest, r.body from release r join present_release p on p.digest = r.digest"
        )
    else:
        row = await one("select digest, body from release where digest = $1", digest)
    return None if row is None else (row[0], row[1])


async def active_release() -> str | None:
    row = await one("select digest from present_release where one = 1")
    return None if row is None else str(row[0])


async def plan(digest: str) -> Plan | None:
    return await record(t.PLAN, "where digest = $1", digest)


async def plan_model(digest: str) -> bytes | None:
    row = await one("select model from plan where digest = $1", digest)
    return None if row is None else bytes(row[0])


async def release_step(digest: str) -> ReleaseStep | None:
    return await record(t.RELEASE_STEP, "where digest = $1 order by no desc limit 1", digest)


async def release_steps(limit: int, before: int | None = None) -> list[ReleaseStep]:
    below = 2**62 if before is None else before
    return await records(t.RELEASE_STEP, "where no < $1 order by no desc limit $2", below, limit)


async def pinned_runs() -> list[PinCount]:
    statement = f"""
    select workflow, pin, count(*) from run where status in {t.RUN_ACTIVE}
    group by workflow, pin order by workflow, pin
    """
    rows = await Statement(statement, ())
    return [PinCount(workflow=workflow, pin=pin, count=count) for workflow, pin, count in rows]


async def active_runs(workflow: str, after: str, limit: int) -> list[Run]:
    which = f"where workflow = $1 and id > $2 and status in {t.RUN_ACTIVE} order by id limit $3"
    return await records(t.RUN, which, workflow, after, limit)


async def effect(id_: str) -> Effect | None:
    return await record(t.EFFECT, "where id = $1", id_)


async def effects_planned(limit: int) -> list[Effect]:
    return await records(t.EFFECT, "where state = 'planned' order by lane, created_at, id limit $1", limit)


async def effects_overdue(at: datetime, limit: int) -> list[Effect]:
    which = "where state = 'sending' and call_until < $1 order by call_until, id limit $2"
    return await records(t.EFFECT, which, micros(at), limit)


async def effects_sending(worker_prefix: str, limit: int) -> list[Effect]:
    """Return effects by worker prefix; `substr`, not `like`: a worker's id may contain an underscore."""
    which = "where state = 'sending' and substr(worker, 1, length($1)) = $1 order by id limit $2"
    return await records(t.EFFECT, which, worker_prefix, limit)


async def effects_of_gone_workers(at: datetime, limit: int) -> list[Effect]:
    which = """where state = 'sending' and not exists (
      select 1 from worker where worker.id = effect.worker and worker.until > $1
    ) order by effect.id limit $2"""
    return await records(t.EFFECT, which, micros(at), limit)


async def effects_to_look_up(at: datetime, limit: int) -> list[Effect]:
    which = f"where state in {t.EFFECT_UNSETTLED} and look_at <= $1 order by look_at, id limit $2"
    return await records(t.EFFECT, which, micros(at), limit)


async def foils_past_due(at: datetime, limit: int) -> list[Foil]:
    which = f"where state in {t.FOIL_WAITING} and due <= $1 order by due, id limit $2"
    return await records(t.FOIL, which, micros(at), limit)


async def foil(id_: str) -> Foil | None:
    return await record(t.FOIL, "where id = $1", id_)


async def observation(id_: str) -> Observation | None:
    return await record(t.OBSERVATION, "where id = $1", id_)


async def items_past_grace(at: datetime, limit: int) -> list[Observation]:
    which = f"where case_at is not null and case_at <= $1 and {t.UNACCOUNTED} order by case_at, id limit $2"
    return await records(t.OBSERVATION, which, micros(at), limit)


async def match_basis() -> dict[str, str]:
    rows = await Statement("select rule, digest from match_basis", ())
    return {str(rule): str(digest) for rule, digest in rows}


async def match_keys(after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
    statement = """
    select rule, key from (select rule, key from foil union select rule, key from observation) as both_sides
    where (rule, key) > ($1, $2) order by rule, key limit $3
    """
    return [(rule, key) for rule, key in await Statement(statement, (*after, limit))]


async def events_after(id_: str, limit: int) -> list[CanonicalEvent]:
    return await records(t.EVENT, "where id > $1 order by id limit $2", id_, limit)


async def person(id_: str) -> Person | None:
    return await record(t.PERSON, "where id = $1", id_)


async def persons() -> list[Person]:
    return await records(t.PERSON, "order by id")


async def delegations(person: str = "") -> list[Delegation]:
    if not person:
        return await records(t.DELEGATION, "order by starts_at, id")
    return await records(t.DELEGATION, "where giver = $1 or receiver = $1 order by starts_at, id", person)


async def token(digest: str, at: datetime) -> Person | None:
    which = "where active and id in (select person from token where digest = $1 and expires > $2)"
    return await record(t.PERSON, which, digest, micros(at))


async def leaves(start: int, limit: int) -> list[tuple[int, Leaf]]:
    statement = f"""
    select {t.LEAF.of("l")}, tree.idx from tree join leaf l on l.id = tree.leaf
    where tree.idx >= $1 and tree.idx < $2 order by tree.idx
    """
    rows = await Statement(statement, (start, start + limit))
    return [(row[-1], t.LEAF.read(row)) for row in rows]


async def checkpoint(size: int | None = None) -> Checkpoint | None:
    if size is None:
        return await record(t.CHECKPOINT, "order by size desc limit 1")
    return await record(t.CHECKPOINT, "where size = $1", size)


async def awaited_events() -> list[tuple[str, str | None, str | None]]:
    """Return release, event type and narrowing field; both None for a Release that was stored without them."""
    statement = """
    select r.digest, w.type, w.field from release r left join waited w on w.release = r.digest
    order by r.at, r.digest, w.type, w.field
    """
    rows = await Statement(statement, ())
    return [(row[0], row[1], row[2]) for row in rows]


async def version_usage(at: datetime) -> list[VersionUsage]:
    return usage_by_user(await records(t.VERSION_USE, ""), at)


async def waiting_runs(names: Sequence[str]) -> list[WaitingRuns]:
    rows_by_name = []
    for name in sorted(set(names)):
        topic = f"event:{name}"
        statement = f"""
        select run.workflow, count(distinct run.id) from wait join run on run.id = wait.run
        where wait.topic = $1 or substr(wait.topic, 1, {len(topic) + 1}) = $2
        group by run.workflow order by run.workflow
        """
        rows = await Statement(statement, (topic, f"{topic}:"))
        rows_by_name += [WaitingRuns(name=name, workflow=workflow, count=count) for workflow, count in rows]
    return rows_by_name
