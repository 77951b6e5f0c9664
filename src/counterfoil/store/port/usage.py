"""Usage: the transition that stores a batch, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.case import Case
from counterfoil.core.cases import MAX_MESSAGE_CHARS, totals
from counterfoil.core.clock import micros
from counterfoil.core.usage import RefusedUsage, UsageRow, digest, examples
from counterfoil.store.port.transition import Transition

CLASH = "usage_clash"


class StoreUsageResult(msgspec.Struct, frozen=True, kw_only=True):
    accepted: int
    repeated: int
    clashes: tuple[int, ...] = ()
    """Places among the rows."""


class StoreUsage(Transition[StoreUsageResult], frozen=True, kw_only=True):
    """Store a batch of usage: insert each row unless (source, id) exists; one leaf with count and digest.

    A repeat is recognised without a time limit. A row that exists with the same content is repeated, nothing written.
    One with another content stays as it is; the new content goes to quarantine with `refused`, once per reason. The
    Case of a group opens where a new row was quarantined for it; an open one counts the new rows. Nothing new at all ->
    no leaf.
    """

    together = True

    batch: str
    """A unique name."""
    rows: tuple[UsageRow, ...]
    """In order of source and id, without duplicates."""
    refused: tuple[RefusedUsage, ...] = ()
    cases: tuple[Case, ...]
    """One for each group of `refused` and for each group of clashes that the rows could have; the store adds count,
    examples and money."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        """Return the Cases of refused events. Clashes are found later, and add no money."""
        return frozenset(refused.group.case_id(self.at) for refused in self.refused)


def clash(row: UsageRow) -> RefusedUsage:
    message = "stored before with different content; the first event stays valid"
    return RefusedUsage(reason=CLASH, message=message, source=row[0], id=row[1], meter=row[4], body=row[7])


def quarantine_row(
    keep: StoreUsage, refused: RefusedUsage
) -> tuple[str, str, int, str, str, str, str, bytes]:
    """Return the row of a refused event, in the order of the table's columns."""
    at = micros(keep.at)
    r = refused
    return (r.key, keep.batch, at, r.reason, r.message, r.source, r.id, r.body)


def cases_of(keep: StoreUsage, new: Sequence[RefusedUsage]) -> list[Case]:
    """Return the Cases that count the rows that are new in quarantine, in order of id."""
    groups: dict[str, list[RefusedUsage]] = {}
    for refused in new:
        groups.setdefault(refused.group.case_id(keep.at), []).append(refused)
    cases = []
    for case in keep.cases if groups else ():
        about = groups.get(case.id)
        if about is not None:
            message = f"{case.message}; {examples(about)}"[:MAX_MESSAGE_CHARS]
            exposure = totals(money for refused in about for money in refused.amounts)
            cases.append(replace(case, message=message, count=len(about), exposure=exposure))
    return sorted(cases, key=lambda case: case.id)


def leaf_of(accepted: Sequence[UsageRow], repeated: int, refused: int) -> bytes:
    counts = {"accepted": len(accepted), "repeated": repeated, "refused": refused}
    return wire.dumps({**counts, "digest": digest(accepted)})
