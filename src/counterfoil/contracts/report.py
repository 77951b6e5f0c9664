"""What a comparison of two contracts says: the changes, and which of them break whom."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import msgspec

Direction: TypeAlias = Literal["backward", "forward", "full"]
"""`backward`: what was valid before must stay valid. `forward`: what is valid now must have been valid before.
`full`: both."""
Profile: TypeAlias = Literal["strict", "standard", "consumer"]
"""`strict`: whatever cannot be decided breaks, and so does every tightening that a tolerant reader would survive.
`standard`: what breaks a client that follows the description. `consumer`: only what a declared consumer reads."""

PROFILES: tuple[Profile, ...] = get_args(Profile)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference of meaning between two contracts."""

    rule: str
    """The rule's stable name: `response-property-removed`."""
    where: str
    """The place: a JSON Pointer into the schema, or method, path and pointer of a description."""
    breaking: bool
    message: str
    """What changed and why it breaks somebody or does not."""
    example: Any = msgspec.UNSET
    """An instance that is valid on one side alone; unset where none is needed or none was found."""
    decided: bool = True
    """False where the rules cannot tell; such a change breaks under `strict`."""
    users: int = 1
    """How many places of the description use the changed component."""


class Report(msgspec.Struct, frozen=True):
    """The changes between a base and a revision, in the order of their places."""

    changes: list[Change]

    @property
    def breaking(self) -> bool:
        return any(change.breaking for change in self.changes)
