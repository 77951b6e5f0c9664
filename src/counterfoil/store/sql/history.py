"""Reads of match rows as they were known at a time, in SQL once for both stores; never used to decide."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from counterfoil.core.clock import micros
from counterfoil.core.foil import Pairing, Waiver
from counterfoil.store.port.as_of import KnownMatches, assemble
from counterfoil.store.port.matches import DocumentVersion
from counterfoil.store.port.views import MatchRow
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, records

_CURRENT = "known_from <= $1 and (known_to is null or known_to > $1)"
_DECIDED = "at <= $1 and (ended_at is null or ended_at > $1)"


async def matches_known(which: KnownMatches) -> list[MatchRow]:
    """Return the selected match rows with the versions, pairs and waivers of that time; states are not recomputed."""
    at = micros(which.known)
    if which.key is not None:
        first = await records(t.VERSION, f"where {_CURRENT} and key = $2", at, which.key)
        first += await _of_documents(at, "right", await _items_of(which.key))
    else:
        first = await _of_documents(at, which.side, which.documents)
    keys = {(v.rule, v.key) for v in first} | await _present_keys(which)
    if which.key is not None:
        keys |= {(v.rule, which.key) for v in first}
    versions = {_name(v): v for v in first}
    pairings: dict[str, Pairing] = {}
    new = keys
    while new:
        versions |= {_name(v): v for v in await _of_keys(at, keys)}
        pairings |= {p.id: p for p in await _pairings(at, versions.values())}
        versions |= await _partners(at, pairings.values(), versions)
        versions |= await _related(at, versions)
        new = {(v.rule, v.key) for v in versions.values()} - keys
        keys |= new
    waivers = await _waivers(at, versions.values())
    asserted = await _asserted_before(at, keys)
    users = await _users(at, keys)
    rows = assemble(versions.values(), pairings.values(), waivers, asserted, which.known, users)
    return [row for row in rows if which.key is None or row.key == which.key]


async def matches_of_rule(rule: str, at: datetime) -> list[MatchRow]:
    """Return every match row of a reconciliation with the versions, pairs and waivers of a time."""
    moment = micros(at)
    versions = await records(t.VERSION, f"where {_CURRENT} and rule = $2", moment, rule)
    pairings = await records(t.PAIRING, f"where {_DECIDED} and rule = $2 order by id", moment, rule)
    waivers = await records(t.WAIVER, f"where {_DECIDED} and rule = $2 order by id", moment, rule)
    keys = {(v.rule, v.key) for v in versions}
    asserted = await _asserted_before(moment, keys)
    return assemble(versions, pairings, waivers, asserted, at, await _users(moment, keys))


async def item_cases(ids: Iterable[str], at: datetime) -> dict[str, str]:
    """Return the Cases of unmatched items that were open at a time, by item."""
    statement = """
    select observation, id from case_ where observation = any($1::text[])
      and created_at <= $2 and (resolved_at is null or resolved_at > $2)
    """
    return {str(item): str(case) for item, case in await Statement(statement, (list(ids), micros(at)))}


def _name(version: DocumentVersion) -> tuple[str, str, str]:
    return version.side, version.rule, version.document


async def _of_documents(at: int, side: str, names: Iterable[tuple[str, str]]) -> list[DocumentVersion]:
    pairs = set(names)
    where = f"where {_CURRENT} and side = $2 and rule = any($3::text[]) and document = any($4::text[])"
    rules, documents = sorted({rule for rule, _ in pairs}), sorted({document for _, document in pairs})
    versions = await records(t.VERSION, where, at, side, rules, documents) if pairs else []
    return [v for v in versions if (v.rule, v.document) in pairs]


async def _of_keys(at: int, keys: set[tuple[str, str]]) -> list[DocumentVersion]:
    """Return the versions on these matches, and those of items that a person's pair has moved since."""
    args: tuple[Any, ...] = (sorted({rule for rule, _ in keys}), sorted({key for _, key in keys}))
    where = f"where {_CURRENT} and rule = any($2::text[]) and key = any($3::text[])"
    versions = [v for v in await records(t.VERSION, where, at, *args) if (v.rule, v.key) in keys]
    moved = """
    select rule, document from observation where rule = any($1::text[]) and own_key = any($2::text[])
    """
    names = [(str(rule), str(document)) for rule, document in await Statement(moved, args)]
    return [*versions, *await _of_documents(at, "right", names)]


async def _items_of(key: str) -> list[tuple[str, str]]:
    """Return the items that have this key now: of old, a version under a person's pair has the key of the pair."""
    statement = """
    select rule, document from observation where key = $1
    union select rule, document from observation where own_key = $1 and own_key <> ''
    """
    return [(str(rule), str(document)) for rule, document in await Statement(statement, (key,))]


async def _users(at: int, keys: set[tuple[str, str]]) -> list[DocumentVersion]:
    """Return the versions of documents that use up the total of one of these matches, or did so by another version."""
    statement = """
    select distinct user_rule, document from match_user
    where rule = any($1::text[]) and key = any($2::text[])
    """
    args = (sorted({rule for rule, _ in keys}), sorted({key for _, key in keys}))
    names = [(str(rule), str(document)) for rule, document in await Statement(statement, args)]
    return await _of_documents(at, "left", names)


async def _present_keys(which: KnownMatches) -> set[tuple[str, str]]:
    """Return the present matches of the documents: a document renamed since has its versions there."""
    pairs = set(which.documents)
    if not pairs:
        return set()
    table = "foil" if which.side == "left" else "observation"
    rules, documents = sorted({rule for rule, _ in pairs}), sorted({document for _, document in pairs})
    statement = f"""
    select rule, document, key, own_key from {table} where rule = any($1::text[]) and document = any($2::text[])
    """  # noqa: S608 - the name of a table
    rows = [row for row in await Statement(statement, (rules, documents)) if (row[0], row[1]) in pairs]
    return {(str(rule), str(key)) for rule, _, *keys in rows for key in keys if key}


async def _ids(versions: Iterable[DocumentVersion], side: str) -> list[str]:
    """Return the ids of the rows of documents."""
    names = {(v.rule, v.document) for v in versions if v.side == side}
    table = "foil" if side == "left" else "observation"
    rules, documents = sorted({rule for rule, _ in names}), sorted({document for _, document in names})
    statement = f"""
    select id, rule, document from {table} where rule = any($1::text[]) and document = any($2::text[])
    """  # noqa: S608 - the name of a table
    return [
        str(id_)
        for id_, rule, document in await Statement(statement, (rules, documents))
        if (rule, document) in names
    ]


async def _pairings(at: int, versions: Iterable[DocumentVersion]) -> list[Pairing]:
    rows = list(versions)
    lefts, rights = await _ids(rows, "left"), await _ids(rows, "right")
    where = f"where {_DECIDED} and (foil = any($2::text[]) or observation = any($3::text[])) order by id"
    return await records(t.PAIRING, where, at, lefts, rights)


async def _partners(
    at: int, pairings: Iterable[Pairing], versions: dict[tuple[str, str, str], DocumentVersion]
) -> dict[tuple[str, str, str], DocumentVersion]:
    """Return the versions of documents that are paired with these and stand on another match."""
    rows = list(pairings)
    partners: dict[tuple[str, str, str], DocumentVersion] = {}
    for side, table, ids in (
        ("left", "foil", [p.foil for p in rows]),
        ("right", "observation", [p.observation for p in rows]),
    ):
        statement = f"select rule, document from {table} where id = any($1::text[])"  # noqa: S608 - a table
        names = [(str(rule), str(document)) for rule, document in await Statement(statement, (ids,))]
        missing = [name for name in names if (side, *name) not in versions]
        partners |= {_name(v): v for v in await _of_documents(at, side, missing)}
    return partners


async def _related(
    at: int, versions: dict[tuple[str, str, str], DocumentVersion]
) -> dict[tuple[str, str, str], DocumentVersion]:
    """Return further versions of documents that reverse one another with these."""
    further: dict[tuple[str, str, str], DocumentVersion] = {}
    new = versions
    while new:
        hits: list[DocumentVersion] = []
        for side in ("left", "right"):
            mine = [v for v in new.values() if v.side == side]
            hits += await _of_documents(at, side, {(v.rule, v.reverses) for v in mine if v.reverses})
            names = {(v.rule, v.document) for v in mine}
            rules, documents = sorted({rule for rule, _ in names}), sorted({name for _, name in names})
            where = f"""
            where {_CURRENT} and side = $2 and reverses <> '' and rule = any($3::text[]) and reverses = any($4::text[])
            """
            reversals = await records(t.VERSION, where, at, side, rules, documents) if names else []
            hits += [v for v in reversals if (v.rule, v.reverses) in names]
        new = {_name(v): v for v in hits if _name(v) not in versions and _name(v) not in further}
        further |= new
    return further


async def _waivers(at: int, versions: Iterable[DocumentVersion]) -> list[Waiver]:
    ids = await _ids(versions, "left")
    return await records(t.WAIVER, f"where {_DECIDED} and foil = any($2::text[]) order by id", at, ids)


async def _asserted_before(at: int, keys: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the matches on which a left document stood by a version that was closed at the time.

    A version that reverses a document known then stood on the match of that document.
    """
    statement = """
    select distinct rule, key from document_version v
    where side = 'left' and stood and known_to <= $1 and rule = any($2::text[]) and key = any($3::text[])
      and (reverses = '' or not exists (
        select 1 from document_version o
        where o.rule = v.rule and o.document = v.reverses and o.side = 'left' and o.known_from <= $1
      ))
    """
    args = (at, sorted({rule for rule, _ in keys}), sorted({key for _, key in keys}))
    return {(str(rule), str(key)) for rule, key in await Statement(statement, args)}
