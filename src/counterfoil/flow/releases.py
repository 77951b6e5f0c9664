"""Releases: the present model, and the former ones that Runs are pinned to."""

from __future__ import annotations

from datetime import datetime

from counterfoil.core.errors import Misconfigured
from counterfoil.model import Model
from counterfoil.store.store import Store
from counterfoil.store.transitions import PutRelease


class Releases:
    """Compiled models by digest. The present one is what new Runs are pinned to and what doors admit by."""

    def __init__(self, store: Store, present: Model) -> None:
        self._store = store
        self.present = present
        self._known: dict[str, Model] = {present.digest: present}

    async def publish(self, at: datetime, actor: str) -> None:
        """Make the present model a Release, so that its Runs can be carried to their end by any process."""
        await self._store.apply(
            PutRelease(digest=self.present.digest, body=self.present.to_json(), at=at, actor=actor)
        )

    async def model(self, digest: str) -> Model:
        """The model of a Release. Raises Misconfigured for one that this store does not hold."""
        found = self._known.get(digest)
        if found is None:
            kept = await self._store.release(digest)
            if kept is None:
                raise Misconfigured(f"release {digest} is not in this store")
            found = self._known[digest] = Model.from_json(kept[1])
        return found
