"""Reads of an audit: the tree with its checkpoints, and the digests of rows that leaves carry.

A leaf of an admission or a turn names the rows that it wrote, with a digest of the fields that never change afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.audit import Checkpoint
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.effect import Effect

Audited: TypeAlias = CanonicalEvent | Approval | Effect


class TreeEntry(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    leaf: str
    hash: bytes | None
    """Hash of the leaf when it was sealed; None for leaves that were sealed by an earlier version."""


class AuditTree(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed part of the audit log as the store has it, in order."""

    size: int
    root: bytes
    """Of the stored edge, to which the next leaf is appended."""
    entries: tuple[TreeEntry, ...]
    checkpoints: tuple[Checkpoint, ...]
    pending: tuple[tuple[str, bytes], ...] = ()
    """Leaves that wait for their place, with their hashes."""


def row_digest(row: Audited, *, former: bool = False) -> str:
    """Return a digest of the fields that never change: for an effect its call, for an approval what is decided on.

    `former` is the digest of earlier versions: without the times and senders of events, and without what decides who may
    vote until when.
    """
    match row:
        case CanonicalEvent():
            content = [row.type, row.system, row.object, row.key, row.version, row.data, row.legal_entity]
            if not former:
                content += [row.occurred_at, row.effective_at, list(row.senders)]
        case Approval():
            who = [list(row.roles), row.quorum, row.requester]
            content = [row.run, row.path, row.policy, row.subject, wire.digest(row.covers), row.amount, *who]
            if not former:
                content += [list(row.senders), row.expires, row.automatic, *filter(None, [row.entity])]
        case Effect():
            content = [row.run, row.path, row.item, row.operation, row.system, list(row.approvals)]
            content += [wire.digest(row.request), wire.digest(row.input)]
    return wire.digest(content)[:32]


def digests(rows: Iterable[Audited]) -> dict[str, str]:
    """Return the digests of rows by id, for the body of a leaf."""
    return {row.id: row_digest(row) for row in rows}
