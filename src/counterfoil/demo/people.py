"""Persons of the demonstration company: roles, passwords and tokens, created once and stored.

The server reads the people file, which contains hashes. A second file, readable by its owner only, has the secrets.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

import argon2
import msgspec

from counterfoil.core.private_file import write_private

ROLES = {
    "agent": ("Aisha Agent", "support-agent"),
    "agent2": ("Boris Agent", "support-agent"),
    "lead": ("Lena Lead", "support-lead"),
    "fiona": ("Fiona Finance", "finance-operations"),
    "carl": ("Carl Controller", "controller"),
    "dana": ("Dana Director", "cfo"),
    "ada": ("Ada Auditor", "auditor"),
    "admin": ("Administrator", "administrator"),
    "greta": ("Greta Gerber", "finance-operations"),
}
"""Person -> name and role. `agent`, `agent2` and `lead` have the same ids as in the help desk, because separation of
duties compares the requester there with the approver here."""


ENTITIES = {"greta": ["acme-de"]}
"""Persons who act for some legal entities only."""


class Member(msgspec.Struct, frozen=True):
    id: str
    name: str
    email: str
    role: str
    password: str
    token: str


def members(folder: Path) -> dict[str, Member]:
    """Return the company's persons by id. The first call creates them, together with people.json for the server."""
    path = folder / "persons.json"
    if path.exists():
        persons = msgspec.json.decode(path.read_bytes(), type=list[Member])
    else:
        persons = [
            Member(
                id,
                name,
                f"{id}@acme.example",
                role,
                secrets.token_urlsafe(9),
                "cft_" + secrets.token_urlsafe(32),
            )
            for id, (name, role) in ROLES.items()
        ]
        write_private(folder / "people.json", msgspec.json.encode([_account(member) for member in persons]))
        write_private(path, msgspec.json.encode(persons))
    return {member.id: member for member in persons}


def _account(member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "name": member.name,
        "email": member.email,
        "roles": [member.role],
        "entities": ENTITIES.get(member.id, []),
        "secret": argon2.PasswordHasher().hash(member.password),
        "token_sha256": hashlib.sha256(member.token.encode()).hexdigest(),
    }
