"""Match of each document: that of what it reverses, or else that of its own key.

Pure, and the same in every store, for questions about the past and for a history in a file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import msgspec

from counterfoil.core.foil import Foil, Observation

R = TypeVar("R", Foil, Observation)
Name = TypeVar("Name", bound=Hashable)


class Placement(msgspec.Struct, frozen=True):
    """Reasons for the match of one document."""

    key: str
    """Its key by rule."""
    reverses: Hashable
    """Name of the document that it reverses; it need not be known."""
    paired: str | None = None
    """Key of the match on which a person paired it, which overrides both."""


def homes(placements: Mapping[Name, Placement]) -> dict[Name, str]:
    """Return the key of each document's match, by the name of the document. A chain that meets itself ends there."""

    def home(name: Name) -> str:
        trail: list[Hashable] = []
        placement = placements[name]
        while placement.paired is None:
            trail.append(name)
            original = placement.reverses
            if original in trail or original not in placements:
                return placement.key
            name = original  # type: ignore[assignment] # it names a placement
            placement = placements[name]
        return placement.paired

    return {name: home(name) for name in placements}


def own_key(row: Foil | Observation) -> str:
    """Return the key of a document by rule, whatever its match is."""
    return row.own_key or row.key


def at_home(rows: Iterable[R], paired: Mapping[str, str]) -> list[R]:
    """Return the documents of one side, each with the key of its match.

    `rows` have all documents that reverse one another. `paired`: by the id of an observation, the key of the match on
    which a person paired it.
    """
    documents = list(rows)
    placements = {
        (r.rule, r.document): Placement(own_key(r), (r.rule, r.reverses), paired.get(r.id)) for r in documents
    }
    keys = homes(placements)
    return [_placed(r, keys[r.rule, r.document], r.id in paired) for r in documents]


def _placed(row: R, key: str, is_paired: bool) -> R:
    own = own_key(row)
    return msgspec.structs.replace(row, key=key, own_key=own if is_paired or key != own else "")
