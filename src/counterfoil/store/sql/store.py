"""The part that both SQL stores share: transitions through a group commit, reads on snapshots, the port's methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from counterfoil.store.port.store import Store
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.views import Views
from counterfoil.store.port.wake import RunWatch, WakeKind, Wakes
from counterfoil.store.sql import (
    audited,
    book_checkpoint_reads,
    case_reads,
    dumped,
    entities,
    history,
    list_sums,
    notice_reads,
    reads,
    recorded,
    search,
    stalled_reads,
    sweep_reads,
    views,
)
from counterfoil.store.sql.group_commit import GroupCommit, ItemResult
from counterfoil.store.sql.statements import Work
from counterfoil.store.sql.store_health import StoreHealth

A = TypeVar("A")
T = TypeVar("T")
P = ParamSpec("P")


def short_read(read: Callable[P, Work[T]]) -> Callable[Concatenate[SqlStore, P], Coroutine[Any, Any, T]]:
    """Make a method of a short read, on a snapshot shared with other reads of about the same time."""

    async def method(self: SqlStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        rows: T = await self._reads.submit(partial(read, *args, **kwargs))
        return rows

    return method


def long_read(read: Callable[P, Work[T]]) -> Callable[Concatenate[SqlStore, P], Coroutine[Any, Any, T]]:
    """Make a method of a longer read, on a snapshot of its own."""

    async def method(self: SqlStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(read(*args, **kwargs))

    return method


class SqlStore(ABC):
    """A Store and its Views; its two children say how requests reach a database."""

    _commits: GroupCommit[Transition[Any]]
    _reads: GroupCommit[Callable[[], Work[Any]]]
    _wakes: Wakes
    _health: StoreHealth

    @property
    def depth(self) -> int:
        return self._commits.depth

    @property
    def problem(self) -> str:
        return self._health.problem

    async def apply(self, transition: Transition[A]) -> A:
        answer: A = await self._commits.submit(transition)
        return answer

    @abstractmethod
    async def _read(self, work: Work[T]) -> T:
        """Run a read on a snapshot of its own, of everything committed before it began."""

    @abstractmethod
    async def now(self) -> datetime: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def wait_for_wake(self, what: WakeKind, timeout: float) -> None:
        await self._wakes.wait(what, timeout)

    def watch_run(self, run: str) -> AbstractContextManager[RunWatch]:
        return self._wakes.watch_run(run)

    def _wake_waiters(
        self, batch: Sequence[Transition[Any]], results: Sequence[ItemResult]
    ) -> frozenset[WakeKind]:
        """Wake the waiters of this process; return the kinds of work that the batch made."""
        woken: frozenset[WakeKind] = frozenset()
        for transition, result in zip(batch, results, strict=True):
            if result.error is None:
                woken |= self._wakes.note_commit(transition, result.answer)
        self._wakes.set(woken)
        return woken

    load = short_read(reads.load)
    todos = short_read(reads.todos)
    backlog = short_read(reads.backlog)
    existing_receipts = short_read(reads.existing_receipts)
    next_due = short_read(reads.next_due)
    head = short_read(reads.head)
    heads = short_read(reads.heads)
    heads_of = short_read(reads.heads_of)
    known_heads = short_read(reads.known_heads)
    head_states = short_read(reads.head_states)
    usage_meters = short_read(reads.usage_meters)
    link_by_ext = short_read(reads.link_by_ext)
    link_by_canonical = short_read(reads.link_by_canonical)
    guard_used = short_read(reads.guard_used)
    event = short_read(reads.event)
    approval = short_read(reads.approval)
    votes = short_read(reads.votes)
    case = short_read(reads.case)
    receipt = short_read(reads.receipt)
    cursor = short_read(reads.cursor)
    unnoticed = short_read(notice_reads.unnoticed)
    notice_preferences = short_read(notice_reads.notice_preferences)
    unread_counts = short_read(notice_reads.unread_counts)
    sweep = short_read(sweep_reads.sweep)
    latest_sweeps = short_read(sweep_reads.latest_sweeps)
    swept_to_admit = short_read(sweep_reads.swept_to_admit)
    completed_sweeps = short_read(sweep_reads.completed_sweeps)
    swept_and_held = short_read(sweep_reads.swept_and_held)
    swept_and_dismissed = short_read(sweep_reads.swept_and_dismissed)
    listed_events = long_read(sweep_reads.listed_events)
    book_checkpoint = short_read(book_checkpoint_reads.book_checkpoint)
    book_checkpoints = short_read(book_checkpoint_reads.book_checkpoints)
    signed_checkpoints = short_read(book_checkpoint_reads.signed_checkpoints)
    changed_documents = long_read(book_checkpoint_reads.changed_documents)
    unlisted_documents = long_read(sweep_reads.unlisted_documents)
    unlisted_cases = long_read(sweep_reads.unlisted_cases)
    call = short_read(reads.call)
    call_of_run = short_read(reads.call_of_run)
    release = short_read(reads.release)
    active_release = short_read(reads.active_release)
    plan = short_read(reads.plan)
    plan_model = short_read(reads.plan_model)
    release_step = short_read(reads.release_step)
    release_steps = short_read(reads.release_steps)
    active_runs = short_read(reads.active_runs)
    effect = short_read(reads.effect)
    effects_planned = short_read(reads.effects_planned)
    effects_overdue = short_read(reads.effects_overdue)
    effects_sending = short_read(reads.effects_sending)
    effects_of_gone_workers = short_read(reads.effects_of_gone_workers)
    effects_to_look_up = short_read(reads.effects_to_look_up)
    foils_past_due = short_read(reads.foils_past_due)
    foil = short_read(reads.foil)
    observation = short_read(reads.observation)
    items_past_grace = short_read(reads.items_past_grace)
    match_basis = short_read(reads.match_basis)
    match_keys = long_read(reads.match_keys)
    events_after = long_read(reads.events_after)
    person = short_read(reads.person)
    persons = short_read(reads.persons)
    delegations = short_read(reads.delegations)
    token = short_read(reads.token)
    leaves = short_read(reads.leaves)
    checkpoint = short_read(reads.checkpoint)
    identity = short_read(audited.identity)
    awaited_events = short_read(reads.awaited_events)
    version_usage = short_read(reads.version_usage)
    waiting_runs = short_read(reads.waiting_runs)
    stall_findings = short_read(stalled_reads.stall_findings)

    pinned_runs = long_read(reads.pinned_runs)
    stalled_work = long_read(stalled_reads.stalled_work)
    traffic = long_read(recorded.traffic)
    dump = long_read(dumped.dump)
    audited = long_read(audited.audited)

    runs = long_read(views.runs)
    effects = long_read(views.effects)
    foils = long_read(views.foils)
    unmatched = long_read(views.unmatched)
    oldest_unmatched = long_read(views.oldest_unmatched)
    observations = long_read(views.observations)
    document_versions = long_read(views.document_versions)
    matches_known = long_read(history.matches_known)
    matches_of_rule = long_read(history.matches_of_rule)
    item_cases = long_read(history.item_cases)
    cases = long_read(views.cases)
    causes = long_read(case_reads.causes)
    list_sums = long_read(list_sums.list_sums)
    case_comments = long_read(case_reads.case_comments)
    notices = long_read(notice_reads.notices)
    approvals = long_read(views.approvals)
    events = long_read(views.events)
    inbox = long_read(views.inbox)
    named = long_read(views.named)
    runs_of = long_read(views.runs_of)
    foils_of = long_read(views.foils_of)
    foils_shown_as = long_read(views.foils_shown_as)
    objects_with_words = long_read(search.objects_with_words)
    near_words = long_read(search.near_words)
    with_amount = long_read(search.with_amount)
    cases_about = long_read(search.cases_about)
    approvals_about = long_read(search.approvals_about)
    items_of = long_read(search.items_of)
    leaves_of = long_read(views.leaves_of)
    events_of = long_read(views.events_of)
    events_about = long_read(views.events_about)
    links_of = long_read(views.links_of)
    links_by_ext = long_read(views.links_by_ext)
    matches_of = long_read(views.matches_of)
    person_pairs = long_read(views.person_pairs)
    matches = long_read(views.matches)
    counts = long_read(views.counts)
    leaves_seen = long_read(entities.leaves_seen)
    runs_by_entity = long_read(entities.runs_by_entity)


if TYPE_CHECKING:

    def _as_port(store: SqlStore) -> tuple[Store, Views]:
        """Have the type checker compare the store with its ports."""
        return store, store
