"""The tables of the memory store, and the journal that takes a failed transition back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from counterfoil.core import ids
from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Frontier, Leaf
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case
from counterfoil.core.case_edits import CaseComment
from counterfoil.core.delegation import Delegation
from counterfoil.core.delivery import NoticeDelivery
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Allocation, Foil, Observation, Pairing, Waiver
from counterfoil.core.link import Link
from counterfoil.core.notice import Notice
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.core.people import Person, Token
from counterfoil.core.quota import Quota, SystemAccount, WorkerHeartbeat
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import InboxItem, Run
from counterfoil.core.sweep import Sweep
from counterfoil.core.usage import UsageRow
from counterfoil.store.port.matches import DocumentVersion, users_by_cap
from counterfoil.store.port.stalled import StalledFinding

Key = Any


class AbsentBefore:
    """A key that had no row before the transition."""


NO_ROW = AbsentBefore()


class Tables:
    """Every table as a dictionary. All writes go through `put` and `drop`, which the journal can take back."""

    def __init__(self) -> None:
        self.receipts: dict[int, Receipt] = {}
        self.receipt_ids: dict[tuple[str, str], int] = {}
        self.todos: dict[tuple[str, str], str | None] = {}
        """Value: None when due, the topic that wakes it (or "") while it is parked."""
        self.events: dict[str, CanonicalEvent] = {}
        self.event_repeats: dict[tuple[str, int], None] = {}
        """event, receipt: deliveries that brought events that were known already."""
        self.heads: dict[tuple[str, str], Head] = {}
        self.head_history: dict[tuple[str, str], tuple[Head, ...]] = {}
        self.links: dict[tuple[str, str, str, str], Link] = {}
        self.old_links: dict[int, Link] = {}
        self.runs: dict[str, Run] = {}
        self.run_keys: dict[tuple[str, str, int], str] = {}
        self.inbox: dict[tuple[str, int], InboxItem] = {}
        self.inbox_refs: dict[tuple[str, str, str], int] = {}
        self.effects: dict[str, Effect] = {}
        self.approvals: dict[str, Approval] = {}
        self.votes: dict[tuple[str, str], Vote] = {}
        self.cases: dict[str, Case] = {}
        self.case_comments: dict[str, CaseComment] = {}
        self.deliveries: dict[str, NoticeDelivery] = {}
        self.notices: dict[str, Notice] = {}
        self.notice_counts: dict[tuple[str, str, str], int] = {}
        """person, kind, entity -> unread."""
        self.notice_preferences: dict[str, NoticePreferences] = {}
        self.noticed: dict[tuple[str, str], None] = {}
        """Source and id of what has its notices."""
        self.delegations: dict[str, Delegation] = {}
        self.foils: dict[str, Foil] = {}
        self.observations: dict[str, Observation] = {}
        self.versions: dict[tuple[str, str, str], tuple[DocumentVersion, ...]] = {}
        """side, rule, document -> every version."""
        self.pairings: dict[str, Pairing] = {}
        self.waivers: dict[str, Waiver] = {}
        self.match_basis: dict[str, str] = {}
        """Reconciliation -> digest of the form by which its documents were written."""
        self.allocations: dict[tuple[str, str], tuple[Allocation, ...]] = {}
        self.guards: dict[tuple[str, str], tuple[int, int | None]] = {}
        """scope, key -> used, limit."""
        self.reservations: dict[tuple[str, str, str, str], tuple[int, bool]] = {}
        """scope, key, run, path -> amount, live."""
        self.holds: dict[str, str] = {}
        self.hold_waits: dict[tuple[str, str], int] = {}
        """serial, run -> arrival."""
        self.waits: dict[tuple[str, str], datetime | None] = {}
        """topic, run -> since."""
        self.posts: dict[tuple[str, str], tuple[datetime, bytes]] = {}
        """topic, event -> posted at, body."""
        self.cursors: dict[tuple[str, str], str] = {}
        self.releases: dict[str, bytes] = {}
        self.present_release: dict[str, str] = {}
        self.plans: dict[str, Plan] = {}
        self.plan_models: dict[str, bytes] = {}
        self.release_steps: dict[int, ReleaseStep] = {}
        self.persons: dict[str, Person] = {}
        self.tokens: dict[str, Token] = {}
        self.refusals: dict[tuple[str, str], tuple[datetime, int, int]] = {}
        """person, action -> start of the window, refusals within it, all refusals."""
        self._add_operation()

    def _add_operation(self) -> None:
        """Add the tables of what keeps the engine running: sweeps, workers, the audit log, usage and counts."""
        self.sweeps: dict[str, Sweep] = {}
        self.swept: dict[tuple[str, int], None] = {}
        """sweep, receipt: what sweeps under way have listed, and the newest completed one of each book."""
        self.book_checkpoints: dict[str, BookCheckpoint] = {}
        self.workers: dict[str, WorkerHeartbeat] = {}
        self.accounts: dict[str, SystemAccount] = {}
        self.quotas: dict[tuple[str, str], Quota] = {}
        """account, worker -> quota."""
        self.leaves: dict[str, Leaf] = {}
        self.pending: dict[str, None] = {}
        self.tree: dict[int, str] = {}
        self.tree_hashes: dict[int, bytes] = {}
        self.frontier = Frontier()
        self.checkpoints: dict[int, Checkpoint] = {}
        self.usage: dict[tuple[str, str], UsageRow] = {}
        self.quarantine: dict[str, tuple[Any, ...]] = {}
        self.stalled: dict[tuple[str, str], StalledFinding] = {}
        self.calls: dict[tuple[str, str, str], OperationCall] = {}
        self.rates: dict[tuple[str, str], int] = {}
        """consumer, operation -> what is spent."""
        self.awaited: dict[tuple[str, str, str], None] = {}
        """Release, event type, field."""
        self.version_uses: dict[tuple[str, str, str, int], tuple[int, datetime, datetime]] = {}
        """name, side, who, day -> count, first, last."""
        self.arrivals = 0
        self.journal: list[tuple[dict[Any, Any], Any, Any]] = []

    def copy(self) -> Tables:
        """Return tables with the same rows."""
        other = Tables.__new__(Tables)
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if type(value) is dict else value)
        other.frontier = Frontier(self.frontier.size, self.frontier.nodes)
        other.journal = []
        return other

    def put(self, table: dict[Any, Any], key: Key, value: Any) -> None:
        self.journal.append((table, key, table.get(key, NO_ROW)))
        table[key] = value

    def drop(self, table: dict[Any, Any], key: Key) -> None:
        if key in table:
            self.journal.append((table, key, table[key]))
            del table[key]

    def asserted_before(self, rule: str, key: str) -> bool:
        """Report whether a left document stood on a match by a version that is closed now.

        A version that reverses a known document stood on the match of that document.
        """
        closed = [
            v
            for versions in self.versions.values()
            for v in versions
            if v.stood and v.known_to is not None and (v.side, v.rule, v.key) == ("left", rule, key)
        ]
        reversals = {v.reverses for v in closed if v.reverses}
        documents = {f.document for f in self.foils.values() if f.rule == rule} if reversals else set()
        return any(v.reverses not in documents for v in closed)

    def users_of_total(self, rule: str, key: str) -> tuple[Foil, ...]:
        """Return the foils of other matches that use up the total of a match, by id."""
        foils = (foil for _, foil in sorted(self.foils.items()) if foil.within)
        return users_by_cap(foils).get((rule, key), ())

    def roll_back(self) -> None:
        """Restore every row that was written since the journal was cleared."""
        for table, key, before in reversed(self.journal):
            if before is NO_ROW:
                table.pop(key, None)
            else:
                table[key] = before

    def leaf(self, kind: str, subject: str, at: datetime, actor: str, body: bytes, **more: Any) -> None:
        parts = [kind, subject, str(more.get("version", "")), str(len(self.leaves))]
        leaf = Leaf(
            id=ids.derive("leaf", *parts), kind=kind, subject=subject, actor=actor, at=at, body=body, **more
        )
        self.put(self.leaves, leaf.id, leaf)
        self.put(self.pending, leaf.id, None)


def least(a: datetime | None, b: datetime) -> datetime:
    return b if a is None else min(a, b)
