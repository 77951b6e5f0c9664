"""Releases: the present model, and the former ones that Runs are pinned to."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime

from counterfoil.contracts.versions import family
from counterfoil.core.errors import Misconfigured
from counterfoil.model import Model
from counterfoil.rules import routing
from counterfoil.rules.versions import CastPath
from counterfoil.store.port.releases import PutRelease
from counterfoil.store.port.store import (
    Store,
)

log = logging.getLogger("counterfoil.releases")


class Releases:
    """Compiled models by digest. The present one is what new Runs are pinned to and what doors admit by."""

    def __init__(self, store: Store, present: Model) -> None:
        self._store = store
        self.present = present
        self._known: dict[str, Model] = {present.digest: present}
        self._unreadable: set[str] = set()
        self._waited: dict[str, dict[str, set[str]]] = {}
        """What Runs of former Releases may wait for, by Release, the oldest first."""
        self._all: tuple[str, Mapping[str, Collection[str]]] | None = None
        self._bridges: dict[str, dict[str, CastPath]] = {}
        self._onward: dict[str, CastPath] = {}

    async def publish(self, at: datetime, actor: str) -> bool:
        """Make the present model the first Release of a store, so that its Runs can be carried to their end by any
        process. False where one is in force already: that one is the present one from then on."""
        present = self.present
        first = await self._store.apply(
            PutRelease(
                digest=present.digest,
                body=present.to_json(),
                waits=routing.waits(present) or (("", ""),),
                at=at,
                actor=actor,
            )
        )
        digest = None if first else await self._store.in_force()
        await self.take_up(present if digest is None else await self.model(digest))
        return first

    async def model(self, digest: str) -> Model:
        """The model of a Release. Raises Misconfigured for one that this store does not hold."""
        found = self._known.get(digest)
        if found is None:
            kept = await self._store.release(digest)
            if kept is None:
                raise Misconfigured(f"release {digest} is not in this store")
            found = self._known[digest] = Model.from_json(kept[1])
        return found

    async def _former(self, digest: str) -> Model | None:
        """The same where it can be read. One that cannot turns none of its Runs, and must not stop the others'."""
        if digest in self._unreadable:
            return None
        try:
            return await self.model(digest)
        except Misconfigured as error:
            log.error(
                "release %s cannot be read, and nothing is known of what its runs wait for: %s", digest, error
            )
            self._unreadable.add(digest)
            return None

    # ------------------------------------------------------------------ what Runs of any Release wait for

    async def refresh(self) -> None:
        """Learn what the Runs of every Release may wait for, those that other processes have published as well."""
        await self.take_up(self.present)

    async def take_up(self, model: Model) -> None:
        """Go by this model from now on; what Runs of the others wait for is known before anything is admitted by it."""
        found: dict[str, dict[str, set[str]]] = {}
        for release, type_, field in await self._store.waited():
            waits = found.setdefault(release, {})
            if type_ is None or field is None:
                waits.update(await self._read(release))
            elif type_:
                waits.setdefault(type_, set()).update([field] if field else [])
        found.pop(model.digest, None)
        self.present = model
        self._known[model.digest] = model
        if found != self._waited:
            self._waited, self._all = found, None
            self._bridges.clear()
            self._onward.clear()

    async def _read(self, release: str) -> dict[str, set[str]]:
        """What a Release waits for that was kept without saying so."""
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
        """Casts to versions that only Runs of former Releases wait for and to which the present one has no way: by
        the newest Release that waits for such a version and has one, else by the newest that has one."""
        waited, base = self.waited, family(event)
        found = self._bridges.get(event)
        if found is not None:
            return found
        found = {}
        for other in (type_ for type_ in waited if type_ != event and family(type_) == base):
            if self.present.versions.path(event, other) is not None:
                continue
            newest = list(reversed(self._waited))
            for release in sorted(newest, key=lambda r: other not in self._waited[r]):
                former = await self._former(release)
                path = former.versions.path(event, other) if former is not None else None
                if path:
                    found[other] = path
                    break
        self._bridges[event] = found
        return found

    async def onward(self, event: str) -> CastPath:
        """From a version that only former Releases declare, which one of their Runs may still emit, to one that the
        present one declares: by the newest Release that has such casts. Empty where none are needed, or there are."""
        if event in self.present.events:
            return ()
        if event not in self._onward:
            self._onward[event] = ()
            for release in reversed(self._waited):
                model = await self._former(release)
                if model is None or event not in model.events:
                    continue
                paths = [
                    model.versions.path(event, o) for o in reversed(self.present.versions.of(event, "event"))
                ]
                self._onward[event] = next((path for path in paths if path), ())
                if self._onward[event]:
                    break
        return self._onward[event]


def _copy(waits: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    return {type_: set(fields) for type_, fields in waits.items()}
