"""All rows of a store as records: for the invariant checker, for tests that compare stores, and for export."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Leaf
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case
from counterfoil.core.case_edits import CaseComment
from counterfoil.core.delegation import Delegation
from counterfoil.core.delivery import NoticeDelivery
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Observation, Pairing, Waiver
from counterfoil.core.link import Link
from counterfoil.core.notice import Notice
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.core.people import Person
from counterfoil.core.quota import Quota, SystemAccount, WorkerHeartbeat
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import InboxItem, Run
from counterfoil.core.sweep import Sweep
from counterfoil.core.usage import UsageRow
from counterfoil.store.port import views
from counterfoil.store.port.matches import DocumentVersion

if TYPE_CHECKING:
    from counterfoil.store.memory.tables import Tables


version_order = attrgetter("side", "rule", "document", "known_from", "version", "body")
_LINK_ORDER = ("object", "system", "account", "ext_id", "valid_from", "canonical", "status")


class GuardRow(msgspec.Struct, frozen=True, kw_only=True, order=True):
    scope: str
    key: str
    used: int
    limit: int | None


class Reservation(msgspec.Struct, frozen=True, kw_only=True, order=True):
    scope: str
    key: str
    run: str
    path: str
    amount: int
    live: bool


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """All rows; each table has the same order in every store."""

    receipts: list[Receipt]
    todos: list[tuple[str, str, str | None]]
    """kind, ref, and the topic that wakes it while parked ("" for none); None: due."""
    events: list[CanonicalEvent]
    heads: list[Head]
    history: list[Head]
    links: list[Link]
    runs: list[Run]
    inbox: list[InboxItem]
    effects: list[Effect]
    approvals: list[Approval]
    votes: list[Vote]
    cases: list[Case]
    matches: list[views.MatchRow]
    guards: list[GuardRow]
    reservations: list[Reservation]
    holds: list[tuple[str, str]]
    """serial, run."""
    queues: list[tuple[str, str, int]]
    """serial, run, arrival."""
    waits: list[tuple[str, str, datetime | None]]
    """topic, run, since."""
    posts: list[tuple[str, str, datetime, bytes]]
    """topic, event, at, body."""
    persons: list[Person]
    workers: list[WorkerHeartbeat]
    accounts: list[SystemAccount]
    quotas: list[Quota]
    leaves: list[tuple[int | None, Leaf]]
    """In order of writing, with the tree index of those sealed."""
    pending: list[str]
    """Ids of leaves that wait for their place in the tree."""
    usage: list[UsageRow] = []
    """In order of source and id."""
    plans: list[Plan] = []
    releases: list[ReleaseStep] = []
    present: str | None = None
    """The active Release."""
    quarantine: list[tuple[Any, ...]] = []
    """id, batch, at, reason, message, source, event, body."""
    calls: list[OperationCall] = []
    """In order of consumer, operation and key."""
    versions: list[DocumentVersion] = []
    """Every version of every document, in order of `version_order`."""
    pairings: list[Pairing] = []
    """Those that have ended too."""
    waivers: list[Waiver] = []
    match_basis: list[tuple[str, str]] = []
    """Reconciliation, digest."""
    sweeps: list[Sweep] = []
    swept: list[tuple[str, int]] = []
    """Sweep, receipt."""
    event_repeats: list[tuple[str, int]] = []
    """Event, receipt."""
    book_checkpoints: list[BookCheckpoint] = []
    case_comments: list[CaseComment] = []
    deliveries: list[NoticeDelivery]
    notices: list[Notice]
    notice_counts: list[tuple[str, str, str, int]]
    """person, kind, entity, unread."""
    noticed: list[tuple[str, str]]
    """Source and id of what has its notices."""
    delegations: list[Delegation] = []
    notice_preferences: list[NoticePreferences] = []

    @property
    def foils(self) -> list[Foil]:
        return [foil for match in self.matches for foil in match.foils]

    @property
    def observations(self) -> list[Observation]:
        return [o for match in self.matches for o in match.observations]


def dump_memory(db: Tables) -> Dump:
    places = {id_: index for index, id_ in db.tree.items()}
    links = [*db.links.values(), *db.old_links.values()]
    return Dump(
        receipts=[db.receipts[no] for no in sorted(db.receipts)],
        todos=sorted((kind, ref, topic) for (kind, ref), topic in db.todos.items()),
        events=[db.events[id_] for id_ in sorted(db.events)],
        heads=[db.heads[key] for key in sorted(db.heads)],
        history=[head for key in sorted(db.head_history) for head in db.head_history[key]],
        links=sorted(links, key=attrgetter(*_LINK_ORDER)),
        runs=[db.runs[id_] for id_ in sorted(db.runs)],
        inbox=[db.inbox[key] for key in sorted(db.inbox)],
        effects=[db.effects[id_] for id_ in sorted(db.effects)],
        approvals=[db.approvals[id_] for id_ in sorted(db.approvals)],
        votes=[db.votes[key] for key in sorted(db.votes)],
        cases=[db.cases[id_] for id_ in sorted(db.cases)],
        matches=_matches(db),
        guards=sorted(
            GuardRow(scope=s, key=k, used=used, limit=limit) for (s, k), (used, limit) in db.guards.items()
        ),
        reservations=sorted(
            Reservation(scope=s, key=k, run=run, path=path, amount=amount, live=live)
            for (s, k, run, path), (amount, live) in db.reservations.items()
        ),
        holds=sorted(db.holds.items()),
        queues=sorted(
            ((serial, run, arrival) for (serial, run), arrival in db.hold_waits.items()),
            key=lambda row: (row[0], row[2], row[1]),
        ),
        waits=sorted(((topic, run, since) for (topic, run), since in db.waits.items()), key=lambda w: w[:2]),
        posts=sorted((topic, event, at, body) for (topic, event), (at, body) in db.posts.items()),
        persons=[db.persons[id_] for id_ in sorted(db.persons)],
        workers=[db.workers[id_] for id_ in sorted(db.workers)],
        accounts=[db.accounts[name] for name in sorted(db.accounts)],
        quotas=[db.quotas[key] for key in sorted(db.quotas)],
        leaves=[(places.get(id_), leaf) for id_, leaf in db.leaves.items()],
        pending=list(db.pending),
        usage=[db.usage[key] for key in sorted(db.usage)],
        quarantine=[db.quarantine[key] for key in sorted(db.quarantine)],
        calls=[db.calls[name] for name in sorted(db.calls)],
        plans=[db.plans[digest] for digest in sorted(db.plans)],
        releases=[db.release_steps[no] for no in sorted(db.release_steps)],
        present=db.present_release.get("present"),
        versions=sorted((v for history in db.versions.values() for v in history), key=version_order),
        pairings=[db.pairings[id_] for id_ in sorted(db.pairings)],
        waivers=[db.waivers[id_] for id_ in sorted(db.waivers)],
        match_basis=sorted(db.match_basis.items()),
        sweeps=[db.sweeps[id_] for id_ in sorted(db.sweeps)],
        swept=sorted(db.swept),
        event_repeats=sorted(db.event_repeats),
        book_checkpoints=[db.book_checkpoints[id_] for id_ in sorted(db.book_checkpoints)],
        deliveries=[db.deliveries[id_] for id_ in sorted(db.deliveries)],
        notices=[db.notices[id_] for id_ in sorted(db.notices)],
        notice_counts=sorted((*name, unread) for name, unread in db.notice_counts.items()),
        notice_preferences=[db.notice_preferences[id_] for id_ in sorted(db.notice_preferences)],
        noticed=sorted(db.noticed),
        delegations=[db.delegations[id_] for id_ in sorted(db.delegations)],
        case_comments=[db.case_comments[id_] for id_ in sorted(db.case_comments)],
    )


def _matches(db: Tables) -> list[views.MatchRow]:
    sides: dict[tuple[str, str], tuple[list[Foil], list[Observation]]] = {}
    for foil in db.foils.values():
        sides.setdefault((foil.rule, foil.key), ([], []))[0].append(foil)
    for o in db.observations.values():
        sides.setdefault((o.rule, o.key), ([], []))[1].append(o)
    pairings = [p for _, p in sorted(db.pairings.items()) if p.ended_at is None]
    waivers = [w for _, w in sorted(db.waivers.items()) if w.ended_at is None]
    rows = []
    for (rule, key), (foils, observations) in sorted(sides.items()):
        ids = {f.id for f in foils}
        allocations = db.allocations.get((rule, key), ())
        rows.append(
            views.MatchRow(
                rule=rule,
                key=key,
                asserted_before=db.asserted_before(rule, key),
                foils=tuple(sorted(foils, key=lambda f: f.id)),
                observations=tuple(sorted(observations, key=lambda o: o.id)),
                pairings=tuple(p for p in pairings if p.foil in ids),
                waivers=tuple(w for w in waivers if w.foil in ids),
                allocations=tuple(sorted(allocations, key=lambda a: (a.foil, a.observation, a.leg))),
                users=db.users_of_total(rule, key),
            )
        )
    return rows
