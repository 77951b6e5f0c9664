"""What both SQL stores are: transitions through a group commit, reads through snapshots, and the port's names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.link import Link
from counterfoil.core.people import Person
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import Run
from counterfoil.store.dump import Dump
from counterfoil.store.port import transitions as port
from counterfoil.store.port import versions, views
from counterfoil.store.port.recorded import Recorded, TimeRange
from counterfoil.store.port.releases import Pinned
from counterfoil.store.port.stalled import Stalled, StalledFinding, StallLimits
from counterfoil.store.port.store import Backlog, LoadedRun, Store, Todo
from counterfoil.store.port.versions import VersionUsage, WaitingRuns
from counterfoil.store.port.views import CaseTarget
from counterfoil.store.port.wake import RunWatch, Wake, Wakes
from counterfoil.store.sql import progress_scan, reads, traffic
from counterfoil.store.sql.group_commit import BatchResult, GroupCommit
from counterfoil.store.sql.statements import Work
from counterfoil.store.sql.views import SqlViews

T = TypeVar("T")
P = ParamSpec("P")


class SqlStore(SqlViews, ABC):
    """A Store and its Views; how requests reach a database is said by its two children."""

    _commits: GroupCommit[port.Transition]
    _reads: GroupCommit[Callable[[], Work[Any]]]
    _wakes: Wakes

    @property
    def depth(self) -> int:
        return self._commits.depth

    async def apply(self, transition: Any) -> Any:
        """One transition; returns once it is durable. Raises TryAgain when it did not happen."""
        return await self._commits.submit(transition)

    @abstractmethod
    async def _read(self, work: Work[T]) -> T:
        """Do a read on a snapshot of its own of what was committed before it began."""

    async def _ask(self, read: Callable[P, Work[T]], *args: P.args, **named: P.kwargs) -> T:
        """A short read, on a snapshot shared with others that were asked at about the same time."""
        answer: T = await self._reads.submit(partial(read, *args, **named))
        return answer

    @abstractmethod
    async def now(self) -> datetime: ...

    async def wait_for_wake(self, what: Wake, timeout: float) -> None:
        """Return when something was committed that may want attention, or `timeout` seconds have passed."""
        await self._wakes.wait(what, timeout)

    def watch_run(self, run: str) -> AbstractContextManager[RunWatch]:
        return self._wakes.watch_run(run)

    def _woken(self, batch: Sequence[port.Transition], outcomes: Sequence[BatchResult]) -> frozenset[Wake]:
        """Tell those who wait here what a committed batch gives them to do."""
        woken: frozenset[Wake] = frozenset()
        for transition, outcome in zip(batch, outcomes, strict=True):
            if outcome.error is None:
                woken |= self._wakes.committed(transition, outcome.answer)
        self._wakes.set(woken)
        return woken

    @abstractmethod
    async def close(self) -> None: ...

    async def load(self, run: str) -> LoadedRun | None:
        return await self._ask(reads.load, run)

    async def todos(self, limit: int, skip: Sequence[tuple[str, str]] = ()) -> list[Todo]:
        return await self._ask(reads.todos, limit, skip)

    async def backlog(self, most: int, place: int) -> Backlog:
        return await self._ask(reads.backlog, most, place)

    async def kept(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
        return await self._ask(reads.kept, names)

    async def next_due(self) -> datetime | None:
        return await self._ask(reads.next_due)

    async def head(self, object_: str, key: str, at: datetime | None = None) -> Head | None:
        return await self._ask(reads.head, object_, key, at)

    async def heads(self, object_: str, limit: int = 1000) -> list[Head]:
        return await self._ask(reads.heads, object_, limit)

    async def link_by_ext(self, object_: str, system: str, ext_id: str, account: str = "") -> Link | None:
        return await self._ask(reads.link_by_ext, object_, system, ext_id, account)

    async def link_by_canonical(self, object_: str, canonical: str, system: str) -> Link | None:
        return await self._ask(reads.link_by_canonical, object_, canonical, system)

    async def guard_used(self, scope: str, key: str) -> int:
        return await self._ask(reads.guard_used, scope, key)

    async def event(self, id_: str) -> CanonicalEvent | None:
        return await self._ask(reads.event, id_)

    async def approval(self, id_: str) -> Approval | None:
        return await self._ask(reads.approval, id_)

    async def votes(self, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        return await self._ask(reads.votes, approvals)

    async def case(self, id_: str) -> CaseTarget | None:
        return await self._ask(reads.case, id_)

    async def receipt(self, no: int) -> Receipt | None:
        return await self._ask(reads.receipt, no)

    async def cursor(self, system: str, feed: str) -> str | None:
        return await self._ask(reads.cursor, system, feed)

    async def call(self, consumer: str, operation: str, key: str) -> OperationCall | None:
        return await self._ask(reads.call, consumer, operation, key)

    async def call_of_run(self, run: str) -> OperationCall | None:
        return await self._ask(reads.call_of_run, run)

    async def release(self, digest: str | None = None) -> tuple[str, bytes] | None:
        return await self._ask(reads.release, digest)

    async def waited(self) -> list[tuple[str, str | None, str | None]]:
        return await self._ask(versions.waited)

    async def used(self, at: datetime) -> list[VersionUsage]:
        return await self._ask(versions.used, at)

    async def waiting(self, names: Sequence[str]) -> list[WaitingRuns]:
        return await self._ask(versions.waiting, names)

    async def in_force(self) -> str | None:
        return await self._ask(reads.in_force)

    async def plan(self, digest: str) -> Plan | None:
        return await self._ask(reads.plan, digest)

    async def plan_model(self, digest: str) -> bytes | None:
        return await self._ask(reads.plan_model, digest)

    async def release_step(self, digest: str) -> ReleaseStep | None:
        return await self._ask(reads.release_step, digest)

    async def release_steps(self, limit: int, before: int | None = None) -> list[ReleaseStep]:
        return await self._ask(reads.release_steps, limit, before)

    async def pinned(self) -> list[Pinned]:
        return await self._read(reads.pinned())

    async def unfinished(self, workflow: str, after: str, limit: int) -> list[Run]:
        return await self._ask(reads.unfinished, workflow, after, limit)

    async def effect(self, id_: str) -> Effect | None:
        return await self._ask(reads.effect, id_)

    async def effects_planned(self, limit: int) -> list[Effect]:
        return await self._ask(reads.effects_planned, limit)

    async def effects_overdue(self, at: datetime, limit: int) -> list[Effect]:
        return await self._ask(reads.effects_overdue, at, limit)

    async def effects_sending(self, worker_prefix: str, limit: int) -> list[Effect]:
        return await self._ask(reads.effects_sending, worker_prefix, limit)

    async def effects_of_gone_workers(self, at: datetime, limit: int) -> list[Effect]:
        return await self._ask(reads.effects_of_gone_workers, at, limit)

    async def effects_to_look_up(self, at: datetime, limit: int) -> list[Effect]:
        return await self._ask(reads.effects_to_look_up, at, limit)

    async def foils_past_due(self, at: datetime, limit: int) -> list[Foil]:
        return await self._ask(reads.foils_past_due, at, limit)

    async def stuck(self, at: datetime, patience: StallLimits) -> list[Stalled]:
        return await self._read(progress_scan.stuck(at, patience))

    async def stuckness(self) -> list[StalledFinding]:
        return await self._ask(progress_scan.stuckness)

    async def traffic(self, of: TimeRange) -> tuple[list[Recorded], int | None]:
        return await self._read(traffic.traffic(of))

    async def person(self, id_: str) -> Person | None:
        return await self._ask(reads.person, id_)

    async def persons(self) -> list[Person]:
        return await self._ask(reads.persons)

    async def token(self, digest: str, at: datetime) -> Person | None:
        return await self._ask(reads.token, digest, at)

    async def leaves(self, start: int, limit: int) -> list[tuple[int, Leaf]]:
        return await self._ask(reads.leaves, start, limit)

    async def checkpoint(self, size: int | None = None) -> Checkpoint | None:
        return await self._ask(reads.checkpoint, size)

    async def dump(self) -> Dump:
        """Every row as a record, in one snapshot: for the invariant checker and exports, not for big stores."""
        return await self._read(reads.dump())


if TYPE_CHECKING:

    def _as_port(store: SqlStore) -> tuple[Store, views.Views]:
        """Says to the type checker that every read and list of the port is here."""
        return store, store
