"""Checkpoints of the books: prepared, signed by another person, and reported as changed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.case import Case
from counterfoil.core.document import Side
from counterfoil.store.port.transition import Transition

SignVerdict: TypeAlias = Literal["signed", "own", "gone", "period"]
"""`own`: the person prepared it. `gone`: another one took its place, or it is signed already. `period`: another cut-off was
signed before it, so its period begins later now."""


class PrepareCheckpoint(Transition[bool], frozen=True, kw_only=True):
    """Keep a prepared checkpoint in place of the former prepared one at its cut-off, whose Cases it resolves. One leaf.

    False: another process keeps one for the same cut-off at this moment, and nothing was written.
    """

    checkpoint: BookCheckpoint
    cases: tuple[Case, ...] = ()
    """About both ways of counting, and about control accounts, if they differ."""
    actor: str

    @property
    def at(self) -> datetime:
        return self.checkpoint.prepared_at

    def keys(self) -> frozenset[str]:
        return _keys(self.checkpoint.rule, self.checkpoint.entity)


class SignCheckpoint(Transition[SignVerdict], frozen=True, kw_only=True):
    """Sign a prepared checkpoint, for a person who did not prepare it. One leaf, with the digest of the content.

    The one that was signed at the same cut-off is superseded, and its Case about changes resolved.
    """

    checkpoint: str
    rule: str
    entity: str
    after: str
    """The signed cut-off after which its period begins; empty: it has everything."""
    person: str
    note: str
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return _keys(self.rule, self.entity)


class ReportChange(Transition[bool], frozen=True, kw_only=True):
    """Open a Case about changes in a signed checkpoint, unless its last one is open. True if one was opened.

    Changes known up to `reported` are reported by that; a report that is no newer changes nothing.
    """

    checkpoint: str
    case: Case
    reported: datetime
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([f"book_checkpoint/{self.checkpoint}"])


class ChangedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document that a signed checkpoint counts, or counts now, and that has another version since."""

    side: Side
    id: str
    """Id of the counterfoil (`left`) or of the observation (`right`)."""
    document: str
    known_at: datetime
    """When its present version became known here: later than its event was received, if that had to wait."""
    event: str
    """Event or effect that established its present version."""
    before: bytes | None
    """The row as the checkpoint knew it; None: it knew none."""
    present: bytes
    """The row as it is."""


def _keys(rule: str, entity: str) -> frozenset[str]:
    return frozenset([f"book_checkpoint/{rule}/{entity}"])
