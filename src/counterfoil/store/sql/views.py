"""Read-only lists for pages and reports, in SQL once for both stores; never used to decide."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count as count_up
from typing import Any, TypeVar

from counterfoil.core.approval import Approval
from counterfoil.core.audit import Leaf
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.clock import micros
from counterfoil.core.effect import UNFINISHED, Effect, EffectState
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.ids import run_id
from counterfoil.core.link import Link
from counterfoil.core.matching import FoilState
from counterfoil.core.run import InboxItem
from counterfoil.core.settle import MatchRows
from counterfoil.core.waiting import Obstacles, SerialQueue, retried
from counterfoil.store.port import views
from counterfoil.store.port.matches import DocumentVersion, users_by_cap
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import SqlTable
from counterfoil.store.sql.entities import by_entity, counts_of, entities_of_cases, entity_clause
from counterfoil.store.sql.list_order import list_order
from counterfoil.store.sql.matches import CLOSED_ASSERTION
from counterfoil.store.sql.statements import Statement, records

R = TypeVar("R")

_OF_RUN = {"workflow": "run in (select r.id from run r where r.workflow = {})", "run": "run = {}"}
_OF_KEY = {**_OF_RUN, "key": "run in (select r.id from run r where r.bkey = {})"}
_STATE = {"state": "state = {}", "status": "state = {}"}
_IDS = {"ids": "id = any({}::text[])"}
_RUNS = {
    "status": "status = {}",
    "state": "state = {}",
    "workflow": "workflow = {}",
    "key": "bkey = {}",
    "run": "id = {}",
    "owner": "owner = {}",
    **by_entity("run"),
    **_IDS,
}
_EFFECTS = {**_STATE, **_OF_KEY, "owner": "worker = {}", **by_entity("effect")}
_FOILS = {
    **_STATE,
    **_OF_RUN,
    **_IDS,
    **{name: f"{name} = {{}}" for name in ("rule", "key", "owner")},
    **by_entity("foil"),
}
CASE_FILTERS = {
    **_STATE,
    **_OF_KEY,
    **_IDS,
    **{name: f"{name} = {{}}" for name in ("owner", "reason", "cause", "assignee")},
    "tag": """replace(tags, '"' || {} || '"', '') <> tags""",
    "awake_at": "(state <> 'open' or snoozed_until is null or snoozed_until <= {})",
    "snoozed_at": "state = 'open' and snoozed_until > {}",
    **by_entity("case_"),
}
_APPROVALS = {**_STATE, **_OF_KEY, **_IDS, "owner": "requester = {}", **by_entity("approval")}
_EVENTS = {"type": "type = {}", "system": "system = {}", "key": "key = {}", **by_entity("event")}
_ITEMS = {
    **{name: f"{name} = {{}}" for name in ("system", "rule", "key", "owner")},
    **by_entity("observation"),
    **_IDS,
}
LIST_FILTERS: dict[views.SummedTable, dict[str, str]] = {
    "run": _RUNS,
    "foil": _FOILS,
    "observation": _ITEMS,
    "case_": CASE_FILTERS,
    "approval": _APPROVALS,
}
_MATCHED = """
(rule, key) in (
  select rule, key from (select rule, key from foil union select rule, key from observation) as both_sides
  order by rule, key limit $1
)
"""
_EFFECTS_OF_RUNS = f"where run = any($1::text[]) and state in {t.sql_list({*UNFINISHED, EffectState.REFUSED})} order by created_at, id"
_QUEUED = """
select w.run, w.serial, coalesce(r.bkey, h.run) from serial_wait w
join hold h on h.serial = w.serial left join run r on r.id = h.run
where w.run = any($1::text[]) order by w.serial desc
"""
_COUNTS = (
    ("run", "status"),
    ("effect", "state"),
    ("foil", "state"),
    ("case_", "state"),
    ("approval", "state"),
    ("link", "status"),
)
_TOTALS = ("receipt", "event", "observation", "wait", "pending", "tree", "hold", "serial_wait")


async def runs(page: views.ListFilter) -> tuple[list[views.RunRow], str | None]:
    """Return a page of Runs; their foils, open Cases and open approvals are read once for the whole page."""
    runs, cursor = await _list(t.RUN, page, _RUNS)
    ids = [run.id for run in runs]
    foils: dict[str | None, list[Foil]] = {}
    for foil in await records(t.FOIL, "where run = any($1::text[])", ids):
        foils.setdefault(foil.run, []).append(foil)
    cases: dict[str | None, list[Any]] = {}
    for case in await records(t.CASE, "where run = any($1::text[]) and state = 'open'", ids):
        cases.setdefault(case.run, []).append(case)
    approvals: dict[str | None, list[Approval]] = {}
    for approval in await records(t.APPROVAL, "where run = any($1::text[]) and state = 'open'", ids):
        approvals.setdefault(approval.run, []).append(approval)
    effects: dict[str | None, list[Effect]] = {}
    for effect in await records(t.EFFECT, _EFFECTS_OF_RUNS, ids):
        effects.setdefault(effect.run, []).append(effect)
    queues = {run: SerialQueue(serial, holder) for run, serial, holder in await Statement(_QUEUED, (ids,))}
    topics: dict[str, list[str]] = {}
    for run, topic in await Statement("select run, topic from wait where run = any($1::text[])", (ids,)):
        topics.setdefault(run, []).append(topic)
    rows_with_totals = []
    for run in runs:
        own, open_ = foils.get(run.id, []), cases.get(run.id, [])
        states = Counter(foil.state for foil in own)
        rows_with_totals.append(
            views.RunRow(
                run=run,
                exposure=views.exposure(
                    own, open_, approvals.get(run.id, ()), retried(run, effects.get(run.id, ()))
                ),
                cases=len(open_),
                foils=tuple((state, states[state]) for state in FoilState if states[state]),
                obstacles=Obstacles(
                    approvals=approvals.get(run.id, ()),
                    cases=open_,
                    effects=effects.get(run.id, ()),
                    queue=queues.get(run.id),
                    topics=sorted(topics.get(run.id, ())),
                ),
            )
        )
    return rows_with_totals, cursor


async def effects(page: views.ListFilter) -> tuple[list[Effect], str | None]:
    return await _list(t.EFFECT, page, _EFFECTS)


async def foils(page: views.ListFilter) -> tuple[list[Foil], str | None]:
    return await _list(t.FOIL, page, _FOILS)


async def unmatched(page: views.ItemFilter) -> tuple[list[views.ItemRow], str | None]:
    where = t.UNACCOUNTED
    items, cursor = await _list(t.OBSERVATION, page, _ITEMS, "since", where)
    ids = [item.id for item in items]
    statement = "select observation, id from case_ where observation = any($1::text[]) and state = 'open'"
    cases = {str(observation): str(id_) for observation, id_ in await Statement(statement, (ids,))}
    return [views.ItemRow(item=item, case=cases.get(item.id)) for item in items], cursor


async def oldest_unmatched(limit: int, entities: tuple[str, ...] | None = None) -> list[Observation]:
    where, args = t.UNACCOUNTED, list[Any]((limit,))
    if entities is not None:
        where, args = f"{where} and {entity_clause('observation', '$2')}", [*args, list(entities)]
    return await records(t.OBSERVATION, f"where {where} order by since, id limit $1", *args)


async def observations(page: views.ItemFilter) -> tuple[list[Observation], str | None]:
    return await _list(t.OBSERVATION, page, _ITEMS, "since")


async def document_versions(rule: str, key: str) -> list[DocumentVersion]:
    which = "where rule = $1 and key = $2 order by known_from, side, document, version"
    return await records(t.VERSION, which, rule, key)


async def cases(page: views.ListFilter) -> tuple[list[views.CaseRow], str | None]:
    rows, cursor = await _list(t.CASE, page, CASE_FILTERS)
    return await targets(rows), cursor


async def approvals(page: views.ListFilter) -> tuple[list[Approval], str | None]:
    return await _list(t.APPROVAL, page, _APPROVALS)


async def events(page: views.EventFilter) -> tuple[list[CanonicalEvent], str | None]:
    return await _list(t.EVENT, page, _EVENTS, "received_at")


async def inbox(run: str) -> list[InboxItem]:
    return await records(t.INBOX, "where run = $1 order by seq", run)


async def events_of(ids: Sequence[str]) -> list[CanonicalEvent]:
    return await records(t.EVENT, "where id = any($1::text[])", list(ids))


async def events_about(objects: Sequence[str], keys: Sequence[str], limit: int) -> list[CanonicalEvent]:
    which = (
        "where object = any($1::text[]) and key = any($2::text[]) order by received_at desc, id desc limit $3"
    )
    return await records(t.EVENT, which, list(objects), list(keys), limit)


async def links_of(objects: Sequence[tuple[str, str]]) -> list[Link]:
    which = """
    where object = any($1::text[]) and canonical = any($2::text[]) order by valid_from, system, ext_id
    """
    place = {pair: index for index, pair in enumerate(objects)}
    links = await records(t.LINK, which, [type_ for type_, _ in objects], [id_ for _, id_ in objects])
    of_objects = [link for link in links if (link.object, link.canonical) in place]
    return sorted(of_objects, key=lambda link: place[link.object, link.canonical])


async def links_by_ext(
    ext_id: str, objects: Sequence[str], systems: Sequence[str], accounts: Sequence[str]
) -> list[Link]:
    which = f"""
    where {t.LINK_CONFIRMED} and object = any($1::text[]) and system = any($2::text[])
      and account = any($3::text[]) and ext_id = $4
    order by object, system, account
    """
    return await records(t.LINK, which, list(objects), list(systems), list(accounts), ext_id)


_Entities = tuple[str, ...] | None
"""Legal entities, as stored, whose rows count. None: every row."""


def _within(table: str, entities: _Entities, parameter: str) -> tuple[str, list[list[str]]]:
    """Return the condition that a row belongs to the entities, and its argument."""
    if entities is None:
        return "true", []
    return entity_clause(table, parameter), [list(entities)]


async def named(texts: Sequence[str], limit: int, entities: _Entities = None) -> list[str]:
    of_entity, args = _within("head", entities, "$3")
    statement = f"""
    select distinct t.key from head_text t join head on head.object = t.object and head.key = t.key
    where t.value = any($1::text[]) and {of_entity} order by t.key limit $2
    """
    values = [text.lower() for text in texts]
    return [row[0] for row in await Statement(statement, (values, limit, *args))]


async def runs_of(
    workflows: Sequence[str], keys: Sequence[str], limit: int, entities: _Entities = None
) -> list[str]:
    """Look Runs up by the ids that follow from workflow, key and generation: no index has keys alone."""
    hits: list[str] = []
    names = [(workflow, key) for workflow in workflows for key in keys]
    for generation in count_up():
        by_id = {run_id(*name, generation): name for name in names}
        rows = await Statement("select id, entity from run where id = any($1::text[])", (list(by_id),))
        hits += [id_ for id_, entity in rows if entities is None or entity in entities]
        names = [by_id[id_] for id_, _ in rows]
        if not names or len(hits) >= limit:
            break
    return hits[:limit]


async def foils_of(
    rules: Sequence[str], keys: Sequence[str], limit: int, entities: _Entities = None
) -> list[str]:
    of_entity, args = _within("foil", entities, "$4")
    statement = f"""
    select id from (
      select id, created_at from foil where rule = any($1::text[]) and key = any($2::text[]) and {of_entity}
      union
      select id, created_at from foil where rule = any($1::text[]) and document = any($2::text[]) and {of_entity}
    ) as hits order by created_at desc, id desc limit $3
    """
    return [row[0] for row in await Statement(statement, (list(rules), list(keys), limit, *args))]


async def foils_shown_as(documents: Sequence[str], entities: _Entities = None) -> list[str]:
    of_entity, args = _within("observation", entities, "$2")
    statement = f"""
    select distinct f.id from (
      select rule, key from observation where document = any($1::text[]) and {of_entity}
    ) as o join foil f on f.rule = o.rule and f.key = o.key order by f.id
    """
    return [row[0] for row in await Statement(statement, (list(documents), *args))]


async def matches_of(keys: Sequence[tuple[str, str]]) -> list[views.MatchRow]:
    args = ([rule for rule, _ in keys], [key for _, key in keys])
    rows = await _match_rows("rule = any($1::text[]) and key = any($2::text[])", args)
    return [row for row in rows if (row.rule, row.key) in set(keys)]


async def person_pairs(rule: str, keys: Sequence[str] | None = None) -> MatchRows:
    where, args = "where rule = $1 and ended_at is null", list[Any]((rule,))
    if keys is not None:
        own = "select id from observation where rule = $1 and own_key = any($2::text[]) and own_key <> ''"
        where, args = f"{where} and observation in ({own})", [*args, list(keys)]
    pairings = await records(t.PAIRING, f"{where} order by id", *args)
    by_id = "where id = any($1::text[]) order by id"
    foils = await records(t.FOIL, by_id, sorted({p.foil for p in pairings}))
    items = await records(t.OBSERVATION, by_id, sorted({p.observation for p in pairings}))
    return MatchRows(foils, items, pairings)


async def _list(
    table: SqlTable[R],
    page: views.ListFilter | views.EventFilter | views.ItemFilter,
    filters: Mapping[str, str],
    time: str = "created_at",
    *always: str,
) -> tuple[list[R], str | None]:
    """Return records, newest first. One more row than the limit is read, to know whether a next page exists."""
    clauses, args = filtered(page, filters)
    order = list_order(page, time)
    clauses, args = [*always, *clauses, *order.after(len(args))], [*args, *order.last]
    rows = await Statement(
        f"{table.select} {where_clause(clauses)} {order.text} limit ${len(args) + 1}", (*args, page.limit + 1)
    )
    ends = len(rows) > page.limit
    cursor = order.cursor(list(table.columns), rows[page.limit - 1]) if ends else None
    return [table.read(row) for row in rows[: page.limit]], cursor


def filtered(
    page: views.ListFilter | views.EventFilter | views.ItemFilter, filters: Mapping[str, str]
) -> tuple[list[str], list[Any]]:
    """Return the conditions of the filters that are set, and their parameters."""
    clauses, args = list[str](), list[Any]()
    for name, clause in filters.items():
        value = getattr(page, name)
        if value is None:
            continue
        if isinstance(value, datetime):
            value = micros(value)
        args.append(list(value) if isinstance(value, tuple) else value)
        clauses.append(clause.format(f"${len(args)}"))
    return clauses, args


def where_clause(clauses: Sequence[str]) -> str:
    return f"where {' and '.join(clauses)}" if clauses else ""


async def targets(cases: Sequence[Case]) -> list[views.CaseRow]:
    """Return Cases with the workflow, business key and Release of their Runs, read once for all."""
    ids = sorted({case.run for case in cases if case.run is not None})
    statement = "select id, workflow, bkey, pin, entity from run where id = any($1::text[])"
    about = {
        id_: {"workflow": workflow, "bkey": bkey, "pin": pin, "entity": entity}
        for id_, workflow, bkey, pin, entity in await Statement(statement, (ids,))
    }
    entities = await entities_of_cases(case for case in cases if case.run not in about)
    return [
        views.CaseRow(case=case, **about.get(case.run, {"entity": entities.get(case.id)})) for case in cases
    ]


async def leaves_of(run: str) -> list[tuple[int | None, Leaf]]:
    sql = f"""
    select {t.LEAF.of("l")}, tree.idx from leaf l left join tree on tree.leaf = l.id
    where l.run = $1 order by l.at, l.rowid
    """
    rows = await Statement(sql, (run,))
    return [(row[-1], t.LEAF.read(row)) for row in rows]


async def matches(limit: int = 10_000) -> list[views.MatchRow]:
    return await _match_rows(_MATCHED, (limit,))


async def _match_rows(where: str, args: tuple[Any, ...]) -> list[views.MatchRow]:
    sides: dict[tuple[str, str], tuple[list[Any], list[Any], list[Any]]] = {}
    tables: tuple[SqlTable[Any], ...] = (t.FOIL, t.OBSERVATION, t.ALLOCATION)
    for side, table in enumerate(tables):
        columns = list(table.columns)
        rule, key = columns.index("rule"), columns.index("key")
        order = "id" if table is not t.ALLOCATION else "foil, observation, leg"
        for row in await Statement(f"{table.select} where {where} order by {order}", args):
            sides.setdefault((row[rule], row[key]), ([], [], []))[side].append(table.read(row))
    ids = sorted(foil.id for foils, _, _ in sides.values() for foil in foils)
    decided = "where foil = any($1::text[]) and ended_at is null order by id"
    pairings = await records(t.PAIRING, decided, ids)
    waivers = await records(t.WAIVER, decided, ids)
    closed = f"select distinct rule, key from document_version where {where} and {CLOSED_ASSERTION}"
    asserted = {(rule, key) for rule, key in await Statement(closed, args)}
    using = f"""
    {t.FOIL.select} where (rule, document) in (
      select user_rule, document from match_user where rule = any($1::text[]) and key = any($2::text[])
    ) order by id
    """
    keys = [rule for rule, _ in sides], [key for _, key in sides]
    users = users_by_cap(t.FOIL.read(row) for row in await Statement(using, keys))
    return [
        views.MatchRow(
            rule=rule,
            key=key,
            users=users.get((rule, key), ()),
            asserted_before=(rule, key) in asserted,
            foils=tuple(foils),
            observations=tuple(observations),
            allocations=tuple(allocations),
            pairings=tuple(p for p in pairings if p.foil in {f.id for f in foils}),
            waivers=tuple(w for w in waivers if w.foil in {f.id for f in foils}),
        )
        for (rule, key), (foils, observations, allocations) in sorted(sides.items())
    ]


async def counts(entities: tuple[str, ...] | None = None) -> dict[str, int]:
    if entities is not None:
        return await counts_of(entities, _COUNTS)
    numbers: dict[str, int] = {}
    for table, column in _COUNTS:
        for state, count in await Statement(f"select {column}, count(*) from {table} group by {column}", ()):
            numbers[f"{table.rstrip('_')}.{state}"] = count
    for table in _TOTALS:
        numbers[table] = (await Statement(f"select count(*) from {table}", ()))[0][0]
    for parked, count in await Statement("select parked, count(*) from todo group by parked", ()):
        numbers["todo.parked" if parked else "todo.waiting"] = count
    return numbers
