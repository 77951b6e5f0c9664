"""Reads of version usage: events that Releases wait for, and use of deprecated versions."""
# ruff: noqa: S608 - only lengths are put into statements, names never are

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from counterfoil.core.clock import from_micros
from counterfoil.store.port.versions import VersionUsage, WaitingRuns, days_of
from counterfoil.store.sql.statements import Statement


async def awaited_events() -> list[tuple[str, str | None, str | None]]:
    """Return release, event type and narrowing field; both None for a Release that was stored without them."""
    statement = """
    select r.digest, w.type, w.field from release r left join waited w on w.release = r.digest
    order by r.at, r.digest, w.type, w.field
    """
    rows = await Statement(statement, ())
    return [(row[0], row[1], row[2]) for row in rows]


async def version_usage(at: datetime) -> list[VersionUsage]:
    rows = await Statement("select name, side, who, day, count, first_at, last_at from version_use", ())
    by_user: dict[tuple[str, str, str], list[tuple[int, int, int, int]]] = {}
    for name, side, who, *rest in rows:
        by_user.setdefault((name, side, who), []).append(tuple(rest))
    return [
        VersionUsage(
            name=name,
            side=side,
            who=who,
            count=sum(count for _, count, _, _ in days),
            first_at=from_micros(min(first for _, _, first, _ in days)),
            last_at=from_micros(max(last for _, _, _, last in days)),
            days=days_of([(day, count) for day, count, _, _ in days], at),
        )
        for (name, side, who), days in sorted(by_user.items())
    ]


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
