"""The port: a store takes transitions (`transitions.py`) and answers the reads that decisions rest on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.link import Link
from counterfoil.core.people import Person
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import InboxItem, Run
from counterfoil.store.port.recorded import Recorded, TimeRange
from counterfoil.store.port.releases import Pinned
from counterfoil.store.port.stalled import Stalled, StalledFinding, StallLimits
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.versions import VersionUsage, WaitingRuns
from counterfoil.store.port.views import CaseTarget
from counterfoil.store.port.wake import RunWatch, Wake

A = TypeVar("A")


class LoadedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A Run with all that a turn needs of it."""

    run: Run
    inbox: tuple[InboxItem, ...]
    """Not consumed yet, in order."""
    effects: tuple[Effect, ...]
    approvals: tuple[Approval, ...]
    foils: tuple[Foil, ...]
    holds: tuple[str, ...] = ()
    """Serials that it holds."""


class Todo(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    ref: str
    receipt: Receipt | None = None
    event: CanonicalEvent | None = None


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What was acknowledged and is not admitted yet."""

    waiting: int
    """Todos not set aside, counted up to what was asked."""
    since: datetime | None = None
    """When the one at the place asked for was received; None: there are not that many."""


class Store(Protocol):
    """A store; open until `close`. Every method may be called concurrently within one event loop."""

    @property
    def depth(self) -> int:
        """Transitions of this process that wait for a transaction."""
        ...

    async def apply(self, transition: Transition[A]) -> A:
        """Return the answer once the transition is durable. Raise TryAgain when it did not happen."""
        ...

    async def now(self) -> datetime:
        """The database's time."""
        ...

    async def wait_for_wake(self, what: Wake, timeout: float) -> None:
        """Return when there may be something to do, or `timeout` seconds have passed."""
        ...

    def watch_run(self, run: str) -> AbstractContextManager[RunWatch]:
        """Watch one Run for as long as the context lasts; see RunWatch. Enter it before reading the Run."""
        ...

    # what turns and admission read

    async def load(self, run: str) -> LoadedRun | None: ...
    async def todos(self, limit: int, skip: Sequence[tuple[str, str]] = ()) -> list[Todo]: ...
    async def backlog(self, most: int, place: int) -> Backlog:
        """How many todos wait, counted to `most`, and since when the one does that has `place` before it."""
        ...

    async def kept(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
        """Number and identity of the receipts that are there, by system and external id."""
        ...

    async def next_due(self) -> datetime | None:
        """The earliest time at which any Run, look-up or todo wants attention."""
        ...

    async def head(self, object_: str, key: str, at: datetime | None = None) -> Head | None:
        """The head, or the state that was effective at `at`."""
        ...

    async def heads(self, object_: str, limit: int = 1000) -> list[Head]: ...
    async def link_by_ext(self, object_: str, system: str, ext_id: str, account: str = "") -> Link | None: ...
    async def link_by_canonical(self, object_: str, canonical: str, system: str) -> Link | None: ...
    async def guard_used(self, scope: str, key: str) -> int: ...
    async def event(self, id_: str) -> CanonicalEvent | None: ...
    async def approval(self, id_: str) -> Approval | None: ...
    async def votes(self, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        """Votes by approval, oldest first; each id given has an entry, empty where there are none."""
        ...

    async def case(self, id_: str) -> CaseTarget | None: ...
    async def receipt(self, no: int) -> Receipt | None: ...
    async def cursor(self, system: str, feed: str) -> str | None: ...
    async def call(self, consumer: str, operation: str, key: str) -> OperationCall | None: ...
    async def call_of_run(self, run: str) -> OperationCall | None: ...
    async def release(self, digest: str | None = None) -> tuple[str, bytes] | None:
        """A Release's digest and body; None: the present one."""
        ...

    async def waited(self) -> list[tuple[str, str | None, str | None]]:
        """Release, event type and narrowing field of all that any Release's Runs may wait for, oldest Release
        first; None and None for one that was kept without."""
        ...

    # versions on their way out

    async def used(self, at: datetime) -> list[VersionUsage]:
        """Who uses which deprecated version, with the days of the last month before `at`."""
        ...

    async def waiting(self, names: Sequence[str]) -> list[WaitingRuns]:
        """How many Runs of which workflow wait for these events."""
        ...

    async def in_force(self) -> str | None:
        """The digest of the Release in force."""
        ...

    # what the path of a change reads

    async def plan(self, digest: str) -> Plan | None: ...
    async def plan_model(self, digest: str) -> bytes | None:
        """The model that a plan would put in force."""
        ...

    async def release_step(self, digest: str) -> ReleaseStep | None:
        """How a Release came into force, the last time that it did."""
        ...

    async def release_steps(self, limit: int, before: int | None = None) -> list[ReleaseStep]:
        """The history, newest first; `before`: of older steps than this number."""
        ...

    async def pinned(self) -> list[Pinned]:
        """Runs not at their end, counted by workflow and pin, in that order."""
        ...

    async def unfinished(self, workflow: str, after: str, limit: int) -> list[Run]:
        """Runs of a workflow that are not at their end, in order of id, of ids greater than `after`."""
        ...

    # what act and watch read

    async def effect(self, id_: str) -> Effect | None: ...
    async def effects_planned(self, limit: int) -> list[Effect]: ...
    async def effects_overdue(self, at: datetime, limit: int) -> list[Effect]:
        """Sending past call_until."""
        ...

    async def effects_sending(self, worker_prefix: str, limit: int) -> list[Effect]:
        """Sending, by workers whose id begins so: what a restarted process left behind."""
        ...

    async def effects_of_gone_workers(self, at: datetime, limit: int) -> list[Effect]:
        """Sending, by workers whose heartbeat has ended."""
        ...

    async def effects_to_look_up(self, at: datetime, limit: int) -> list[Effect]: ...
    async def foils_past_due(self, at: datetime, limit: int) -> list[Foil]: ...

    async def stuck(self, at: datetime, limits: StallLimits) -> list[Stalled]:
        """What has waited for too long, by kind and class: the progress scan."""
        ...

    async def stuckness(self) -> list[StalledFinding]:
        """What the latest scan found."""
        ...

    # what a replay of recorded traffic reads

    async def traffic(self, of: TimeRange) -> tuple[list[Recorded], int | None]:
        """A page of deliveries in the order of their receipts, with all that was recorded of them, and the number
        behind which the next page begins; None: that was the last."""
        ...

    # people and audit

    async def person(self, id_: str) -> Person | None: ...
    async def persons(self) -> list[Person]: ...
    async def token(self, digest: str, at: datetime) -> Person | None: ...
    async def leaves(self, start: int, limit: int) -> list[tuple[int, Leaf]]:
        """Sealed leaves by tree index."""
        ...

    async def checkpoint(self, size: int | None = None) -> Checkpoint | None:
        """The one over so many leaves; without a size, the largest."""
        ...

    async def close(self) -> None: ...
