"""The people file: persons who may sign in, with the hashes of their passwords and tokens.

Processes read it when they start, and when it changes. The command line edits it; entries that it does not change stay as
written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean
from counterfoil.core.people import Person, ambiguous_names
from counterfoil.core.private_file import write_private
from counterfoil.core.zones import zone_named, zone_names

NAME = "people.json"


class PeopleFileEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Person in the people file, with the hashes of a password and a token."""

    id: str
    name: str
    email: str
    roles: list[str]
    secret: str = ""
    token_sha256: str = ""
    """Digest of the person's only bearer token; empty ends the former one."""
    active: bool = True
    aliases: dict[str, list[str]] = {}
    """Further names of the person, by the system that uses them: logins, numbers, e-mail addresses."""
    entities: list[str] = []
    """Legal entities that the person sees and acts for. Empty: all of them."""
    zone: str = ""
    """Time zone of the person's pages, such as `Europe/Berlin`. Empty: each browser has its own."""

    def person(self) -> Person:
        return Person(
            id=self.id,
            name=self.name,
            email=self.email,
            roles=tuple(self.roles),
            secret=self.secret,
            active=self.active,
            aliases={system: tuple(names) for system, names in self.aliases.items()},
            entities=tuple(self.entities),
            zone=self.zone,
        )


def people_path(folder: Path, home: Path) -> Path:
    """Return the people file: COUNTERFOIL_PEOPLE, that of the home folder, or that of the governance folder.

    `init` writes the last one. If none exists, it is that of the home folder.
    """
    if named := os.environ.get("COUNTERFOIL_PEOPLE"):
        return Path(named)
    of_folder = folder / home.name / NAME
    return of_folder if of_folder.exists() and not (home / NAME).exists() else home / NAME


def read_people(path: Path) -> list[PeopleFileEntry]:
    """Return the entries of a people file; none if it does not exist.

    Raises Misconfigured if it is not valid, if it names an unknown time zone, or if a name stands for two persons.
    """
    return _entries(path, _content(path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b"[]"
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None


def _entries(path: Path, content: bytes) -> list[PeopleFileEntry]:
    try:
        entries = msgspec.json.decode(content, type=list[PeopleFileEntry])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not a valid people file: {error}.") from None
    for field in ("id", "token_sha256"):
        counts = Counter(getattr(entry, field) for entry in entries)
        twice = [text for text, count in counts.items() if text and count > 1]
        if twice:
            value = f" {twice[0]!r}" if field == "id" else ""
            raise Misconfigured(f"{path} has two persons with the same {field}{value}.")
    for entry in entries:
        if entry.zone and (fault := zone_fault(entry.zone)):
            raise Misconfigured(f"{path}: {fault} It is the `zone` of {entry.id}.")
    ambiguous = ambiguous_names(entry.person() for entry in entries)
    if ambiguous:
        raise Misconfigured(f"{path} has a name for two persons: {'; '.join(ambiguous)}.")
    return entries


def zone_fault(zone: str) -> str:
    """Return why a text is no time zone, with the one that is meant; empty if it is one."""
    if zone in zone_names():
        return ""
    near = f"did you mean `{zone_named(zone)}`?" if zone_named(zone) else ""
    fix = near or did_you_mean(
        zone, zone_names(), "give the name of a region and a city, such as `Europe/Berlin`."
    )
    return f"there is no time zone {zone[:100]!r}; {fix}"


@contextlib.contextmanager
def edited(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the entries as plain data, and write them back if the block succeeds and the result is valid.

    Edits of several processes come one after another. Raises Misconfigured, and then the file is as before.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = _content(path)
        _entries(path, content)
        rows: list[dict[str, Any]] = json.loads(content)
        yield rows
        content = (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()
        _entries(path, content)
        write_private(path, content)
    finally:
        os.close(descriptor)
