"""Sweeps: readings of a system's whole book, which find what its events missed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class SweepState(StrEnum):
    READING = "reading"
    DONE = "done"
    FAILED = "failed"  # `error` says why; a later sweep reads the book again


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of one book, page by page. At most one sweep of a book is reading."""

    id: str
    system: str
    book: str
    """The connector's name of it."""
    state: SweepState = SweepState.READING
    requested_at: datetime
    requested_by: str
    """The person who asked for it, or `schedule`."""
    worker: str = ""
    """The worker that reads it; it has until `lease_until` for the next page."""
    lease_until: datetime | None = None
    cursor: str = ""
    """Where the next page begins; empty: at the beginning."""
    pages: int = 0
    listed: int = 0
    """Deliveries of the pages."""
    fresh: int = 0
    """Those that were not received before, by an event, a feed or a sweep."""
    missing: int = 0
    """Documents that Counterfoil knows and the book does not list."""
    error: str = ""
    ended_at: datetime | None = None

    @property
    def leaf_body(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "book": self.book,
            "state": self.state.value,
            "pages": self.pages,
            "listed": self.listed,
            "fresh": self.fresh,
            "missing": self.missing,
        }
