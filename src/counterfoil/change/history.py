"""What became of one document over the Releases of a store: when it changed, who asked, and who approved."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.core.release import ReleaseStep
from counterfoil.store.port.store import Store

Digests: TypeAlias = dict[tuple[str, str], str]

STEPS = 500
"""Changes of the Release in force that are looked through, newest first."""
KEPT = 100
"""Releases whose digests are remembered."""


class DocumentRelease(msgspec.Struct, frozen=True, kw_only=True):
    """One Release that changed the document."""

    change: Literal["added", "changed", "removed"]
    step: ReleaseStep


class History:
    """Reads Releases as they are stored; their models need not be compiled, nor be readable any more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, Digests] = {}

    async def of(self, kind: str, name: str, limit: int = 20) -> list[DocumentRelease]:
        """The changes of a document, newest first."""
        found: list[DocumentRelease] = []
        for step in await self._store.release_steps(STEPS):
            now = (await self._digests(step.digest)).get((kind, name))
            before = (await self._digests(step.base)).get((kind, name)) if step.base else None
            if now != before:
                change: Literal["added", "changed", "removed"] = (
                    "added" if before is None else "removed" if now is None else "changed"
                )
                found.append(DocumentRelease(change=change, step=step))
                if len(found) == limit:
                    break
        return found

    async def _digests(self, release: str) -> Digests:
        if release not in self._kept:
            kept = await self._store.release(release)
            documents = wire.loads(kept[1]) if kept is not None else []
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[release] = {(d["kind"], d["name"]): wire.digest(d) for d in documents}
        return self._kept[release]
