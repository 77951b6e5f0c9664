"""Runs: each is one business transaction that goes through a Workflow. A Run is a row, not a thread."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class RunStatus(StrEnum):
    READY = "ready"
    WAITING = "waiting"
    DONE = "done"
    UNDONE = "undone"
    CLOSED = "closed"


class Direction(StrEnum):
    FORWARD = "forward"
    UNDO = "undo"


TERMINAL = frozenset({RunStatus.DONE, RunStatus.UNDONE, RunStatus.CLOSED})

LANES = (CLOSE, LIVE, RETRY, REPLAY) = (0, 1, 2, 3)
"""Lanes, highest priority first: close-critical work, live work, retried calls, replays of history."""
LANE_NAMES = {"close": CLOSE, "live": LIVE}
"""Lanes that a workflow may choose."""

RUN_MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.READY: frozenset(RunStatus),
    RunStatus.WAITING: frozenset(RunStatus),
    RunStatus.DONE: frozenset({RunStatus.DONE}),
    RunStatus.UNDONE: frozenset({RunStatus.UNDONE}),
    RunStatus.CLOSED: frozenset({RunStatus.CLOSED}),
}
"""Only the decision of a Case leads to `closed`. A terminal Run keeps its status and ignores later stimuli."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Row of one business transaction."""

    id: str
    workflow: str
    bkey: str
    generation: int
    pin: str
    """Digest of the Release whose definition it follows."""
    arrival: int
    """Order among the Runs of one serial key."""
    created_at: datetime
    status: RunStatus = RunStatus.READY
    direction: Direction = Direction.FORWARD
    state: str = "started"
    """The business state that its workflow names."""
    version: int = 0
    inbox_n: int = 0
    consumed: int = 0
    due: datetime | None = None
    owner: str | None = None
    lease_until: datetime | None = None
    now: datetime | None = None
    """Time of its latest decision; never goes back."""
    ctx: bytes = b"{}"
    """The state that `decide` keeps, in the internal encoding of core.wire."""
    lane: int = LIVE
    entity: str = ""
    """Legal entity that it belongs to; never changes. Empty: the company declared none when it started."""


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """Stimulus in the inbox of a Run. Turns consume stimuli in order, each once."""

    run: str
    seq: int
    kind: str
    """start, event, outcome, approval, case, foil, link, answer."""
    ref: str
    at: datetime
    body: bytes
    """In the internal encoding of core.wire."""
