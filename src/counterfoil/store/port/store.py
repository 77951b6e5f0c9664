"""The port of a store: it applies transitions and answers the reads that decisions rest on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, HeadState, Receipt
from counterfoil.core.delegation import Delegation
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.core.people import Person
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import InboxItem, Run
from counterfoil.core.sweep import Sweep
from counterfoil.store.dump import Dump
from counterfoil.store.port.audited import AuditTree
from counterfoil.store.port.book_checkpoints import ChangedDocument
from counterfoil.store.port.notices import Unnoticed
from counterfoil.store.port.recorded import DeliveryFilter, RecordedDelivery
from counterfoil.store.port.releases import PinCount
from counterfoil.store.port.stalled import StalledFinding, StalledGroup, StallLimits
from counterfoil.store.port.sweeps import UnlistedCase, UnlistedDocument
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.versions import VersionUsage, WaitingRuns
from counterfoil.store.port.views import CaseRow
from counterfoil.store.port.wake import RunWatch, WakeKind

A = TypeVar("A")


class LoadedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A Run with everything that a turn reads of it."""

    run: Run
    inbox: tuple[InboxItem, ...]
    """Items that no turn has consumed, in order."""
    effects: tuple[Effect, ...]
    approvals: tuple[Approval, ...]
    foils: tuple[Foil, ...]
    holds: tuple[str, ...] = ()
    """Serials that it holds."""


class AdmissionTodo(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    ref: str
    receipt: Receipt | None = None
    event: CanonicalEvent | None = None


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """Work that was acknowledged and is not admitted yet."""

    waiting: int
    """Todos that are not set aside, counted up to a maximum."""
    since: datetime | None = None
    """When the todo at the given place was received; None: there are fewer."""


class Store(Protocol):
    """A store, open until `close`. Methods may be called concurrently within one event loop."""

    @property
    def depth(self) -> int:
        """Number of transitions of this process that wait for a transaction."""
        ...

    @property
    def problem(self) -> str:
        """Reason why the database cannot be used at present, for operators only; empty if it can."""
        ...

    async def apply(self, transition: Transition[A]) -> A:
        """Return the answer once the transition is durable. Raise TryAgain when it did not happen."""
        ...

    async def now(self) -> datetime:
        """Return the database's time."""
        ...

    async def wait_for_wake(self, what: WakeKind, timeout: float) -> None:
        """Return when there may be such work, or after `timeout` seconds."""
        ...

    def watch_run(self, run: str) -> AbstractContextManager[RunWatch]:
        """Watch one Run for as long as the context lasts; see RunWatch. Enter it before reading the Run."""
        ...

    # reads of turns and admission

    async def load(self, run: str) -> LoadedRun | None: ...
    async def todos(self, limit: int, skip: Sequence[tuple[str, str]] = ()) -> list[AdmissionTodo]: ...
    async def backlog(self, most: int, place: int) -> Backlog:
        """Return the number of todos, counted up to `most`, and when the one with `place` before it was received."""
        ...

    async def existing_receipts(
        self, names: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[int, str]]:
        """Return number and identity of existing receipts, by system and external id."""
        ...

    async def next_due(self) -> datetime | None:
        """Return the earliest time at which a Run, look-up or foil is due."""
        ...

    async def head(self, object_: str, key: str, at: datetime | None = None) -> Head | None:
        """Return the head, or the state that was effective at `at`."""
        ...

    async def heads(self, object_: str, limit: int = 1000) -> list[Head]: ...
    async def heads_of(self, object_: str, keys: Sequence[str]) -> list[Head]:
        """Return the heads of these keys that exist, in order of key."""
        ...

    async def known_heads(self, object_: str, keys: Sequence[str]) -> dict[str, str]:
        """Return those of the keys that have a head, with its legal entity."""
        ...

    async def head_states(self, object_: str, keys: Sequence[str]) -> dict[str, list[HeadState]]:
        """Return every state of objects, in order of the time from which it was effective."""
        ...

    async def usage_meters(self, source: str, event_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return the subscription and meter of stored usage events of a source, by id. Unknown ids are left out."""
        ...

    async def link_by_ext(self, object_: str, system: str, ext_id: str, account: str = "") -> Link | None: ...
    async def link_by_canonical(self, object_: str, canonical: str, system: str) -> Link | None: ...
    async def guard_used(self, scope: str, key: str) -> int: ...
    async def event(self, id_: str) -> CanonicalEvent | None: ...
    async def approval(self, id_: str) -> Approval | None: ...
    async def votes(self, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        """Return the votes by approval, oldest first; each id has an entry, possibly empty."""
        ...

    async def case(self, id_: str) -> CaseRow | None: ...
    async def unnoticed(self, at: datetime, limit: int) -> Unnoticed:
        """Return Cases and approvals without notices, at most `limit` of each sort."""
        ...

    async def receipt(self, no: int) -> Receipt | None: ...
    async def cursor(self, system: str, feed: str) -> str | None: ...
    async def sweep(self, id_: str) -> Sweep | None: ...
    async def latest_sweeps(self) -> list[Sweep]:
        """Return the newest sweep of each book, in order of system and book."""
        ...

    async def completed_sweeps(self) -> list[Sweep]:
        """Return the newest sweep of each book that was read to its end, in order of system and book."""
        ...

    async def swept_to_admit(self, sweep: str) -> int:
        """Return how many listed deliveries wait for their admission; what waits for a decision does not count."""
        ...

    async def swept_and_held(self, sweep: str) -> int:
        """Return how many listed deliveries wait for a decision about their admission."""
        ...

    async def swept_and_dismissed(self, sweep: str) -> int:
        """Return how many listed deliveries brought nothing because a person dismissed their Case."""
        ...

    async def listed_events(self, sweep: str, after: str, limit: int) -> list[CanonicalEvent]:
        """Return the events of the deliveries that a sweep has listed, in order of their ids, after `after`.

        For sweeps under way, and for the newest completed one of each book.
        """
        ...

    async def book_checkpoint(self, id_: str) -> BookCheckpoint | None: ...
    async def book_checkpoints(self, rule: str) -> list[BookCheckpoint]:
        """Return the prepared and signed checkpoints of a reconciliation: latest cut-off first, then by legal entity."""
        ...

    async def signed_checkpoints(self) -> list[BookCheckpoint]: ...
    async def changed_documents(
        self, checkpoint: str, since: datetime, until: datetime, after: str, limit: int
    ) -> list[ChangedDocument]:
        """Return documents with another version than a checkpoint knew, that were known after `since` and up to `until`.

        Those dated up to its cut-off in its legal entity, and those that it knew before. In order of their ids, after `after`.
        """
        ...

    async def unlisted_documents(
        self, sweep: Sweep, types: Sequence[str], after: str, limit: int
    ) -> list[UnlistedDocument]:
        """Return documents that deliveries of these types showed before a sweep began, and that it did not list.

        In order of their ids, after `after`.
        """
        ...

    async def unlisted_cases(self, system: str, types: Sequence[str]) -> list[UnlistedCase]:
        """Return the Cases `unlisted` about documents of deliveries of these types that are open, or that a person decided."""
        ...

    async def call(self, consumer: str, operation: str, key: str) -> OperationCall | None: ...
    async def call_of_run(self, run: str) -> OperationCall | None: ...
    async def release(self, digest: str | None = None) -> tuple[str, bytes] | None:
        """Return a Release's digest and body; None: the active one."""
        ...

    async def awaited_events(self) -> list[tuple[str, str | None, str | None]]:
        """Return release, event type and narrowing field of all events that Runs may wait for, oldest Release first.

        Type and field are None for a Release that was stored without them.
        """
        ...

    # deprecated versions

    async def version_usage(self, at: datetime) -> list[VersionUsage]:
        """Return the users of each deprecated version, with the days of the month before `at`."""
        ...

    async def waiting_runs(self, names: Sequence[str]) -> list[WaitingRuns]:
        """Return how many Runs of each workflow wait for these events."""
        ...

    async def active_release(self) -> str | None:
        """Return the digest of the active Release."""
        ...

    # reads of changes

    async def plan(self, digest: str) -> Plan | None: ...
    async def plan_model(self, digest: str) -> bytes | None:
        """Return the model that a plan would activate."""
        ...

    async def release_step(self, digest: str) -> ReleaseStep | None:
        """Return the latest step by which a Release became active."""
        ...

    async def release_steps(self, limit: int, before: int | None = None) -> list[ReleaseStep]:
        """Return the history, newest first; `before`: only steps with a lower number."""
        ...

    async def pinned_runs(self) -> list[PinCount]:
        """Count Runs that have not ended, by workflow and pin, in that order."""
        ...

    async def active_runs(self, workflow: str, after: str, limit: int) -> list[Run]:
        """Return Runs of a workflow that have not ended and have an id above `after`, in order of id."""
        ...

    # reads of calls and housekeeping

    async def effect(self, id_: str) -> Effect | None: ...
    async def effects_planned(self, limit: int) -> list[Effect]: ...
    async def effects_overdue(self, at: datetime, limit: int) -> list[Effect]:
        """Return effects that are sending past `call_until`."""
        ...

    async def effects_sending(self, worker_prefix: str, limit: int) -> list[Effect]:
        """Return effects that are sending by workers with this id prefix: left by a process before its restart."""
        ...

    async def effects_of_gone_workers(self, at: datetime, limit: int) -> list[Effect]:
        """Return effects that are sending by workers whose heartbeat has ended."""
        ...

    async def effects_to_look_up(self, at: datetime, limit: int) -> list[Effect]: ...
    async def foils_past_due(self, at: datetime, limit: int) -> list[Foil]: ...
    async def foil(self, id_: str) -> Foil | None: ...
    async def observation(self, id_: str) -> Observation | None: ...
    async def items_past_grace(self, at: datetime, limit: int) -> list[Observation]:
        """Return unmatched items that need a Case, oldest first."""
        ...

    async def match_basis(self) -> dict[str, str]:
        """Return the digest of the form by which each reconciliation's documents were written."""
        ...

    async def match_keys(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        """Return match rows in order of reconciliation and key, for walking all of them."""
        ...

    async def events_after(self, id_: str, limit: int) -> list[CanonicalEvent]:
        """Return events in order of id, for walking all of them."""
        ...

    async def stalled_work(self, at: datetime, limits: StallLimits) -> list[StalledGroup]:
        """Return what has waited for too long, by kind and class: the progress scan."""
        ...

    async def stall_findings(self) -> list[StalledFinding]:
        """Return the findings of the latest scan."""
        ...

    # reads of replay

    async def traffic(self, of: DeliveryFilter) -> tuple[list[RecordedDelivery], int | None]:
        """Return a page of deliveries in order of their receipts, with everything recorded of them.

        The second value is the number after which the next page begins; None: it was the last page.
        """
        ...

    # people and audit

    async def person(self, id_: str) -> Person | None: ...
    async def persons(self) -> list[Person]: ...
    async def delegations(self, person: str = "") -> list[Delegation]:
        """Return the delegations that a person gave or received, or all, by start; also those that are over."""
        ...

    async def notice_preferences(self, person: str) -> NoticePreferences | None:
        """Return what a person wants by mail; None: the person has chosen nothing."""
        ...

    async def token(self, digest: str, at: datetime) -> Person | None: ...
    async def leaves(self, start: int, limit: int) -> list[tuple[int, Leaf]]:
        """Return sealed leaves by tree index."""
        ...

    async def identity(self) -> str:
        """Return the id of this store, which its copies and replicas share."""
        ...

    async def audited(self) -> tuple[Dump, AuditTree]:
        """Return every row and the tree of leaves, for an audit: as large as the store."""
        ...

    async def checkpoint(self, size: int | None = None) -> Checkpoint | None:
        """Return the checkpoint over `size` leaves; without a size, the largest."""
        ...

    async def close(self) -> None: ...
