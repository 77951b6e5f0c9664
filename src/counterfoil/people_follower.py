"""Brings the people file into the store: when a process starts, and when the file changes while it runs.

Persons who are taken out of the file lose their access within seconds. A file that cannot be read changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import replace

from counterfoil.core import ids
from counterfoil.core.errors import Misconfigured
from counterfoil.core.people import Token
from counterfoil.people_file import read_people
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.store.port.store import Store

log = logging.getLogger("counterfoil.people")
POLL_SECONDS = 1.0
"""Interval between looks at the people file."""
Stamp: TypeAlias = tuple[str, int, int, int, int] | None
"""Path, inode, size and times of change of a file; None if there is none."""


class PeopleFollower:
    """Keeps the persons of the store equal to those of the people file."""

    def __init__(self, store: Store, path: Callable[[], Path]) -> None:
        self._store, self._path = store, path
        self._stored: Stamp = None
        self.problem = ""
        """Reason why the file that is there now was not taken over; empty if it was."""

    async def start(self) -> None:
        """Take over the file, if there is one. Raises Misconfigured if it is not valid."""
        stamp = _stamp(self._path())
        if stamp is not None:
            await seed_people(self._store, self._path())
            self._stored = stamp

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("people: the next look at the file tries again")

    async def look(self) -> None:
        """Take over the file if it changed. A file that is not valid, or missing, leaves the persons as they are."""
        path = self._path()
        stamp = _stamp(path)
        if stamp == self._stored:
            self.problem = ""
            return
        try:
            if stamp is None:
                raise Misconfigured(f"{path} is missing. The persons stay as they were.")
            await seed_people(self._store, path)
        except Misconfigured as error:
            if str(error) != self.problem:
                log.error("%s", error)
            self.problem = str(error)
            return
        self._stored, self.problem = stamp, ""
        log.info("%s was changed and is in effect", path)


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


async def seed_people(store: Store, path: Path) -> None:
    """Store the persons and tokens of a people file (JSON list of PeopleFileEntry).

    Whom the file does not list has left: the person becomes inactive, and their sessions and tokens end. Raises
    Misconfigured if the file is not valid.
    """
    now = await store.now()
    expires = now.replace(year=now.year + 10, month=1, day=1)
    entries = read_people(path)
    persons = [entry.person() for entry in entries]
    stored = {person.id: person for person in await store.persons()}
    listed = {person.id for person in persons}
    left = [replace(p, active=False, secret="") for p in stored.values() if p.active and p.id not in listed]
    for person in (*persons, *left):
        if stored.get(person.id) != person:
            await store.apply(PutPerson(person=person, at=now, actor="people file"))
    for entry in entries:
        digest = entry.token_sha256 or ids.derive("none", entry.id)
        expires_at = expires if entry.token_sha256 else now
        token = Token(digest=digest, person=entry.id, kind="token", expires=expires_at)
        await store.apply(PutToken(token=token, at=now, alone=True))
