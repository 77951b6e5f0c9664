"""The next possible event in a proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from counterfoil.prove.world import World


class Move(NamedTuple):
    """A possible event. `make` returns the World after it; `fault` is empty if nothing goes wrong."""

    fault: str
    who: str
    what: str
    make: Callable[[], World]
    counts: bool = True
    """False for events that may never happen: a Run cannot rely on them."""
