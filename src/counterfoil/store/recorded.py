"""What was recorded of one delivery and of all that it led to: what a replay reads instead of the world.

Self-contained: the answers that formulas were given stand beside the rows, as of the time when they were asked.
"""

from __future__ import annotations

import msgspec

from counterfoil.core.approval import Approval
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.effect import Effect
from counterfoil.core.link import Link
from counterfoil.core.run import InboxItem, Run


class GuardSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as a Run met it: what Runs that arrived before it still hold, and what it took itself."""

    scope: str
    key: str
    before: int
    taken: int


class RecordedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A Run that a delivery's events began. `run.ctx` holds the facts that it used."""

    run: Run
    event: str
    """Id of the event that began it."""
    inbox: tuple[InboxItem, ...] = ()
    """Events that it was told besides, in order."""
    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    guards: tuple[GuardSeen, ...] = ()
    heads: tuple[Head, ...] = ()
    """Objects that the delivery's events speak of, as they were when the Run began."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery or declared event."""

    receipt: Receipt
    fetched: bytes | None = None
    """The body that its admission fetched."""
    events: tuple[CanonicalEvent, ...] = ()
    runs: tuple[RecordedRun, ...] = ()
    links: tuple[Link, ...] = ()
    """Links of the ids that its events speak of, known when they were admitted or established by that."""
    heads: tuple[Head, ...] = ()
    """Objects that its events speak of, as they were before they were admitted."""
    periods: tuple[Head, ...] = ()
    """All accounting periods as they were then; one tuple is shared by all deliveries in between."""
