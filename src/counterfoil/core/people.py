"""Persons who sign in, decide and own; roles come from governance, persons are data of the running company."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Person(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    email: str
    roles: tuple[str, ...]
    secret: str = ""
    """argon2 hash of the password; empty: cannot sign in."""
    active: bool = True


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token or a session: kept as the SHA-256 of its secret."""

    digest: str
    person: str
    kind: str
    """`token` or `session`."""
    expires: datetime
