"""Usage in the port: the transition that keeps a batch, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from counterfoil.core import wire
from counterfoil.core.case import Case
from counterfoil.core.cases import MAX_MESSAGE_CHARS
from counterfoil.core.clock import micros
from counterfoil.core.usage import RefusedUsage, UsageRow, digest, examples

CLASH = "usage_clash"


class StoreUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a batch of usage: insert each row unless (source, id) exists, for ever; one leaf with count and digest.

    A row that exists with the same content is repeated, nothing written; one with another content stays as it
    is, and what came is set aside with `refused` in quarantine, each once for each reason. The Case of a reason opens
    where something new was set aside for it. Nothing new at all -> no leaf.
    """

    batch: str
    """A name that no other batch has."""
    rows: tuple[UsageRow, ...]
    """In order of source and id, no two alike in both."""
    refused: tuple[RefusedUsage, ...] = ()
    cases: tuple[Case, ...]
    """One for `usage_clash` and one for each reason among the refused; the store adds count and examples."""
    at: datetime
    actor: str


class UsageStored(msgspec.Struct, frozen=True, kw_only=True):
    accepted: int
    repeated: int
    clashes: tuple[int, ...] = ()
    """Places among the rows."""


def clash(row: UsageRow) -> RefusedUsage:
    """What came under an id that is kept with another content."""
    message = "kept before with another content; the first one stands"
    return RefusedUsage(reason=CLASH, message=message, source=row[0], id=row[1], body=row[7])


def quarantine_row(
    keep: StoreUsage, refused: RefusedUsage
) -> tuple[str, str, int, str, str, str, str, bytes]:
    """The row of a refused event, in the order of the table's columns."""
    at = micros(keep.at)
    return (
        refused.key,
        keep.batch,
        at,
        refused.reason,
        refused.message,
        refused.source,
        refused.id,
        refused.body,
    )


def cases_of(keep: StoreUsage, new: Sequence[RefusedUsage]) -> list[Case]:
    """The Cases that open for what was newly set aside."""
    found = []
    for case in keep.cases:
        about = [refused for refused in new if refused.reason == case.reason]
        if about:
            message = f"{case.message}; {examples(about)}"[:MAX_MESSAGE_CHARS]
            found.append(msgspec.structs.replace(case, message=message))
    return found


def leaf_of(accepted: Sequence[UsageRow], repeated: int, refused: int) -> bytes:
    """The body of a batch's leaf."""
    return wire.dumps(
        {"accepted": len(accepted), "repeated": repeated, "refused": refused, "digest": digest(accepted)}
    )
