"""Usage, set-wise: one statement inserts a batch, and only rows that were not inserted are read."""
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
# Inserted rows are counted in the database: returning their keys would cost as much as sending them.
INSERT = f"""
with fresh as (
  insert into usage_event ({t.USAGE.names}) select * from unnest({_ARRAYS})
  on conflict do nothing returning 1
) select count(*) from fresh
"""
EXISTING = """
select source, id, body from usage_event where source = $1 and id = any($2::text[]) and batch <> $3
"""
CHANGES = "select total_changes()"


@sql(StoreUsage)
async def store_usage(x: Tx, k: StoreUsage) -> StoreUsageResult:
    """Insert new rows; the unique index on (source, id) decides, also between processes."""
    accepted: Sequence[UsageRow] = k.rows
    clashes: list[int] = []
    repeated = 0
    if await _insert(x, k) < len(k.rows):
        existing = await _existing(x, k)
        accepted = [row for row in k.rows if row[:2] not in existing]
        for place, row in enumerate(k.rows):
            if row[:2] in existing:
                if same_content(existing[row[:2]], row[7]):
                    repeated += 1
                else:
                    clashes.append(place)
    refused = {r.key: r for r in (*k.refused, *(usage.clash(k.rows[place]) for place in clashes))}
    rows = [usage.quarantine_row(k, row) for row in refused.values()]
    new = {row[0] for row in await x.insert(t.QUARANTINE, rows, ignore=True, returning="id")}
    aside = [row for key, row in refused.items() if key in new]
    for case in usage.cases_of(k, aside):
        await x.count_case(case, k.at, k.actor)
    if accepted or aside:
        x.leaf("usage.kept", k.batch, k.at, k.actor, usage.leaf_of(accepted, repeated, len(aside)))
    return StoreUsageResult(accepted=len(accepted), repeated=repeated, clashes=tuple(clashes))


async def _insert(x: Tx, k: StoreUsage) -> int:
    if not k.rows:
        return 0
    if x.dialect == "postgres":
        columns = [list(column) for column in zip(*k.rows, strict=True)]
        return int((await x.rows(INSERT, *columns))[0][0])
    before = (await x.rows(CHANGES))[0][0]
    await x.insert(t.USAGE, k.rows, ignore=True)
    return int((await x.rows(CHANGES))[0][0] - before)


async def _existing(x: Tx, k: StoreUsage) -> dict[tuple[str, str], bytes]:
    bodies: dict[tuple[str, str], bytes] = {}
    for source in sorted({row[0] for row in k.rows}):
        ids = [row[1] for row in k.rows if row[0] == source]
        for name, id_, body in await x.rows(EXISTING, source, ids, k.batch):
            bodies[name, id_] = bytes(body)
    return bodies
