"""The active Release, and former Releases that Runs are pinned to, as compiled models."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime

from counterfoil.contracts.versions import family
from counterfoil.core.errors import Misconfigured
from counterfoil.model import Model
from counterfoil.rules import routing
from counterfoil.rules.versions import CastPath
from counterfoil.store.port.releases import PutFirstRelease
from counterfoil.store.port.store import Store

log = logging.getLogger("counterfoil.releases")


class Releases:
    """Compiled models by digest. New Runs are pinned to `present`, and deliveries are admitted by it."""

    def __init__(self, store: Store, present: Model) -> None:
        self._store = store
        self.present = present.released
        self._models: dict[str, Model] = {self.present.digest: self.present}
        self._unreadable: set[str] = set()
        self._waited: dict[str, dict[str, set[str]]] = {}
        """Event types and fields that Runs of former Releases may wait for, by Release, the oldest first."""
        self._all: tuple[str, Mapping[str, Collection[str]]] | None = None
        self._bridges: dict[str, dict[str, CastPath]] = {}
        self._onward: dict[str, CastPath] = {}

    async def publish(self, at: datetime, actor: str) -> bool:
        """Store the present model as the first Release, so that any process can finish its Runs.

        False if the store has an active Release already; that one becomes `present`.
        """
        present, waits = self.present, routing.waits(self.present) or (("", ""),)
        first = await self._store.apply(
            PutFirstRelease(digest=present.digest, body=present.to_json(), waits=waits, at=at, actor=actor)
        )
        digest = None if first else await self._store.active_release()
        await self.take_up(present if digest is None else await self.model(digest))
        return first

    async def model(self, digest: str) -> Model:
        """Return the model of a Release. Raises Misconfigured for one that is not in this store."""
        model = self._models.get(digest)
        if model is None:
            release = await self._store.release(digest)
            if release is None:
                raise Misconfigured(f"release {digest} is not in this store")
            model = self._models[digest] = Model.from_json(release[1])
        return model

    async def _former(self, digest: str) -> Model | None:
        """Return the model, or None if it is unreadable: its Runs stand still, and Runs of other Releases must not."""
        if digest in self._unreadable:
            return None
        try:
            return await self.model(digest)
        except Misconfigured as error:
            log.error("release %s is unreadable; its waiting runs get no events: %s", digest, error)
            self._unreadable.add(digest)
            return None

    # ------------------------------------------------------------------ events that Runs of any Release wait for

    async def refresh(self) -> None:
        """Read again what Runs of every Release may wait for, including Releases that other processes have published."""
        await self.take_up(self.present)

    async def take_up(self, model: Model) -> None:
        """Make this model `present`, after reading what Runs of the other Releases wait for."""
        waited: dict[str, dict[str, set[str]]] = {}
        for release, type_, field in await self._store.awaited_events():
            waits = waited.setdefault(release, {})
            if type_ is None or field is None:
                waits.update(await self._read(release))
            elif type_:
                waits.setdefault(type_, set()).update([field] if field else [])
        waited.pop(model.digest, None)
        self.present = model.released
        self._models[model.digest] = self.present
        if waited != self._waited:
            self._waited, self._all = waited, None
            self._bridges.clear()
            self._onward.clear()

    async def _read(self, release: str) -> dict[str, set[str]]:
        """Return what Runs of a Release may wait for, where the store has no rows of it."""
        former = await self._former(release)
        if former is None:
            return {}
        try:
            return _copy(routing.waited_fields(former))
        except Misconfigured as error:
            log.error("release %s: %s", release, error)
            self._unreadable.add(release)
            return {}

    @property
    def waited(self) -> Mapping[str, Collection[str]]:
        """Event types that Runs of any Release may wait for, with the fields that narrow their topics."""
        if self._all is None or self._all[0] != self.present.digest:
            every = _copy(routing.waited_fields(self.present))
            for waits in self._waited.values():
                for type_, fields in waits.items():
                    every.setdefault(type_, set()).update(fields)
            self._all = (self.present.digest, every)
            self._bridges.clear()
            self._onward.clear()
        return self._all[1]

    async def bridges(self, event: str) -> Mapping[str, CastPath]:
        """Return casts to versions that only Runs of former Releases wait for and that `present` cannot cast to.

        Each is taken from the newest Release that waits for the version and has a cast, else the newest that has one.
        """
        waited, base = self.waited, family(event)
        bridges = self._bridges.get(event)
        if bridges is not None:
            return bridges
        bridges = {}
        for other in (type_ for type_ in waited if type_ != event and family(type_) == base):
            if self.present.versions.path(event, other) is not None:
                continue
            newest = list(reversed(self._waited))
            for release in sorted(newest, key=lambda r: other not in self._waited[r]):
                former = await self._former(release)
                path = former.versions.path(event, other) if former is not None else None
                if path:
                    bridges[other] = path
                    break
        self._bridges[event] = bridges
        return bridges

    async def onward(self, event: str) -> CastPath:
        """Return casts from a version that only former Releases declare to one that `present` declares.

        A Run of such a Release may still emit it. Taken from the newest Release that has the casts; empty if none are
        needed, or there are none.
        """
        if event in self.present.events:
            return ()
        if event not in self._onward:
            self._onward[event] = ()
            for release in reversed(self._waited):
                model = await self._former(release)
                if model is None or event not in model.events:
                    continue
                others = reversed(self.present.versions.of(event, "event"))
                paths = [model.versions.path(event, other) for other in others]
                self._onward[event] = next((path for path in paths if path), ())
                if self._onward[event]:
                    break
        return self._onward[event]


def _copy(waits: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    return {type_: set(fields) for type_, fields in waits.items()}
