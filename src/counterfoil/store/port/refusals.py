"""Refused attempts. Each leaves a leaf, within a limit for each person and action: refusals fill no disk.

For senders that are no known person the caller keeps the limit: a table of their addresses could itself fill the disk.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from counterfoil.core import wire
from counterfoil.store.port.transition import Transition

REFUSAL_WINDOW: Final = timedelta(minutes=1)
REFUSAL_LEAVES: Final = 5
"""Leaves of one person's refusals of one action within a window. Further ones are counted; the next leaf has the count."""


class RefusedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that changed nothing."""

    kind: Literal["decision.refused", "request.refused"]
    person: str
    """Empty if no known person sent it; then `address` is where it came from."""
    address: str = ""
    action: str
    """One of a closed set, never a text of the caller: rows are counted by it."""
    subject: str
    verdict: str
    at: datetime
    run: str | None = None
    details: dict[str, Any] = {}
    """More members of the leaf's body."""

    @property
    def actor(self) -> str:
        return f"person:{self.person}" if self.person else f"address:{self.address}"

    def body(self, attempts: int) -> bytes:
        """Return the body of the leaf; `attempts` counts every refusal of this action to this person so far."""
        names = {"action": self.action, "verdict": self.verdict, "attempts": attempts}
        return wire.dumps({**self.details, **names})


def refusal_key(person: str) -> str:
    """Return the key of the group commit for a transition that may refuse a person."""
    return f"refusals {person}"


class RecordRefusal(Transition[bool], frozen=True, kw_only=True):
    """Record an attempt that was refused before it reached the store. True if it left a leaf, False if it was counted."""

    attempt: RefusedAttempt

    def keys(self) -> frozenset[str]:
        return frozenset([refusal_key(self.attempt.person)])
