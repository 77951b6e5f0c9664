"""Reads of version usage: events that Releases wait for, and use of deprecated versions."""
# ruff: noqa: S608 - only lengths are put into statements, names never are

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from counterfoil.store.port.versions import VersionUsage, WaitingRuns, usage_by_user
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, records


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
