"""Types of the reads of a store as a caller sees it who is bound to legal entities."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

ObjectIds = AbstractSet[tuple[str, str]]
"""Objects as pairs of type and id."""


class LinkedSystems(NamedTuple):
    """Systems and their accounts, whose Links are read."""

    systems: Sequence[str]
    accounts: Sequence[str]
