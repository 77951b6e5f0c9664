"""Sweeps: asked for, taken by a worker, read page by page, and ended."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from counterfoil.core.case import Case
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.store.port.intake import Receive, ReceiveResult
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind


class RequestSweep(Transition[Sweep], frozen=True, kw_only=True):
    """Begin a sweep, unless one of the same book is under way. Returns the one that is under way. One leaf if it is new."""

    sweep: Sweep
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([f"sweep/{self.sweep.system}/{self.sweep.book}"])


class ClaimSweep(Transition[Sweep | None], frozen=True, kw_only=True):
    """Take the sweep that has waited longest and that no worker has. No leaf: it changes who reads, not what.

    A worker that reads keeps its lease with each page. `systems` are those that the worker can reach.
    """

    worker: str
    systems: tuple[str, ...]
    lease_until: datetime
    at: datetime

    def keys(self) -> frozenset[str]:
        return _CLAIM


class SweepPageResult(msgspec.Struct, frozen=True, kw_only=True):
    sweep: Sweep | None
    """As it is now; None: another worker has it, and nothing was written."""
    received: ReceiveResult | None = None


class ReceiveSweepPage(Transition[SweepPageResult], frozen=True, kw_only=True):
    """Store the deliveries of a page, note that they were listed, and move the sweep behind it, in one transaction.

    Only for the worker that has the sweep, and only for the page that follows `pages`. Leaves as `Receive` writes them.
    """

    sweep: str
    worker: str
    pages: int
    """Pages read before this one."""
    cursor: str
    """Where the next page begins."""
    lease_until: datetime
    receive: Receive

    @property
    def at(self) -> datetime:
        return self.receive.at

    def keys(self) -> frozenset[str]:
        return self.receive.keys() | {f"sweep/{self.sweep}"}

    def wakes(self, answer: SweepPageResult) -> frozenset[WakeKind]:
        return wake_set(admit=answer.received is not None and "new" in answer.received.verdicts)


class EndSweep(Transition[Sweep | None], frozen=True, kw_only=True):
    """End a sweep, with Cases about what it found, and resolve open Cases that are settled. One leaf.

    Only for the worker that has it, and only after `pages` pages. None: another one has it, and nothing was written.
    """

    sweep: str
    worker: str
    pages: int
    state: SweepState
    missing: int = 0
    error: str = ""
    cases: tuple[Case, ...] = ()
    resolved: tuple[str, ...] = ()
    """Cases of earlier sweeps that this one shows to be settled."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([f"sweep/{self.sweep}"])


class UnlistedDocument(msgspec.Struct, frozen=True):
    """A standing document that a delivery of a system established, and that no page of the system's book lists."""

    side: Literal["left", "right"]
    id: str
    """Id of the counterfoil (`left`) or of the observation (`right`)."""
    rule: str
    document: str
    entity: str
    known_at: datetime
    """When its present version was known."""
    object: str
    record: str
    """The system's own id of what the event is about."""


class UnlistedCase(msgspec.Struct, frozen=True):
    """A Case about a document that a book did not list: an open one, or one that a person decided."""

    id: str
    document: str
    """Id of the counterfoil or observation."""
    is_open: bool
    opened_at: datetime


_CLAIM = frozenset(["sweeps"])
