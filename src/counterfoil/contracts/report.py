"""Result of a comparison of two contracts: the changes, and which of them break."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal, TypeAlias, get_args

import msgspec

Direction: TypeAlias = Literal["backward", "forward", "full"]
"""`backward`: instances that were valid must stay valid. `forward`: instances that are valid now must have been valid
before. `full`: both."""
Profile: TypeAlias = Literal["strict", "standard", "consumer"]
"""`strict`: undecided changes break, and so do changes that a tolerant client survives. `standard`: changes that break a
client that follows the description. `consumer`: only changes of what a declared consumer uses."""

_READ_AS_TEXT = re.compile(r"[a-f][0-9a-f]{11}")

PROFILES: tuple[Profile, ...] = get_args(Profile)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference of meaning between two contracts."""

    rule: str
    """Stable name of the rule: `response-property-removed`."""
    where: str
    """JSON Pointer into the schema, or method, path and pointer of an API description."""
    breaking: bool
    message: str
    """The change, and why it breaks or does not break."""
    example: Any = msgspec.UNSET
    """Instance that is valid on one side only; unset if none is needed or none was found."""
    decided: bool = True
    """False if the rules cannot decide it; such a change breaks under `strict`."""
    users: int = 1
    """Number of places of the description that use the changed component."""
    used_by: tuple[str, ...] = ()
    """Operations that reach the changed place, by method and path: `GET /orders/{id}`."""
    identity: str = ""
    """Text that tells it from other changes of the rule where place and message depend on the order of the files."""

    @property
    def fingerprint(self) -> str:
        """Short identifier that stays equal while rule, place and effect do, whatever the order in the files."""
        text = "\n".join((self.rule, self.identity or f"{self.where}\n{self.message}"))
        digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        # YAML reads 123456789012 and 12e456789012 as numbers.
        match = _READ_AS_TEXT.search(digits)
        return match[0] if match else f"f{digits[:11]}"


class Report(msgspec.Struct, frozen=True):
    """Changes between a base and a revision, in the order of their places."""

    changes: list[Change]

    @property
    def breaking(self) -> bool:
        return any(change.breaking for change in self.changes)

    @property
    def undecided(self) -> bool:
        return any(not change.decided for change in self.changes)
