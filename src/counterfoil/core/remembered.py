"""Pairs that persons made, by key: which key of the right side they put on which key of the left side.

Pure. Nothing is learned from it by itself: a person may add the rows to a table that the key of a reconciliation reads.
"""

from __future__ import annotations

import msgspec

from counterfoil.core.document import number_of
from counterfoil.core.homes import own_key
from counterfoil.core.settle import MatchRows, pairing_holds


class PairedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the right side that persons paired with a key of the left side, by pairs that still hold."""

    right: str
    left: str
    count: int
    persons: tuple[str, ...]
    is_conflict: bool
    """Persons paired the same right key with several left keys."""


def paired_keys(rows: MatchRows) -> list[PairedKey]:
    """Return the pairs of keys in rows of one reconciliation, sorted. Documents that have one key need no memory,
    and a key that is the id of the document itself comes with no other one.

    A pair with a document that the rows do not have, such as one of another legal entity, is left out.
    """
    persons: dict[tuple[str, str], list[str]] = {}
    foils, items = {f.id: f for f in rows.foils}, {o.id: o for o in rows.observations}
    for pairing in rows.pairings:
        foil, item = foils.get(pairing.foil), items.get(pairing.observation)
        if foil is None or item is None or not pairing_holds(pairing, foil, item):
            continue
        keys = own_key(item), own_key(foil)
        if keys[0] not in (keys[1], number_of(item.document)):
            persons.setdefault(keys, []).append(pairing.person)
    lefts: dict[str, set[str]] = {}
    for right, left in persons:
        lefts.setdefault(right, set()).add(left)
    return [
        PairedKey(
            right=right,
            left=left,
            count=len(names),
            persons=tuple(sorted(set(names))),
            is_conflict=len(lefts[right]) > 1,
        )
        for (right, left), names in sorted(persons.items())
    ]
