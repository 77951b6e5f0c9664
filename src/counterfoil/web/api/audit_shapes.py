"""JSON shapes of the audit log: leaves and checkpoints. Names here are a contract with programs, as in `shapes`."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.web.api import shapes


class LeafShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    index: int | None
    """Index in the tree; null until it is sealed."""
    kind: str
    subject: str
    run: str | None
    version: int | None
    actor: str
    at: datetime
    hash: str
    body: str
    """The text that the hash covers, with the other fields."""


class CheckpointShape(msgspec.Struct, frozen=True, kw_only=True):
    size: int
    root: str
    at: datetime
    text: str


def leaf_shape(index: int | None, leaf: Leaf) -> LeafShape:
    return shapes.copy_to(LeafShape, leaf, index=index, hash=leaf.hash.hex(), body=leaf.body.decode())


def checkpoint_shape(checkpoint: Checkpoint) -> CheckpointShape:
    return shapes.copy_to(CheckpointShape, checkpoint, root=checkpoint.root.hex())
