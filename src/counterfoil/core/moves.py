"""Check of moves between states against the table of allowed moves.

The tables stand next to their states. Stores refuse every other move.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)


class MoveRefused(Exception):
    """The table does not allow this move: a bug in the caller."""


def check_move(table: Mapping[S, frozenset[S]], before: S, after: S, what: str) -> None:
    """Raise MoveRefused unless `table` allows `before -> after`."""
    if after not in table.get(before, frozenset()):
        raise MoveRefused(f"{what} may not move from {before} to {after}")
