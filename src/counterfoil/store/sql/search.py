"""Look-ups of the global search: words of names, amounts, and the rows about Runs and documents; each by an index.

Words and amounts that many rows have are read up to a bound, so that a search never reads a whole table.
"""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.core.canonical import NAME_FIELDS
from counterfoil.core.money import Money
from counterfoil.core.search_words import MIN_PREFIX_CHARS, object_words, word_variants
from counterfoil.store.port.views import AmountTable
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.entities import entity_clause
from counterfoil.store.sql.statements import Insert, Statement

MAX_SCANNED_ROWS = 2000
"""Objects with the rarest word of a search, among which those with its other words are selected."""
MAX_OTHER_ROWS = 4
"""Rows that are read for each row of the answer, because some have the amount in another currency."""
MAX_COPIED_ROWS = 500
"""Objects whose words are filled in by one statement."""
_NEXT = "\x01"
"""Sorts before every letter of a word, so that nothing but the word itself is in between."""
_LAST = "\U0010ffff"
"""Sorts behind every letter of a word."""
_Entities = tuple[str, ...] | None
_AMOUNTS: dict[AmountTable, str] = {
    "foil": "amount_minor = $1 and legs like $2",
    "observation": f"amount_minor = $1 and legs like $2 and {t.UNACCOUNTED}",
    "approval": "amount = any($1::text[])",
    "case_": "exposure = any($1::text[]) and length(exposure) <= 100",
}
"""Conditions by table. Approvals and Cases have their amount as JSON text, and an index of it."""


def _bounds(word: str) -> tuple[str, str]:
    """Return the range of the words that begin with a word, or of the word alone if it is short."""
    return (word, word + (_LAST if len(word) >= MIN_PREFIX_CHARS else _NEXT))


def _only(table: str, entities: _Entities, number: int) -> tuple[str, list[list[str]]]:
    """Return the condition that a row belongs to the entities, and its argument."""
    if entities is None:
        return "true", []
    return entity_clause(table, f"${number}"), [list(entities)]


async def objects_with_words(
    words: Sequence[str], limit: int, entities: _Entities = None
) -> list[tuple[str, str]]:
    """Return type and key of objects of which each word begins a word of a name or number."""
    if not words:
        return []
    counts = {word: await _count(word) for word in words}
    first, *others = sorted(words, key=lambda word: (counts[word], word))
    if not counts[first]:
        return []
    args: list[object] = [*_bounds(first), limit]
    clauses = []
    for word in others:
        low, high = _bounds(word)
        args += [low, high]
        clauses.append(
            "exists (select 1 from head_word w where w.object = c.object and w.key = c.key "
            f"and w.word >= ${len(args) - 1} and w.word < ${len(args)})"
        )
    of_entity, more = _only("head", entities, len(args) + 1)
    statement = f"""
    select distinct c.object, c.key from (
      select object, key from head_word where word >= $1 and word < $2 order by word, object, key limit {MAX_SCANNED_ROWS}
    ) as c join head on head.object = c.object and head.key = c.key
    where {" and ".join([*clauses, of_entity])} order by c.object, c.key limit $3
    """
    return [(object_, key) for object_, key in await Statement(statement, (*args, *more))]


async def _count(word: str) -> int:
    """Return how many objects have a word that begins with this one, up to a bound."""
    statement = f"""
    select count(*) from (select 1 from head_word where word >= $1 and word < $2 limit {MAX_SCANNED_ROWS}) as hits
    """
    return int((await Statement(statement, _bounds(word)))[0][0])


async def near_words(word: str, limit: int, entities: _Entities = None) -> list[str]:
    """Return words of names that differ from a word by a letter or two."""
    of_entity, more = _only("head", entities, 3)
    statement = f"""
    select distinct v.word from (
      select distinct word from word_variant where variant = any($1::text[]) order by word limit {MAX_SCANNED_ROWS}
    ) as v where exists (
      select 1 from head_word w join head on head.object = w.object and head.key = w.key
      where w.word = v.word and {of_entity}
    ) order by v.word limit $2
    """
    return [row[0] for row in await Statement(statement, (word_variants(word), limit, *more))]


async def with_amount(
    table: AmountTable, amounts: Sequence[Money], limit: int, entities: _Entities = None
) -> list[str]:
    """Return the ids of the newest rows with one of these amounts of either sign, by their largest leg."""
    if table in ("foil", "observation"):
        hits = await _documents_with_amount(table, amounts, limit, entities)
    else:
        signed = [Money(sign * money.minor, money.currency) for money in amounts for sign in (1, -1)]
        column = t.APPROVAL.columns["amount"] if table == "approval" else t.CASE.columns["exposure"]
        texts = [column.save(one if table == "approval" else (one,)) for one in signed]
        of_entity, more = _only(table, entities, 3)
        statement = f"""
        select id, created_at from {table} where {_AMOUNTS[table]} and {of_entity}
        order by created_at desc, id desc limit $2
        """
        hits = [(id_, at) for id_, at in await Statement(statement, (texts, limit, *more))]
    hits.sort(key=lambda row: (row[1], row[0]), reverse=True)
    return list(dict.fromkeys(id_ for id_, _ in hits))[:limit]


async def _documents_with_amount(
    table: AmountTable, amounts: Sequence[Money], limit: int, entities: _Entities
) -> list[tuple[str, int]]:
    """Return ids and times. The index has minor units: the currency of each row is tested afterwards."""
    currencies: dict[int, set[str]] = {}
    for money in amounts:
        currencies.setdefault(abs(money.minor), set()).add(money.currency)
    of_entity, more = _only(table, entities, 4)
    time = "since" if table == "observation" else "created_at"
    statement = f"""
    select id, {time}, legs from {table} where {_AMOUNTS[table]} and {of_entity}
    order by {time} desc, id desc limit $3
    """
    hits: list[tuple[str, int]] = []
    for minor, names in currencies.items():
        like = f'%"currency":"{min(names)}"%' if len(names) == 1 else "%"
        for id_, at, legs in await Statement(statement, (minor, like, MAX_OTHER_ROWS * limit, *more)):
            values = t.FOIL.columns["legs"].load(legs).values()
            if any(isinstance(v, Money) and abs(v.minor) == minor and v.currency in names for v in values):
                hits.append((id_, at))
    return hits


async def cases_about(
    runs: Sequence[str], foils: Sequence[str], items: Sequence[str], limit: int, entities: _Entities = None
) -> list[str]:
    """Return the ids of the newest Cases about these Runs and counterfoils, and the open ones about these items."""
    of_entity, more = _only("case_", entities, 5)
    statement = f"""
    select id from (
      select id, created_at from case_ where run = any($1::text[]) and {of_entity}
      union
      select id, created_at from case_ where foil = any($2::text[]) and {of_entity}
      union
      select id, created_at from case_ where observation = any($3::text[]) and state = 'open' and {of_entity}
    ) as hits order by created_at desc, id desc limit $4
    """
    rows = await Statement(statement, (list(runs), list(foils), list(items), limit, *more))
    return [row[0] for row in rows]


async def approvals_about(runs: Sequence[str], limit: int, entities: _Entities = None) -> list[str]:
    """Return the ids of the newest approvals of these Runs."""
    of_entity, more = _only("approval", entities, 3)
    statement = f"""
    select id from approval where run = any($1::text[]) and {of_entity} order by created_at desc, id desc limit $2
    """
    return [row[0] for row in await Statement(statement, (list(runs), limit, *more))]


async def items_of(
    rules: Sequence[str], keys: Sequence[str], limit: int, entities: _Entities = None
) -> list[str]:
    """Return the ids of the newest unmatched items whose key or document is one of these."""
    of_entity, more = _only("observation", entities, 4)
    statement = f"""
    select id from (
      select id, since from observation
      where rule = any($1::text[]) and key = any($2::text[]) and {t.UNACCOUNTED} and {of_entity}
      union
      select id, since from observation
      where document = any($2::text[]) and {t.UNACCOUNTED} and {of_entity}
    ) as hits order by since desc, id desc limit $3
    """
    return [row[0] for row in await Statement(statement, (list(rules), list(keys), limit, *more))]


async def add_variants(words: Sequence[str]) -> None:
    """Write the near ones of words that the store has not had before. A race writes a row twice, which changes no answer."""
    near = {word: word_variants(word) for word in words}
    names = sorted(word for word, variants in near.items() if variants)
    if not names:
        return
    statement = "select word from word_variant where variant = any($1::text[]) and word = variant"
    existing = {row[0] for row in await Statement(statement, (names,))}
    rows = [(variant, word) for word in names if word not in existing for variant in near[word]]
    if rows:
        await Insert(t.WORD_VARIANT, rows, False, "")


async def fill_words() -> None:
    """Write the words of objects that were stored before their words were."""
    last = ("", "")
    while True:
        statement = """
        select object, key from head where (object, key) > ($1, $2) order by object, key limit $3
        """
        objects = [(object_, key) for object_, key in await Statement(statement, (*last, MAX_COPIED_ROWS))]
        if not objects:
            return
        await _fill(objects)
        last = objects[-1]


async def _fill(objects: Sequence[tuple[str, str]]) -> None:
    statement = """
    select object, key, field, value from head_text
    where object = any($1::text[]) and key = any($2::text[]) and field = any($3::text[])
    """
    names = (sorted({o for o, _ in objects}), [key for _, key in objects], list(NAME_FIELDS))
    states: dict[tuple[str, str], dict[str, str]] = {}
    for object_, key, field, value in await Statement(statement, names):
        states.setdefault((object_, key), {})[field] = value
    words = {name: object_words(states[name]) for name in objects if name in states}
    rows = [(*name, word) for name, texts in words.items() for word in texts]
    if rows:
        await Insert(t.HEAD_WORD, rows, False, "")
        await add_variants(sorted({row[2] for row in rows}))
