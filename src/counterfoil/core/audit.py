"""Leaves of the audit log and their RFC 6962 hashes.

A leaf is written in the transaction that it records. A sealer gives it its place in the tree later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """Record of one change, never changed itself."""

    id: str
    kind: str
    """The change: `received`, `admitted`, `turned`, `sent`, `confirmed`, `decided`, ..."""
    subject: str
    """Id of the changed record."""
    run: str | None = None
    version: int | None = None
    """The Run's version after a turn; turn leaves number 1..version."""
    actor: str
    """`system:<name>`, `worker:<id>`, `person:<id>`."""
    at: datetime
    body: bytes
    """Canonical JSON; large or personal content by digest."""

    @property
    def data(self) -> bytes:
        """The bytes that `hash` covers."""
        change = [self.id, self.kind, self.subject, self.run, self.version]
        return msgspec.json.encode([*change, self.actor, self.at.isoformat(), self.body.decode()])

    @property
    def hash(self) -> bytes:
        """SHA-256 of 0x00 and the data (RFC 6962 section 2.1)."""
        return hashlib.sha256(b"\x00" + self.data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256 of 0x01 and both children (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of leaf hashes in order (RFC 6962 section 2.1). No leaves: the hash of no bytes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        # A lone last node rises unchanged: the same tree as splitting at the largest power of two.
        pairs = (level[i : i + 2] for i in range(0, len(level), 2))
        level = [node_hash(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


class Frontier:
    """Right edge of a growing tree: appends in O(log n), has the root at any time, and is small enough to store."""

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)
        """One node for each set bit of `size`, largest subtree first."""

    def append(self, leaf: bytes) -> int:
        """Add a leaf hash and return its index."""
        index, node, size = self.size, leaf, self.size
        while size & 1:
            node = node_hash(self.nodes.pop(), node)
            size >>= 1
        self.nodes.append(node)
        self.size += 1
        return index

    def root(self) -> bytes:
        if not self.nodes:
            return tree_root(())
        node = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            node = node_hash(left, node)
        return node


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Signed size and root of the tree at one moment."""

    size: int
    root: bytes
    at: datetime
    text: str
    """The signed note in C2SP tlog-checkpoint form."""
