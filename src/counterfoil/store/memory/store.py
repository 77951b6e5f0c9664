"""The Store over tables in memory."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from counterfoil.core.clock import utc_now
from counterfoil.store.dump import Dump, dump_memory
from counterfoil.store.memory import book_checkpoints as checkpoints
from counterfoil.store.memory import notices, reads, stalled, sweeps
from counterfoil.store.memory.delegations import delegations as delegation_rows
from counterfoil.store.memory.registry import RULES
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.audited import AuditTree, TreeEntry
from counterfoil.store.port.store import Store
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.wake import RunWatch, WakeKind, Wakes

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")


def read(
    function: Callable[Concatenate[Tables, P], T],
) -> Callable[Concatenate[MemoryStore, P], Coroutine[Any, Any, T]]:
    async def method(self: MemoryStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(self.tables, *args, **kwargs)

    return method


class MemoryStore:
    """The port over dictionaries. `clock` is the database's time; simulations pass their own."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self.clock = clock
        self.tables = Tables()
        self._wakes = Wakes()

    def copy(self, clock: Callable[[], datetime]) -> MemoryStore:
        """Return a store with the same rows and a clock of its own. Rows never change, so both share them."""
        other = MemoryStore(clock)
        other.tables = self.tables.copy()
        return other

    @property
    def depth(self) -> int:
        """Always 0: a transition is applied at once."""
        return 0

    @property
    def problem(self) -> str:
        """Always empty: memory can be written."""
        return ""

    async def apply(self, transition: Transition[A]) -> A:
        self.tables.journal.clear()
        try:
            answer: A = RULES[type(transition)](self.tables, transition)
        except BaseException:
            self.tables.roll_back()
            raise
        self._wakes.set(self._wakes.note_commit(transition, answer))
        return answer

    async def now(self) -> datetime:
        return self.clock()

    async def wait_for_wake(self, what: WakeKind, timeout: float) -> None:
        await self._wakes.wait(what, timeout)

    def watch_run(self, run: str) -> AbstractContextManager[RunWatch]:
        return self._wakes.watch_run(run)

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def dump(self) -> Dump:
        return dump_memory(self.tables)

    async def audited(self) -> tuple[Dump, AuditTree]:
        return dump_memory(self.tables), self.audit_tree()

    def audit_tree(self) -> AuditTree:
        db = self.tables
        entries = [
            TreeEntry(index=i, leaf=leaf, hash=db.tree_hashes.get(i)) for i, leaf in sorted(db.tree.items())
        ]
        return AuditTree(
            size=db.frontier.size,
            root=db.frontier.root(),
            entries=tuple(entries),
            checkpoints=tuple(db.checkpoints[size] for size in sorted(db.checkpoints)),
            pending=tuple((id_, db.leaves[id_].hash) for id_ in db.pending),
        )

    async def identity(self) -> str:
        return "memory"

    load = read(reads.load)
    todos = read(reads.todos)
    backlog = read(reads.backlog)
    existing_receipts = read(reads.existing_receipts)
    next_due = read(reads.next_due)
    head = read(reads.head)
    heads = read(reads.heads)
    heads_of = read(reads.heads_of)
    known_heads = read(reads.known_heads)
    head_states = read(reads.head_states)
    usage_meters = read(reads.usage_meters)
    link_by_ext = read(reads.link_by_ext)
    link_by_canonical = read(reads.link_by_canonical)
    guard_used = read(reads.guard_used)
    event = read(reads.event)
    approval = read(reads.approval)
    votes = read(reads.votes)
    case = read(reads.case)
    receipt = read(reads.receipt)
    cursor = read(reads.cursor)
    unnoticed = read(notices.unnoticed)
    notice_preferences = read(notices.notice_preferences)
    sweep = read(sweeps.sweep)
    latest_sweeps = read(sweeps.latest_sweeps)
    swept_to_admit = read(sweeps.swept_to_admit)
    completed_sweeps = read(sweeps.completed_sweeps)
    swept_and_held = read(sweeps.swept_and_held)
    swept_and_dismissed = read(sweeps.swept_and_dismissed)
    listed_events = read(sweeps.listed_events)
    book_checkpoint = read(checkpoints.book_checkpoint)
    book_checkpoints = read(checkpoints.book_checkpoints)
    signed_checkpoints = read(checkpoints.signed_checkpoints)
    changed_documents = read(checkpoints.changed_documents)
    unlisted_documents = read(sweeps.unlisted_documents)
    unlisted_cases = read(sweeps.unlisted_cases)
    call = read(reads.call)
    call_of_run = read(reads.call_of_run)
    release = read(reads.release)
    effect = read(reads.effect)
    effects_planned = read(reads.effects_planned)
    effects_overdue = read(reads.effects_overdue)
    effects_sending = read(reads.effects_sending)
    effects_to_look_up = read(reads.effects_to_look_up)
    foils_past_due = read(reads.foils_past_due)
    foil = read(reads.foil)
    observation = read(reads.observation)
    items_past_grace = read(reads.items_past_grace)
    match_basis = read(reads.match_basis)
    match_keys = read(reads.match_keys)
    events_after = read(reads.events_after)
    person = read(reads.person)
    persons = read(reads.persons)
    delegations = read(delegation_rows)
    token = read(reads.token)
    leaves = read(reads.leaves)
    checkpoint = read(reads.checkpoint)
    active_release = read(reads.active_release)
    plan = read(reads.plan)
    plan_model = read(reads.plan_model)
    release_step = read(reads.release_step)
    release_steps = read(reads.release_steps)
    pinned_runs = read(reads.pinned_runs)
    active_runs = read(reads.active_runs)
    awaited_events = read(reads.awaited_events)
    version_usage = read(reads.version_usage)
    waiting_runs = read(reads.waiting_runs)
    effects_of_gone_workers = read(reads.effects_of_gone_workers)
    stalled_work = read(stalled.stalled_work)
    stall_findings = read(stalled.stall_findings)
    traffic = read(reads.traffic)


if TYPE_CHECKING:

    def _as_port(store: MemoryStore) -> Store:
        """Have the type checker compare the store with its port."""
        return store
