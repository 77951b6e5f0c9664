"""The legal entities whose rows a caller sees."""

from __future__ import annotations

import msgspec


class EntityScope(msgspec.Struct, frozen=True):
    """Legal entities that a caller sees. A row without one belongs to the company's default entity."""

    names: frozenset[str] | None = None
    """None: every row, and what belongs to the company as a whole."""
    default: str = ""
    """The company's default entity; empty if it declares none."""

    @property
    def everything(self) -> bool:
        return self.names is None

    def sees(self, entity: str) -> bool:
        """Report whether a row of this entity is seen."""
        return self.names is None or (entity or self.default) in self.names

    @property
    def stored(self) -> tuple[str, ...] | None:
        """The entities as rows have them: with the empty one where the default entity is seen. None: every row."""
        if self.names is None:
            return None
        return tuple(sorted(self.names | ({""} if self.default in self.names else set())))
