"""Persons who sign in, decide and own Cases. Roles come from governance files; persons are data in the store."""

from __future__ import annotations

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


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Bearer token or session, stored as the SHA-256 of its secret."""

    digest: str
    person: str
    kind: str
    """`token` or `session`."""
    expires: datetime
