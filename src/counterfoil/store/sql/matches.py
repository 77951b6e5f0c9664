"""Parts of several transitions: versions of documents recorded, and match rows settled."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from counterfoil.core import ids
from counterfoil.core.cases import case_of_pairing
from counterfoil.core.clock import micros
from counterfoil.core.foil import NEEDS_CASE, Allocation, Foil, Observation, Pairing
from counterfoil.core.foil_versions import (
    Withdrawal,
    is_recorded,
    next_foil,
    next_observation,
    runs_of_version,
    stood_before,
)
from counterfoil.core.homes import at_home, own_key
from counterfoil.core.settle import MatchRows, pairing_holds, settle
from counterfoil.store.port.matches import (
    closed_note,
    consequences,
    is_accounted_for,
    row_of,
    users_by_cap,
    version_of,
    with_grace,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.break_cases import FOIL_BY_ID, open_break
from counterfoil.store.sql.columns import SqlTable
from counterfoil.store.sql.match_locks import Match, SharedMatchError, lock_late, withdrawals_of
from counterfoil.store.sql.statements import Row

if TYPE_CHECKING:
    from counterfoil.store.sql.transaction import Tx

FOILS_OF_MATCH = f"""
{t.FOIL.select} where rule = $1 and key = $2
union all
{t.FOIL.select} where (rule, document) in (select user_rule, document from match_user where rule = $1 and key = $2)
  and not (rule = $1 and key = $2)
order by id
"""
"""With foils of other matches that use up its total, or did so by a former version."""
FOILS_OF_EFFECT = f"{t.FOIL.select} where effect = $1 order by id"
SHOWN_OF_MATCH = f"{t.OBSERVATION.select} where rule = $1 and key = $2 order by id"
FOIL_OF_DOCUMENT = f"{t.FOIL.select} where rule = $1 and document = $2"
SHOWN_OF_DOCUMENT = f"{t.OBSERVATION.select} where rule = $1 and document = $2"
PAIRINGS_OF_MATCH = f"""
{t.PAIRING.select} where ended_at is null and foil in (select id from foil where rule = $1 and key = $2)
"""
WAIVERS_OF_MATCH = f"""
{t.WAIVER.select} where ended_at is null and foil in (select id from foil where rule = $1 and key = $2)
"""
PAIRINGS_OF_DOCUMENT = f"""
{t.PAIRING.select} where ended_at is null and (foil = $1 or observation = $1) order by id
"""
VERSIONS_OF_DOCUMENT = f"{t.VERSION.select} where side = $1 and rule = $2 and document = $3"
CLEAR_ALLOCATIONS = "delete from allocation where rule = $1 and key = $2"
MOVE_FOIL = "update foil set key = $2, own_key = $3 where id = $1"
MOVE_SHOWN = "update observation set key = $2, own_key = $3 where id = $1"
SHOWN_BY_ID = f"{t.OBSERVATION.select} where id = $1"
CLOSED_ASSERTION = """
side = 'left' and stood and known_to is not null and (reverses = '' or not exists (
  select 1 from foil where foil.rule = document_version.rule and foil.document = document_version.reverses
))
"""
"""A version that reverses a known document stood on the match of that document."""
ASSERTED_BEFORE = f"""
select 1 from document_version where rule = $1 and key = $2 and {CLOSED_ASSERTION} limit 1
"""
REVERSALS = {
    True: "select 1 from foil where rule = $1 and reverses = $2 and reverses <> '' limit 1",
    False: "select 1 from observation where rule = $1 and reverses = $2 and reverses <> '' limit 1",
}
"""By whether the document is of the left side."""
REVERSED_BEFORE = """
select key from document_version where side = 'left' and rule = $1 and reverses = $2 and reverses <> ''
"""
CLOSE_VERSION = """
update document_version set known_to = $4
where side = $1 and rule = $2 and document = $3 and known_to is null
"""
END_CASES = """
update case_ set state = 'resolved', resolved_at = $2, resolved_by = 'matching', note = $3
where foil = $1 and state = 'open' and choices not like '%"retry"%'
"""
"""A Case that holds a Run awaits its decision."""
END_ITEM_CASES = """
update case_ set state = 'resolved', resolved_at = $2, resolved_by = 'matching', note = 'its assertion has arrived'
where observation = $1 and state = 'open'
"""


def _update(table: SqlTable[Foil] | SqlTable[Observation]) -> str:
    columns = [column for column in table.columns if column != "id"]
    settings = ", ".join(f"{column} = ${n}" for n, column in enumerate(columns, start=2))
    return f"update {table.name} set {settings} where id = $1"


def _family_of(table: SqlTable[Foil] | SqlTable[Observation]) -> str:
    # `cross join` has SQLite read the few documents first.
    return f"""
{table.select} where rule = $1 and document in (
  with recursive originals(document) as (
    select cast($2 as text)
    union
    select r.reverses from originals o
    cross join {table.name} r where r.rule = $1 and r.document = o.document and r.reverses <> ''
  ), related(document) as (
    select document from originals
    union
    select r.document from related o
    cross join {table.name} r where r.rule = $1 and r.reverses = o.document and r.reverses <> ''
  )
  select document from related
) order by id
"""


UPDATE_FOIL = _update(t.FOIL)
UPDATE_SHOWN = _update(t.OBSERVATION)
FOIL_FAMILY, SHOWN_FAMILY = _family_of(t.FOIL), _family_of(t.OBSERVATION)
"""A document, with those that reverse one another with it."""


async def put_foil(x: Tx, foil: Foil, at: datetime, *, reread: bool = False) -> set[Match]:
    """Record one version of a left document, or another reading of one; return the match rows that it touches."""
    row = t.FOIL.row(foil)
    if await x.insert(t.FOIL, [row], ignore=True, returning="id"):
        await _record(x, foil, at, first=True)
        touched = {(foil.rule, foil.key)} | foil.caps | await _place(x, foil, at)
        return touched | await _reversed_before(x, foil)
    hits = await x.rows(FOIL_OF_DOCUMENT, foil.rule, foil.document)
    if not hits:
        # A row that was renamed keeps its id.
        return await put_foil(x, replace(foil, id=ids.derive("foil", foil.id, foil.document)), at)
    before = t.FOIL.read(hits[0])
    while await lock_late(x, (before.rule, before.key), *before.caps):
        before = t.FOIL.read((await x.rows(FOIL_OF_DOCUMENT, foil.rule, foil.document))[0])
    newer = next_foil(before, foil, reread=reread)
    if newer is None:
        await _record(x, foil, at, older=True)
    after = newer or stood_before(before, foil)
    for run in runs_of_version(before, foil, newer):
        await _tell(x, before, replace(after or before, run=run), at)
    if after is None:
        # The late version was asserted on its own match.
        return {(foil.rule, foil.key)} | await _place(x, before, at)
    await _record(x, after, at)
    await x.rows(UPDATE_FOIL, *t.FOIL.row(after))
    if before.key != after.key:
        await x.rows(CLEAR_ALLOCATIONS, before.rule, before.key)
    touched = {(before.rule, before.key), (after.rule, after.key)} | before.caps | after.caps
    touched |= await _place(x, after, at)
    return touched | await _check_pairings(x, after, at)


async def put_observation(x: Tx, o: Observation, at: datetime, *, reread: bool = False) -> set[Match]:
    """Record one version of a right document, or another reading of one; return the match rows that it touches."""
    if await x.insert(t.OBSERVATION, [t.OBSERVATION.row(o)], ignore=True, returning="id"):
        await _record(x, o, at, first=True)
        return {(o.rule, o.key)} | await _place(x, o, at)
    hits = await x.rows(SHOWN_OF_DOCUMENT, o.rule, o.document)
    if not hits:
        return await put_observation(x, replace(o, id=ids.derive("obs", o.id, o.document)), at)
    before = t.OBSERVATION.read(hits[0])
    while await lock_late(x, (before.rule, before.key), (before.rule, before.own_key or before.key)):
        before = t.OBSERVATION.read((await x.rows(SHOWN_OF_DOCUMENT, o.rule, o.document))[0])
    newer = next_observation(before, o, reread=reread)
    if newer is None:
        await _record(x, o, at, older=True)
    after = newer or stood_before(before, o)
    if after is None:
        return await _place(x, before, at)
    await _record(x, after, at)
    await x.rows(UPDATE_SHOWN, *t.OBSERVATION.row(after))
    if before.key != after.key:
        await x.rows(CLEAR_ALLOCATIONS, before.rule, before.key)
    touched = {(before.rule, before.key), (after.rule, after.key)} | await _check_pairings(x, after, at)
    return touched | await _place(x, after, at)


async def _place(x: Tx, row: Foil | Observation, at: datetime) -> set[Match]:
    """Put a document, and those that reverse one another with it, on their match; return the match rows touched."""
    left = isinstance(row, Foil)
    if not (row.reverses or row.own_key or await x.rows(REVERSALS[left], row.rule, row.document)):
        return set()
    family = await _family(x, row)
    if row.reverses and all(r.document != row.reverses for r in family):
        family = await _await_original(x, row)
    while await lock_late(x, *{(r.rule, key) for r in family for key in (r.key, own_key(r))}):
        family = await _family(x, row)
    paired = {
        r.id: r.key for r in family if not left and r.own_key and await x.rows(PAIRINGS_OF_DOCUMENT, r.id)
    }
    touched: set[Match] = set()
    for before, after in zip(family, at_home(family, paired), strict=True):
        if (after.key, after.own_key) != (before.key, before.own_key):
            touched |= {(before.rule, before.key), (after.rule, after.key)}
            await x.rows(MOVE_FOIL if left else MOVE_SHOWN, after.id, after.key, after.own_key)
            await x.rows(CLEAR_ALLOCATIONS, before.rule, before.key)
            if left:
                touched |= await _check_pairings(x, after, at)
    return touched


async def _reversed_before(x: Tx, original: Foil) -> set[Match]:
    """Return the matches by key of all versions that reverse a foil: they asserted nothing there, now it is known."""
    keys = await x.rows(REVERSED_BEFORE, original.rule, original.document)
    matches = {(original.rule, str(key)) for (key,) in keys}
    await lock_late(x, *sorted(matches))
    return matches


async def _family(x: Tx, row: Foil | Observation) -> list[Any]:
    if isinstance(row, Foil):
        return [t.FOIL.read(hits) for hits in await x.rows(FOIL_FAMILY, row.rule, row.document)]
    return [t.OBSERVATION.read(hits) for hits in await x.rows(SHOWN_FAMILY, row.rule, row.document)]


async def _await_original(x: Tx, row: Foil | Observation) -> list[Any]:
    """Read the family of a reversal again after any transaction that writes, at the same time, what it reverses.

    The unique name of a document makes the two wait for each other: without that, each would miss the row of the other.
    """
    if x.dialect == "postgres":
        if x.shared:
            raise SharedMatchError(f"{row.document} reverses a document that is not known")
        table: SqlTable[Any] = t.FOIL if isinstance(row, Foil) else t.OBSERVATION
        id_ = ids.derive("reversed", row.id)
        await x.insert(table, [table.row(replace(row, id=id_, document=row.reverses))], ignore=True)
        await x.rows(f"delete from {table.name} where id = $1", id_)
    return await _family(x, row)


async def withdraw(x: Tx, w: Withdrawal, at: datetime) -> set[Match]:
    """Take out a document that was shown before; return the match rows that it touches."""
    if w.split is not None:
        touched: set[Match] = set()
        for each in await withdrawals_of(x, w):
            touched |= await withdraw(x, each, at)
        return touched
    if w.side == "left":
        foils = await x.rows(FOIL_OF_DOCUMENT, w.rule, w.document)
        return await put_foil(x, w.foil(t.FOIL.read(foils[0]), at), at) if foils else set()
    observed = await x.rows(SHOWN_OF_DOCUMENT, w.rule, w.document)
    return (
        await put_observation(x, w.observation(t.OBSERVATION.read(observed[0]), at), at)
        if observed
        else set()
    )


async def _record(
    x: Tx, row: Foil | Observation, at: datetime, *, first: bool = False, older: bool = False
) -> None:
    """Add a version to the history; a newer one closes its predecessor. A repeat adds nothing."""
    version = version_of(row, at, at if older else None)
    if older:
        rows = await x.rows(VERSIONS_OF_DOCUMENT, version.side, version.rule, version.document)
        if is_recorded((row_of(t.VERSION.read(hits)) for hits in rows), row):
            return
    if not first and not older:
        await x.rows(CLOSE_VERSION, version.side, version.rule, version.document, micros(at))
    await x.insert(t.VERSION, [t.VERSION.row(version)])
    if isinstance(row, Foil) and row.within:
        users = [(rule, key, row.rule, row.document) for rule, key in sorted(row.caps)]
        await x.insert(t.MATCH_USER, users, ignore=True)


async def assign_entity(x: Tx, rule: str, key: str, entity: str, at: datetime) -> None:
    """Give the documents of a match without a legal entity this one, as a version of their own."""
    sides: tuple[tuple[SqlTable[Any], str], ...] = ((t.FOIL, UPDATE_FOIL), (t.OBSERVATION, UPDATE_SHOWN))
    for table, update in sides:
        without = f"{table.select} where rule = $1 and key = $2 and entity = '' order by id"
        for row in await x.rows(without, rule, key):
            after = replace(table.read(row), entity=entity)
            await _record(x, after, at)
            await x.rows(update, *table.row(after))


async def change_foils(
    x: Tx, effect: str, change: Callable[[Foil, datetime], Foil], at: datetime
) -> set[Match]:
    """Record what an outcome or a decision says about the documents of an effect."""
    touched = set()
    rows = [t.FOIL.read(row) for row in await x.rows(FOILS_OF_EFFECT, effect)]
    while await lock_late(x, *{match for foil in rows for match in {(foil.rule, foil.key)} | foil.caps}):
        rows = [t.FOIL.read(row) for row in await x.rows(FOILS_OF_EFFECT, effect)]
    for before in rows:
        after = change(before, at)
        if after is not before:
            await _record(x, after, at)
            await x.rows(UPDATE_FOIL, *t.FOIL.row(after))
            touched |= {(after.rule, after.key)} | after.caps
    return touched


async def rename(x: Tx, row: Foil | Observation, renamed: Foil | Observation, at: datetime) -> set[Match]:
    """Give a row another document id; its former name ends in the history. Return the match rows that it touches."""
    side, table = ("left", "foil") if isinstance(row, Foil) else ("right", "observation")
    await x.rows(CLOSE_VERSION, side, row.rule, row.document, micros(at))
    await _record(x, renamed, at)
    await x.rows(
        f"update {table} set document = $2, reverses = $3 where id = $1",
        row.id,
        renamed.document,
        renamed.reverses,
    )
    touched = {(row.rule, row.key)} | await _place(x, replace(row, reverses=""), at)
    if isinstance(row, Foil) and isinstance(renamed, Foil):
        touched |= await _reversed_before(x, row) | await _reversed_before(x, renamed)
    return touched | await _place(x, renamed, at)


async def end_pairing(x: Tx, pairing: Pairing, by: str, at: datetime) -> set[Match]:
    """End a person's pair: without another pair the observation goes back to its own match.

    Return the match rows that it touches.
    """
    await x.rows("update pairing set ended_at = $2, ended_by = $3 where id = $1", pairing.id, micros(at), by)
    observed = t.OBSERVATION.read((await x.rows(SHOWN_BY_ID, pairing.observation))[0])
    if not observed.own_key or await x.rows(PAIRINGS_OF_DOCUMENT, observed.id):
        return set()
    return await _move(x, observed, observed.own_key, "", at)


async def _move(x: Tx, observed: Observation, key: str, own: str, at: datetime) -> set[Match]:
    """Put an observation on another match, with what reverses it; return the match rows that it touches."""
    await lock_late(x, (observed.rule, observed.key), (observed.rule, key))
    await x.rows(MOVE_SHOWN, observed.id, key, own)
    await x.rows(CLEAR_ALLOCATIONS, observed.rule, observed.key)
    return {(observed.rule, observed.key), (observed.rule, key)} | await _place(x, observed, at)


async def pair(x: Tx, pairing: Pairing, foil: Foil, observed: Observation, at: datetime) -> set[Match]:
    """Write a person's pair: the observation goes to the match of its foil. Return the match rows that it touches.

    Its pairs with foils of other matches end.
    """
    for row in await x.rows(PAIRINGS_OF_DOCUMENT, observed.id):
        former = t.PAIRING.read(row)
        if t.FOIL.read((await x.rows(FOIL_BY_ID, former.foil))[0]).key != foil.key:
            ended = "update pairing set ended_at = $2, ended_by = $3 where id = $1"
            await x.rows(ended, former.id, micros(at), pairing.person)
    await x.insert(t.PAIRING, [t.PAIRING.row(pairing)])
    return await _move(x, observed, foil.key, own_key(observed), at)


async def _check_pairings(x: Tx, row: Foil | Observation, at: datetime) -> set[Match]:
    """End the pairs of a document that has other legs now than when a person paired it; a Case says so.

    An observation follows its foil to another match, unless another foil is paired with it.
    """
    touched: set[Match] = set()
    for hits in await x.rows(PAIRINGS_OF_DOCUMENT, row.id):
        pairing = t.PAIRING.read(hits)
        foil = t.FOIL.read((await x.rows(FOIL_BY_ID, pairing.foil))[0])
        observed = t.OBSERVATION.read((await x.rows(SHOWN_BY_ID, pairing.observation))[0])
        holds = pairing_holds(pairing, foil, observed)
        moved = foil.key != observed.key
        if holds and moved and len(await x.rows(PAIRINGS_OF_DOCUMENT, observed.id)) == 1:
            touched |= await _move(x, observed, foil.key, own_key(observed), at)
        elif not holds or moved:
            touched |= {(foil.rule, foil.key)} | await end_pairing(x, pairing, "matching", at)
            await x.open_case(case_of_pairing(pairing, foil, observed, at), at, "matching")
    return touched


async def settle_matches(x: Tx, matches: Iterable[Match], at: datetime, quiet: bool = False) -> list[str]:
    """Judge locked match rows; foils whose state changes append `foil` to their Run. Return the foils that moved.

    `quiet` opens no Cases: the caller opens one for all.
    """
    return [id_ for rule, key in sorted(matches) for id_ in await _settle(x, rule, key, at, quiet)]


async def rows_of(x: Tx, rule: str, key: str) -> MatchRows:
    rows = [t.FOIL.read(row) for row in await x.rows(FOILS_OF_MATCH, rule, key)]
    foils = [f for f in rows if (f.rule, f.key) == (rule, key)]
    users = users_by_cap(rows).get((rule, key), ())
    observed = [t.OBSERVATION.read(row) for row in await x.rows(SHOWN_OF_MATCH, rule, key)]
    pairings = [t.PAIRING.read(row) for row in await x.rows(PAIRINGS_OF_MATCH, rule, key)] if observed else []
    waivers = [t.WAIVER.read(row) for row in await x.rows(WAIVERS_OF_MATCH, rule, key)] if foils else []
    stood = any(f.stands or f.stood for f in foils)
    asserted = bool(observed) and not stood and bool(await x.rows(ASSERTED_BEFORE, rule, key))
    return MatchRows(foils, observed, pairings, waivers, asserted, users)


async def _settle(x: Tx, rule: str, key: str, at: datetime, quiet: bool) -> list[str]:
    rows = await rows_of(x, rule, key)
    settled = settle(rows, at)
    if rows.observations:
        await x.rows(CLEAR_ALLOCATIONS, rule, key)
        await x.insert(t.ALLOCATION, [_allocation_row(rule, key, a) for a in settled.allocations])
    before = {f.id: f for f in rows.foils}
    items = {o.id: o for o in rows.observations}
    for foil in settled.foils:
        await x.rows(UPDATE_FOIL, *t.FOIL.row(foil))
        await _follow(x, before[foil.id], foil, at, quiet)
    for o in settled.observations:
        await x.rows(UPDATE_SHOWN, *t.OBSERVATION.row(with_grace(items[o.id], o, at)))
        if is_accounted_for(o):
            await x.rows(END_ITEM_CASES, o.id, micros(at))
    return [f.id for f in settled.foils if f.state is not before[f.id].state]


async def _follow(x: Tx, before: Foil, foil: Foil, at: datetime, quiet: bool) -> None:
    follows = consequences(before, foil, at)
    if follows.leaf is not None:
        kind, body = follows.leaf
        x.leaf(kind, foil.id, at, "matching", body, run=foil.run)
    if follows.ends_cases and not (quiet and foil.state in NEEDS_CASE):
        await x.rows(END_CASES, foil.id, micros(at), closed_note(foil.state))
    if follows.tells_run:
        await _tell(x, before, foil, at)
    if follows.case is not None and not quiet:
        # After the item for the Run, which waits for a turn that opens a Case about the same.
        await open_break(x, follows.case, at)


async def _tell(x: Tx, before: Foil, foil: Foil, at: datetime) -> None:
    count = await x.rows("select count(*) from inbox where run = $1 and kind = 'foil'", foil.run)
    await x.append(consequences(before, foil, at).stimulus(foil, count[0][0]), at)


def _allocation_row(rule: str, key: str, a: Allocation) -> Row:
    return (rule, key, a.foil, a.observation, a.leg, a.amount.minor, a.amount.currency)
