"""Many transitions in one PostgreSQL transaction, run in lockstep: equal statements become one.

The coroutines of a wave advance until each yields a request. Equal statements are sent once, over arrays, and each
coroutine gets its own rows, so a batch costs about as many round trips as one transition. Transitions of one wave
share no key, see `waves`. What remains are appends to inboxes, each one statement, correct in any order.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

from counterfoil.store.port.transition import Transition
from counterfoil.store.sql.group_commit import ItemResult
from counterfoil.store.sql.statements import Insert, Request, Row, Statement, Work
from counterfoil.store.sql.transaction import APPEND, APPEND_MANY, LOCK_RUNS, LOCK_TOPICS

Ask = Callable[[Request], Awaitable[list[Row]]]
Types = Callable[[str], Awaitable[tuple[str, ...]]]
"""Returns the types of a statement's parameters, as the database understands them."""

OWNED = """
select effect.id, effect.run, foil.rule, foil.key
from effect left join foil on foil.effect = effect.id where effect.id = any($1::text[])
"""
_SHAPES = (
    (
        re.compile(r"^\s*(update \w+ set\b.*?)\bwhere\b(.*?)(?:\breturning\b(.*))?$", re.S),
        "{0} from {q} where {1}",
    ),
    (
        re.compile(r"^\s*(delete from \w+)\s+where\b(.*?)(?:\breturning\b(.*))?$", re.S),
        "{0} using {q} where {1}",
    ),
)


@cache
def over_arrays(sql: str, types: tuple[str, ...]) -> str | None:
    """Return the statement for many sets of parameters, each row led by the number of its set.

    None for statements that cannot be rewritten: parameters that are lists or limits, or another shape.
    """
    if not types or any(kind.endswith("[]") for kind in types) or "limit $" in sql:
        return None
    names = ", ".join(f"p{i}" for i in range(1, len(types) + 1))
    arrays = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(types, 1))
    source = f"unnest({arrays}) with ordinality as q ({names}, n)"
    body = re.sub(r"\$(\d+)", r"q.p\1", sql)
    if body.lstrip().startswith("select"):
        return f"select q.n, found.* from {source} cross join lateral ({body}) as found"  # noqa: S608
    for shape, form in _SHAPES:
        match = shape.match(body)
        if match:
            head, condition, returning = match.groups()
            more = f", {returning}" if returning else ""
            return form.format(head, condition, q=source) + f" returning q.n{more}"
    return None


def waves(
    batch: Sequence[Transition[Any]], owned: dict[str, set[str]]
) -> list[list[tuple[int, Transition[Any]]]]:
    """Split a batch into waves, in order, so that two transitions of one wave share no key.

    `owned` has the Run and the match rows of each effect that a transition names.
    """
    result: list[list[tuple[int, Transition[Any]]]] = []
    last: dict[str, int] = {}
    floor = 0
    for number, transition in enumerate(batch):
        touched = set(transition.keys())
        for effect in transition.effects_named():
            touched |= {effect} | owned.get(effect, set())
        wave = max([floor, *(last[key] + 1 for key in touched if key in last)])
        if not transition.together:
            wave = len(result)
            floor = wave + 1
        while len(result) <= wave:
            result.append([])
        result[wave].append((number, transition))
        last.update(dict.fromkeys(touched, wave))
    return result


async def together(works: Sequence[Work[Any]], ask: Ask, types: Types) -> list[ItemResult]:
    """Run all coroutines to their ends and return their results. A database error ends all of them."""
    outcomes = [ItemResult()] * len(works)
    waiting: dict[int, Request] = {}

    def advance(number: int, rows: list[Row] | None) -> None:
        try:
            # The first send starts the coroutine and gives it nothing.
            waiting[number] = works[number].send(rows)  # type: ignore[arg-type]
        except StopIteration as end:
            outcomes[number] = ItemResult(end.value)
        except Exception as error:
            outcomes[number] = ItemResult(error=error)

    try:
        for number in range(len(works)):
            advance(number, None)
        while waiting:
            groups: dict[object, list[int]] = {}
            for number, request in waiting.items():
                groups.setdefault(_words(request), []).append(number)
            requests, waiting = waiting, {}
            for members in groups.values():
                answered = await _answer([requests[number] for number in members], ask, types)
                for number, rows in zip(members, answered, strict=True):
                    advance(number, rows)
    finally:
        for work in works:
            work.close()
    return outcomes


def _words(request: Request) -> object:
    if isinstance(request, Statement):
        return request.sql
    return (request.table.name, request.ignore, request.returning)


async def _answer(requests: list[Request], ask: Ask, types: Types) -> list[list[Row]]:
    """Return the rows of each request; the requests differ only in their parameters."""
    if len(requests) == 1:
        return [await ask(requests[0])]
    inserts = [request for request in requests if isinstance(request, Insert)]
    if inserts:
        return await _insert(inserts, ask)
    queries = [request for request in requests if isinstance(request, Statement)]
    sql = queries[0].sql
    if sql in (LOCK_TOPICS, LOCK_RUNS):
        await ask(Statement(sql, (sorted({name for query in queries for name in query.args[0]}),)))
        return [[] for _ in queries]
    merged = APPEND_MANY if sql == APPEND else over_arrays(sql, await types(sql))
    # One statement can change a row only once, so requests for the same row stay apart.
    if merged is None or not _distinct(sql, queries):
        return [await ask(query) for query in queries]
    columns = tuple(list(column) for column in zip(*(query.args for query in queries), strict=True))
    answers: list[list[Row]] = [[] for _ in queries]
    for number, *row in await ask(Statement(merged, columns)):
        answers[number - 1].append(row)
    return answers


def _distinct(sql: str, queries: list[Statement]) -> bool:
    if sql == APPEND or sql.lstrip().startswith("select"):
        return True
    named = _row_places(sql)
    return len({tuple(query.args[place] for place in named) for query in queries}) == len(queries)


@cache
def _row_places(sql: str) -> tuple[int, ...]:
    """Return the positions of the parameters by which a statement names its rows."""
    condition = sql.partition("where")[2]
    return tuple(sorted({int(number) - 1 for number in re.findall(r"= \$(\d+)", condition)}))


async def _insert(inserts: list[Insert], ask: Ask) -> list[list[Row]]:
    """Insert all rows in one statement; each request gets its own inserted rows, the first of equal ones."""
    first = inserts[0]
    key = first.table.key
    rows = [row for insert in inserts for row in insert.rows]
    if not first.returning:
        await ask(Insert(first.table, rows, first.ignore, ""))
        return [[] for _ in inserts]
    width = len(first.returning.split(", "))
    names = list(first.table.columns)
    places = [names.index(column) for column in key]
    inserted: dict[tuple[Any, ...], Row] = {}
    for row in await ask(Insert(first.table, rows, first.ignore, f"{first.returning}, {', '.join(key)}")):
        inserted[tuple(row)[width:]] = tuple(row)[:width]
    answers = []
    for insert in inserts:
        own = [inserted.pop(tuple(row[place] for place in places), None) for row in insert.rows]
        answers.append([row for row in own if row is not None])
    return answers
