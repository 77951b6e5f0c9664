"""Persons who sign in, request, decide and own Cases. Roles come from governance files; persons are data in the store.

A system names a person in its own way: a login, an e-mail address, a number. `find_person` finds the person behind a
name, so that requester and approver are compared as persons and never as texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime

import msgspec


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Person with an account."""

    id: str
    name: str
    email: str
    roles: tuple[str, ...]
    secret: str = ""
    """argon2 hash of the password. Empty: the person cannot sign in."""
    active: bool = True
    aliases: dict[str, tuple[str, ...]] = {}
    """Further names of the person, by the system that uses them."""
    entities: tuple[str, ...] = ()
    """Legal entities that the person sees and acts for. Empty: all of them."""
    zone: str = ""
    """Time zone of the person's pages, by its IANA name. Empty: each browser has its own."""

    def names(self, system: str = "") -> frozenset[str]:
        """Return the folded names of the person: id, e-mail and the aliases in a system; without one, all aliases."""
        systems = [system] if system else list(self.aliases)
        aliases = [alias for name in systems for alias in self.aliases.get(name, ())]
        return frozenset(map(fold_name, (self.id, self.email, *aliases))) - {""}


def fold_name(name: str) -> str:
    """Return a name in the form in which names are compared: NFKC, without case, without outer and repeated spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def find_person(persons: Iterable[Person], system: str, name: str) -> Person | None:
    """Return the person whom a system calls by this name; None if none is known, or more than one."""
    folded = fold_name(name)
    matches = [person for person in persons if folded in person.names(system)]
    return matches[0] if len(matches) == 1 else None


def ambiguous_names(persons: Iterable[Person]) -> list[str]:
    """Return a sentence for each name that one system uses for two persons."""
    persons = list(persons)
    systems = sorted({system for person in persons for system in person.aliases})
    sentences: dict[str, None] = {}
    for system in systems or [""]:
        first: dict[str, str] = {}
        for person in persons:
            for name in sorted(person.names(system)):
                other = first.setdefault(name, person.id)
                if other != person.id:
                    where = f" in {system}" if system else ""
                    sentences.setdefault(f"{name!r}{where} names both {other} and {person.id}")
    return list(sentences)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Bearer token or session, stored as the SHA-256 of its secret."""

    digest: str
    person: str
    kind: str
    """`token` or `session`."""
    expires: datetime
