"""Version usage: counted uses of deprecated versions, and the Runs that wait for an event."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from counterfoil.core.clock import EPOCH
from counterfoil.store.port.transition import Transition

DAYS_SHOWN = timedelta(days=30)
"""Period for which uses are shown by day."""


class UseCount(msgspec.Struct, frozen=True, kw_only=True):
    """Counted uses of one version by one user, between two moments of one day (UTC)."""

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


class CountUse(Transition[bool], frozen=True, kw_only=True):
    """Add to the counts. A figure for people: it has no leaf, and a repeat is counted twice."""

    uses: tuple[UseCount, ...]


class VersionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """All uses of one version by one user."""

    name: str
    side: str
    who: str
    count: int
    first_at: datetime
    last_at: datetime
    days: dict[str, int] = {}
    """Counts of the last thirty days, by date; days without any are left out."""


class WaitingRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a workflow that wait for an event in one version."""

    name: str
    workflow: str
    count: int


def usage_by_user(rows: Iterable[UseCount], at: datetime) -> list[VersionUsage]:
    """Return the usage of each version by each user, of one row for each day of use."""
    oldest = (at - DAYS_SHOWN - EPOCH).days
    by_user: dict[tuple[str, str, str], list[UseCount]] = {}
    for row in sorted(rows, key=lambda row: (row.name, row.side, row.who, row.day)):
        by_user.setdefault((row.name, row.side, row.who), []).append(row)
    return [
        VersionUsage(
            name=name,
            side=side,
            who=who,
            count=sum(row.count for row in days),
            first_at=min(row.first_at for row in days),
            last_at=max(row.last_at for row in days),
            days={day_text(row.day): row.count for row in days if row.day > oldest},
        )
        for (name, side, who), days in by_user.items()
    ]


def day_text(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()
