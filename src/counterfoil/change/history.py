"""The Releases that changed one document: when, at whose request, and with which approvals."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.core.release import ReleaseStep
from counterfoil.store.port.store import Store

Digests: TypeAlias = dict[tuple[str, str], str]
"""Digest by kind and name of a document."""

MAX_STEPS = 500
"""Releases that are searched, newest first."""
MAX_CACHED_RELEASES = 100
"""Releases whose document digests are cached."""


class DocumentRelease(msgspec.Struct, frozen=True, kw_only=True):
    """One Release that changed the document."""

    change: Literal["added", "changed", "removed"]
    step: ReleaseStep


class History:
    """Reads Releases as they are stored. Their models are not compiled, so old formats do not matter."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[str, Digests] = {}

    async def of(self, kind: str, name: str, limit: int = 20) -> list[DocumentRelease]:
        """Return the changes of a document, newest first."""
        releases: list[DocumentRelease] = []
        for step in await self._store.release_steps(MAX_STEPS):
            now = (await self._digests(step.digest)).get((kind, name))
            before = (await self._digests(step.base)).get((kind, name)) if step.base else None
            if now != before:
                change: Literal["added", "changed", "removed"] = (
                    "added" if before is None else "removed" if now is None else "changed"
                )
                releases.append(DocumentRelease(change=change, step=step))
                if len(releases) == limit:
                    break
        return releases

    async def _digests(self, release: str) -> Digests:
        if release not in self._cache:
            stored = await self._store.release(release)
            documents = wire.loads(stored[1]) if stored is not None else []
            if len(self._cache) >= MAX_CACHED_RELEASES:
                del self._cache[next(iter(self._cache))]
            self._cache[release] = {(d["kind"], d["name"]): wire.digest(d) for d in documents}
        return self._cache[release]
