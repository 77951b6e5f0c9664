"""A Run: one business transaction going through a Workflow; a row, not a thread."""

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
"""Lanes, best first: close-critical work, live work, calls made again, replays of what was."""
LANE_NAMES = {"close": CLOSE, "live": LIVE}
"""Those that a workflow may name."""

RUN_MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.READY: frozenset(RunStatus),
    RunStatus.WAITING: frozenset(RunStatus),
    RunStatus.DONE: frozenset({RunStatus.DONE}),
    RunStatus.UNDONE: frozenset({RunStatus.UNDONE}),
    RunStatus.CLOSED: frozenset({RunStatus.CLOSED}),
}
"""`closed` is reached only by a Case decision; a terminal Run stays what it is and ignores what still comes."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
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
    """The latest time at which it decided; it never goes back."""
    ctx: bytes = b"{}"
    """The state that `decide` keeps, in the internal encoding of core.wire."""
    lane: int = LIVE


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """A stimulus: appended by whoever learnt something, consumed by turns in order, once."""

    run: str
    seq: int
    kind: str
    """start, event, outcome, approval, case, foil, link, answer."""
    ref: str
    at: datetime
    body: bytes
    """In the internal encoding of core.wire."""
