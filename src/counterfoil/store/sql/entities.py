"""Rows by legal entity: the clauses of lists, and the reads of callers who see some entities only.

The entity of a row is that of what it is about: effects and Cases have no column of their own for it.
"""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Iterable, Sequence

from counterfoil.core.audit import Leaf
from counterfoil.core.case import Case
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement

_CLAUSES = {
    "run": "entity {test}",
    "foil": "entity {test}",
    "observation": "entity {test}",
    "head": "entity {test}",
    "event": "legal_entity {test}",
    "link": "legal_entity {test}",
    "effect": "exists (select 1 from run r where r.id = effect.run and r.entity {test})",
    "approval": "entity {test} and not exists (select 1 from plan where plan.digest = approval.run)",
    "case_": """(
      exists (select 1 from run r where r.id = case_.run and r.entity {test})
      or exists (select 1 from foil f where f.id = case_.foil and f.entity {test})
      or exists (select 1 from observation o where o.id = case_.observation and o.entity {test})
      or exists (select 1 from event e where e.id = case_.event and e.legal_entity {test})
    )""",
}
"""By table. A Case about a delivery that cannot be read, and an approval of a plan, belong to the company as a whole."""


def entity_clause(table: str, parameter: str) -> str:
    """Return the condition that a row belongs to one of the entities of an array parameter."""
    return _CLAUSES[table].format(test=f"= any({parameter}::text[])")


def by_entity(table: str) -> dict[str, str]:
    """Return the clauses of the filters `entity` and `entities`; `{0}` is the parameter."""
    return dict.fromkeys(("entity", "entities"), entity_clause(table, "{0}"))


async def entities_of_cases(cases: Iterable[Case]) -> dict[str, str]:
    """Return the legal entity of each Case without a Run, by id: that of its counterfoil, document or event."""
    by_case = {case.id: (case.foil, case.observation, case.event) for case in cases}
    entities: dict[str | None, str] = {}
    for place, (table, column) in enumerate(
        (("foil", "entity"), ("observation", "entity"), ("event", "legal_entity"))
    ):
        ids = sorted({about[place] or "" for about in by_case.values()} - {""})
        if ids:
            statement = f"select id, {column} from {table} where id = any($1::text[])"
            for id_, entity in await Statement(statement, (ids,)):
                entities[id_] = entity
    return {
        case: next(entities[id_] for id_ in about if id_ in entities)
        for case, about in by_case.items()
        if not entities.keys().isdisjoint(about)
    }


async def counts_of(entities: Sequence[str], states: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the counts of the rows of legal entities; what belongs to none, such as receipts, is not counted."""
    numbers: dict[str, int] = {}
    for table, column in states:
        where = f"where {entity_clause(table, '$1')} group by {column}"
        for state, count in await Statement(
            f"select {column}, count(*) from {table} {where}", (list(entities),)
        ):
            numbers[f"{table.rstrip('_')}.{state}"] = count
    for table in ("event", "observation"):
        statement = f"select count(*) from {table} where {entity_clause(table, '$1')}"
        numbers[table] = (await Statement(statement, (list(entities),)))[0][0]
    return numbers


async def runs_by_entity() -> list[tuple[str, str, int]]:
    """Return how many Runs each legal entity has: entity, status, count."""
    rows = await Statement(
        "select entity, status, count(*) from run group by entity, status order by 1, 2", ()
    )
    return [(entity, status, count) for entity, status, count in rows]


async def leaves_seen(start: int, limit: int, entities: tuple[str, ...]) -> list[tuple[int, Leaf]]:
    """Return sealed leaves about Runs and documents of legal entities, by tree index."""
    about = " or ".join(
        f"exists (select 1 from {table} where {table}.id = l.subject and {entity_clause(table, '$3')})"
        for table in ("foil", "observation", "event", "approval", "case_", "effect")
    )
    sql = f"""
    select {t.LEAF.of("l")}, tree.idx from tree join leaf l on l.id = tree.leaf
    where tree.idx >= $1 and (
      exists (select 1 from run where run.id = l.run and {entity_clause("run", "$3")}) or {about}
    )
    order by tree.idx limit $2
    """
    return [(row[-1], t.LEAF.read(row)) for row in await Statement(sql, (start, limit, list(entities)))]
