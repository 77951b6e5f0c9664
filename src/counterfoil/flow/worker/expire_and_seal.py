"""Transitions that time alone brings about: foils past due, and the sealing of leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from counterfoil.core.audit import Checkpoint
from counterfoil.store.port.maintenance import ExpireFoils, PutCheckpoint, Seal
from counterfoil.store.port.store import Store

MAX_EXPIRED_FOILS = 500
Sign = Callable[[int, bytes], str]
"""Tree size and root to the signed checkpoint's text."""
Publish = Callable[[Checkpoint], None]
"""Called with each checkpoint that the store has."""


async def expire_foils(store: Store, now: datetime) -> int:
    """Turn foils past due into breaks, each with a Case for its owner. Return their number."""
    due = await store.foils_past_due(now, MAX_EXPIRED_FOILS)
    return await store.apply(ExpireFoils(foils=tuple(f.id for f in due), at=now)) if due else 0


async def seal(store: Store, sign: Sign | None, now: datetime, publish: Publish | None = None) -> int:
    """Add pending leaves to the audit tree and sign its new state. Return the number of leaves."""
    sealed = await store.apply(Seal(at=now))
    if sealed.count and sign is not None:
        text = sign(sealed.size, sealed.root)
        checkpoint = Checkpoint(size=sealed.size, root=sealed.root, at=now, text=text)
        await store.apply(PutCheckpoint(checkpoint=checkpoint))
        if publish is not None:
            publish(checkpoint)
    return sealed.count
