"""Tables of allowed moves: the only place that says which state may follow which.

Stores refuse a move that is not in its table; the tables are the ones of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)


class MoveRefused(Exception):
    """A state was asked to move where its table does not lead: a defect in the caller."""


def check_move(table: Mapping[S, frozenset[S]], before: S, after: S, what: str) -> None:
    """Raise MoveRefused unless `table` allows `before -> after`."""
    if after not in table.get(before, frozenset()):
        raise MoveRefused(f"{what} may not move from {before} to {after}")
