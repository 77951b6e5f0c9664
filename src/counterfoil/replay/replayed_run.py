"""The result of a Run under one model: its calls, approvals, foils, events and end state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from counterfoil.core.money import Money
from counterfoil.core.terms import Legs


class ReplayedCall(msgspec.Struct, frozen=True, kw_only=True):
    """An outward call that the Run would make."""

    operation: str
    input: Mapping[str, Any]
    dates: Mapping[str, date | None]
    request: bytes | None
    """None: it could not be rendered."""


class ReplayedApproval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that the Run would require."""

    policy: str
    tier: str
    amount: Money | None


class ReplayedFoil(msgspec.Struct, frozen=True, kw_only=True):
    """A counterfoil that an event or effect asserts."""

    rule: str
    key: str
    legs: Legs


class ReplayedRun(msgspec.Struct, kw_only=True):
    """The result of a Run under one model."""

    workflow: str
    key: str
    state: str = "started"
    effects: dict[str, ReplayedCall] = {}
    approvals: dict[str, ReplayedApproval] = {}
    """By the path of the step, with a number from the second request on."""
    foils: dict[str, ReplayedFoil] = {}
    events: dict[str, tuple[str, Mapping[str, Any]]] = {}
    """Emitted events: type and data by id."""
    cases: list[str] = []
    reserved: dict[tuple[str, str], int] = {}
    """Reserved amounts of limits at the end, by scope and key."""


def tier_text(automatic: bool, roles: Sequence[str], quorum: int) -> str:
    """Return the text of an approval tier."""
    return "automatic" if automatic else f"{', '.join(roles)} x{quorum}"
