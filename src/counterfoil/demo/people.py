"""The persons of the demonstration company: their roles, passwords and tokens, made once and kept.

The server reads the people file, which holds hashes; passwords and tokens stay beside it, for their owner alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import argon2
import msgspec

ROLES = {
    "agent": ("Aisha Agent", "support-agent"),
    "agent2": ("Boris Agent", "support-agent"),
    "lead": ("Lena Lead", "support-lead"),
    "fiona": ("Fiona Finance", "finance-operations"),
    "carl": ("Carl Controller", "controller"),
    "dana": ("Dana Director", "cfo"),
    "ada": ("Ada Auditor", "auditor"),
    "admin": ("Administrator", "administrator"),
}
"""Person -> name and role. `agent`, `agent2` and `lead` carry the help desk's own user names: who asks there and who
decides here are compared as persons."""


class Member(msgspec.Struct, frozen=True):
    """A person with what only that person knows."""

    id: str
    name: str
    email: str
    role: str
    password: str
    token: str


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    half = path.with_name(path.name + ".half")
    half.unlink(missing_ok=True)
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    half.replace(path)


def members(folder: Path) -> dict[str, Member]:
    """The company's persons, by id; made on the first call, with people.json for the server beside them."""
    kept = folder / "persons.json"
    if kept.exists():
        known = msgspec.json.decode(kept.read_bytes(), type=list[Member])
    else:
        known = [
            Member(
                id=id,
                name=name,
                email=f"{id}@acme.example",
                role=role,
                password=secrets.token_urlsafe(9),
                token="cft_" + secrets.token_urlsafe(32),
            )
            for id, (name, role) in ROLES.items()
        ]
        write_private(folder / "people.json", msgspec.json.encode([_account(member) for member in known]))
        write_private(kept, msgspec.json.encode(known))
    return {member.id: member for member in known}


def _account(member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "name": member.name,
        "email": member.email,
        "roles": [member.role],
        "secret": argon2.PasswordHasher().hash(member.password),
        "token_sha256": hashlib.sha256(member.token.encode()).hexdigest(),
    }
