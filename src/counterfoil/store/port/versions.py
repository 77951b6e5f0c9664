"""Versions in the port: what Releases wait for, and who still uses a version that is on its way out."""
# ruff: noqa: S608 - only lengths are put into statements, names never are

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import msgspec

from counterfoil.store.sql.statements import Query
from counterfoil.store.sql.tables import EPOCH, moment

SHOWN = timedelta(days=30)
"""For how long back uses are told by day."""


class VersionUse(msgspec.Struct, frozen=True, kw_only=True):
    """So many uses of one version by one user, between two moments of one day (UTC)."""

    name: str
    """The event or operation, with its version."""
    side: str
    """`sends`, `takes` or `calls`."""
    who: str
    """`system:bills`, `person:ann`, `workflow:booking`, `reconciliation:posted`."""
    count: int
    first_at: datetime
    last_at: datetime

    @property
    def day(self) -> int:
        return (self.last_at - EPOCH).days


class CountUse(msgspec.Struct, frozen=True, kw_only=True):
    """Add to what is counted. A figure for people: it has no leaf, and one told twice is counted twice."""

    uses: tuple[VersionUse, ...]


class VersionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """All uses of one version by one user."""

    name: str
    side: str
    who: str
    count: int
    first_at: datetime
    last_at: datetime
    days: dict[str, int] = {}
    """Of the last thirty days, by date, those on which there were any."""


class WaitingRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a workflow that wait for an event in one version."""

    name: str
    workflow: str
    count: int


def days_of(counts: Sequence[tuple[int, int]], at: datetime) -> dict[str, int]:
    """Day numbers and counts as dates, without those too long ago."""
    oldest = (at - SHOWN - EPOCH).days
    return {day_text(day): count for day, count in sorted(counts) if day > oldest}


def day_text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


async def waited() -> list[tuple[str, str | None, str | None]]:
    """Release, event type and narrowing field; None and None for a Release that was kept before this was."""
    rows = await Query(
        """
        select r.digest, w.type, w.field from release r left join waited w on w.release = r.digest
        order by r.at, r.digest, w.type, w.field
        """,
        (),
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def used(at: datetime) -> list[VersionUsage]:
    rows = await Query("select name, side, who, day, count, first_at, last_at from version_use", ())
    by_user: dict[tuple[str, str, str], list[tuple[int, int, int, int]]] = {}
    for name, side, who, *rest in rows:
        by_user.setdefault((name, side, who), []).append(tuple(rest))
    return [
        VersionUsage(
            name=name,
            side=side,
            who=who,
            count=sum(count for _, count, _, _ in days),
            first_at=moment(min(first for _, _, first, _ in days)),
            last_at=moment(max(last for _, _, _, last in days)),
            days=days_of([(day, count) for day, count, _, _ in days], at),
        )
        for (name, side, who), days in sorted(by_user.items())
    ]


async def waiting(names: Sequence[str]) -> list[WaitingRuns]:
    found = []
    for name in sorted(set(names)):
        topic = f"event:{name}"
        rows = await Query(
            f"""
            select run.workflow, count(distinct run.id) from wait join run on run.id = wait.run
            where wait.topic = $1 or substr(wait.topic, 1, {len(topic) + 1}) = $2
            group by run.workflow order by run.workflow
            """,
            (topic, f"{topic}:"),
        )
        found += [WaitingRuns(name=name, workflow=workflow, count=count) for workflow, count in rows]
    return found
