"""Usage, set-wise: a batch is inserted by one statement, and only what did not go in is looked at."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.core.usage import UsageRow, same_content
from counterfoil.store.port import usage
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

_ARRAYS = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(t.USAGE.types, 1))
# The rows that went in are counted where they are: sending their keys back would cost as much as they did.
INSERT = f"""
with fresh as (
  insert into usage_event ({t.USAGE.names}) select * from unnest({_ARRAYS})
  on conflict do nothing returning 1
) select count(*) from fresh
"""
HELD = """
select source, id, body from usage_event where source = $1 and id = any($2::text[]) and batch <> $3
"""
CHANGES = "select total_changes()"


@sql(StoreUsage)
async def keep_usage(x: Tx, k: StoreUsage) -> StoreUsageResult:
    """Insert what is new; the unique index on (source, id) decides, here and between processes."""
    accepted: Sequence[UsageRow] = k.rows
    clashes: list[int] = []
    repeated = 0
    if await _insert(x, k) < len(k.rows):
        held = await _held(x, k)
        accepted = [row for row in k.rows if row[:2] not in held]
        for place, row in enumerate(k.rows):
            if row[:2] in held:
                if same_content(held[row[:2]], row[7]):
                    repeated += 1
                else:
                    clashes.append(place)
    refused = {r.key: r for r in (*k.refused, *(usage.clash(k.rows[place]) for place in clashes))}
    rows = [usage.quarantine_row(k, each) for each in refused.values()]
    new = {row[0] for row in await x.insert(t.QUARANTINE, rows, ignore=True, returning="id")}
    aside = [each for key, each in refused.items() if key in new]
    for case in usage.cases_of(k, aside):
        await x.open_case(case, k.at, k.actor)
    if accepted or aside:
        x.leaf("usage.kept", k.batch, k.at, k.actor, usage.leaf_of(accepted, repeated, len(aside)))
    return StoreUsageResult(accepted=len(accepted), repeated=repeated, clashes=tuple(clashes))


async def _insert(x: Tx, k: StoreUsage) -> int:
    """How many of the rows went in."""
    if not k.rows:
        return 0
    if x.dialect == "postgres":
        columns = [list(column) for column in zip(*k.rows, strict=True)]
        return int((await x.rows(INSERT, *columns))[0][0])
    before = (await x.rows(CHANGES))[0][0]
    await x.insert(t.USAGE, k.rows, ignore=True)
    return int((await x.rows(CHANGES))[0][0] - before)


async def _held(x: Tx, k: StoreUsage) -> dict[tuple[str, str], bytes]:
    """The bytes of those that were there before, by source and id."""
    held: dict[tuple[str, str], bytes] = {}
    for source in sorted({row[0] for row in k.rows}):
        wanted = [row[1] for row in k.rows if row[0] == source]
        for name, id_, body in await x.rows(HELD, source, wanted, k.batch):
            held[name, id_] = bytes(body)
    return held
