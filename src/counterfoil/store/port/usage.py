"""Usage: the transition that stores a batch, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.case import Case
from counterfoil.core.cases import MAX_MESSAGE_CHARS
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
    Case of a reason opens where a new row was quarantined for it. Nothing new at all -> no leaf.
    """

    together = True

    batch: str
    """A unique name."""
    rows: tuple[UsageRow, ...]
    """In order of source and id, without duplicates."""
    refused: tuple[RefusedUsage, ...] = ()
    cases: tuple[Case, ...]
    """One for `usage_clash` and one for each reason in `refused`; the store adds count and examples."""
    at: datetime
    actor: str


def clash(row: UsageRow) -> RefusedUsage:
    message = "stored before with different content; the first event stays valid"
    return RefusedUsage(reason=CLASH, message=message, source=row[0], id=row[1], body=row[7])


def quarantine_row(
    keep: StoreUsage, refused: RefusedUsage
) -> tuple[str, str, int, str, str, str, str, bytes]:
    """Return the row of a refused event, in the order of the table's columns."""
    at = micros(keep.at)
    r = refused
    return (r.key, keep.batch, at, r.reason, r.message, r.source, r.id, r.body)


def cases_of(keep: StoreUsage, new: Sequence[RefusedUsage]) -> list[Case]:
    """Return the Cases to open for rows that are new in quarantine."""
    cases = []
    for case in keep.cases:
        about = [refused for refused in new if refused.reason == case.reason]
        if about:
            message = f"{case.message}; {examples(about)}"[:MAX_MESSAGE_CHARS]
            cases.append(replace(case, message=message))
    return cases


def leaf_of(accepted: Sequence[UsageRow], repeated: int, refused: int) -> bytes:
    counts = {"accepted": len(accepted), "repeated": repeated, "refused": refused}
    return wire.dumps({**counts, "digest": digest(accepted)})
