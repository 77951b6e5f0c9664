"""Parts that several transitions share: what a Run is told, who turns it, and how it is born."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core.run import LIVE, InboxItem


class Stimulus(msgspec.Struct, frozen=True, kw_only=True):
    """Something for a Run's inbox; unique by (run, kind, ref), so a repeat adds nothing."""

    run: str
    kind: str
    ref: str
    body: bytes = b"{}"

    def item(self, seq: int, at: datetime) -> InboxItem:
        return InboxItem(run=self.run, seq=seq, kind=self.kind, ref=self.ref, at=at, body=self.body)


class Lease(msgspec.Struct, frozen=True):
    """One worker's turn at a Run. It saves work and guards nothing: what fences a late worker is the version."""

    worker: str
    until: datetime


class RunStart(msgspec.Struct, frozen=True, kw_only=True):
    """A Run to be born unless (workflow, bkey, generation) exists; in either case `stimulus` is appended."""

    run: str
    workflow: str
    bkey: str
    generation: int
    pin: str
    state: str
    stimulus: Stimulus
    due: datetime | None = None
    """When it starts; None: at once. A later stimulus does not start it earlier when `only_birth`."""
    only_birth: bool = False
    """Append the stimulus only when the Run is born (a due start moved by its object is appended always)."""
    lane: int = LIVE
    """In whose favour its turns and calls wait (core.run)."""
    lease: Lease | None = None
    """Whoever admits it goes on with it at once; a Run that exists is not leased."""
