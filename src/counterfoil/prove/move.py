"""One thing that may happen next."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from counterfoil.prove.world import World


class Move(NamedTuple):
    """`make` gives the World after it; `fault` is empty where nothing went wrong."""

    fault: str
    who: str
    what: str
    make: Callable[[], World]
    counts: bool = True
    """Whether somebody is bound to do it: what may come from outside unasked is nothing to wait for."""
