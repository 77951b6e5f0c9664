"""Reads of the port and of recorded traffic, over the tables in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, HeadState, Receipt
from counterfoil.core.case import Case
from counterfoil.core.effect import UNSETTLED, Effect, EffectState
from counterfoil.core.foil import UNFINISHED_FOILS, Foil, Observation
from counterfoil.core.link import Link, LinkStatus
from counterfoil.core.people import Person
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import TERMINAL, Run
from counterfoil.store.memory.tables import Tables
from counterfoil.store.memory.workers import left_in_flight
from counterfoil.store.port import store as port
from counterfoil.store.port.matches import is_accounted_for
from counterfoil.store.port.recorded import (
    NO_DELIVERY,
    DeliveryFilter,
    RecordedDelivery,
    RecordedPage,
    assemble,
    spoken,
)
from counterfoil.store.port.releases import PinCount
from counterfoil.store.port.versions import UseCount, VersionUsage, WaitingRuns, usage_by_user
from counterfoil.store.port.views import CaseRow


def load(db: Tables, run: str) -> port.LoadedRun | None:
    row = db.runs.get(run)
    if row is None:
        return None
    inbox = [db.inbox[run, seq] for seq in range(row.consumed + 1, row.inbox_n + 1)]
    return port.LoadedRun(
        run=row,
        inbox=tuple(inbox),
        effects=tuple(e for e in db.effects.values() if e.run == run),
        approvals=tuple(a for a in db.approvals.values() if a.run == run),
        foils=tuple(f for f in db.foils.values() if f.run == run),
        holds=tuple(sorted(serial for serial, holder in db.holds.items() if holder == run)),
    )


def todos(db: Tables, limit: int, skip: Sequence[tuple[str, str]] = ()) -> list[port.AdmissionTodo]:
    rows = [t for t, topic in db.todos.items() if topic is None and t not in skip][:limit]
    return [
        port.AdmissionTodo(
            kind=kind,
            ref=ref,
            receipt=db.receipts.get(int(ref)) if kind == "receipt" else None,
            event=db.events.get(ref) if kind == "event" else None,
        )
        for kind, ref in rows
    ]


def backlog(db: Tables, most: int, place: int) -> port.Backlog:
    waiting = [t for t, topic in db.todos.items() if topic is None]
    since = None
    for kind, ref in waiting[place : place + 1]:
        since = db.receipts[int(ref)].received_at if kind == "receipt" else db.events[ref].received_at
    return port.Backlog(waiting=min(most, len(waiting)), since=since)


def existing_receipts(db: Tables, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
    numbers = {name: db.receipt_ids[name] for name in names if name in db.receipt_ids}
    return {name: (no, db.receipts[no].identity) for name, no in numbers.items()}


def next_due(db: Tables) -> datetime | None:
    dues = [r.due for r in db.runs.values() if r.due is not None]
    dues += [e.look_at for e in db.effects.values() if e.look_at is not None]
    dues += [
        e.call_until
        for e in db.effects.values()
        if e.state is EffectState.SENDING and e.call_until is not None
    ]
    dues += [f.due for f in db.foils.values() if f.state in UNFINISHED_FOILS]
    return min(dues, default=None)


def head(db: Tables, object_: str, key: str, at: datetime | None = None) -> Head | None:
    if at is None:
        return db.heads.get((object_, key))
    candidates = [h for h in db.head_history.get((object_, key), ()) if h.effective_at <= at]
    return max(reversed(candidates), key=lambda h: (h.effective_at, h.version), default=None)


def heads(db: Tables, object_: str, limit: int = 1000) -> list[Head]:
    return [h for (o, _), h in sorted(db.heads.items()) if o == object_][:limit]


def heads_of(db: Tables, object_: str, keys: Sequence[str]) -> list[Head]:
    return [db.heads[object_, key] for key in sorted(set(keys)) if (object_, key) in db.heads]


def known_heads(db: Tables, object_: str, keys: Sequence[str]) -> dict[str, str]:
    return {key: db.heads[object_, key].entity for key in keys if (object_, key) in db.heads}


def usage_meters(db: Tables, source: str, event_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    rows = (db.usage.get((source, id_)) for id_ in event_ids)
    return {row[1]: (row[3], row[4]) for row in rows if row is not None}


def head_states(db: Tables, object_: str, keys: Sequence[str]) -> dict[str, list[HeadState]]:
    histories = {key: db.head_history.get((object_, key), ()) for key in keys}
    return {
        key: [
            HeadState(h.effective_at, h.state)
            for h in sorted(history, key=lambda h: (h.effective_at, h.version))
        ]
        for key, history in histories.items()
        if history
    }


def link_by_ext(db: Tables, object_: str, system: str, ext_id: str, account: str = "") -> Link | None:
    link = db.links.get((object_, system, account, ext_id))
    return link if link is not None and link.status is LinkStatus.CONFIRMED else None


def link_by_canonical(db: Tables, object_: str, canonical: str, system: str) -> Link | None:
    rows = [
        link
        for link in db.links.values()
        if (link.object, link.canonical, link.system) == (object_, canonical, system)
        and link.status is LinkStatus.CONFIRMED
    ]
    return min(rows, key=lambda link: (link.valid_from, link.ext_id), default=None)


def guard_used(db: Tables, scope: str, key: str) -> int:
    return db.guards.get((scope, key), (0, None))[0]


def event(db: Tables, id_: str) -> CanonicalEvent | None:
    return db.events.get(id_)


def approval(db: Tables, id_: str) -> Approval | None:
    return db.approvals.get(id_)


def votes(db: Tables, approvals: Sequence[str]) -> dict[str, list[Vote]]:
    votes = sorted(db.votes.values(), key=lambda vote: (vote.at, vote.person))
    return {id_: [vote for vote in votes if vote.approval == id_] for id_ in approvals}


def case(db: Tables, id_: str) -> CaseRow | None:
    case = db.cases.get(id_)
    if case is None:
        return None
    run = db.runs.get(case.run) if case.run is not None else None
    if run is None:
        return CaseRow(case=case, entity=_entity_of(db, case))
    return CaseRow(case=case, workflow=run.workflow, bkey=run.bkey, pin=run.pin, entity=run.entity)


def _entity_of(db: Tables, case: Case) -> str | None:
    """Return the legal entity of the counterfoil, document or event that a Case is about."""
    foil, item = db.foils.get(case.foil or ""), db.observations.get(case.observation or "")
    if foil is not None or item is not None:
        return foil.entity if foil is not None else item.entity if item is not None else None
    event = db.events.get(case.event or "")
    return None if event is None else event.legal_entity


def receipt(db: Tables, no: int) -> Receipt | None:
    return db.receipts.get(no)


def cursor(db: Tables, system: str, feed: str) -> str | None:
    return db.cursors.get((system, feed))


def call(db: Tables, consumer: str, operation: str, key: str) -> OperationCall | None:
    return db.calls.get((consumer, operation, key))


def call_of_run(db: Tables, run: str) -> OperationCall | None:
    return next((call for call in db.calls.values() if call.run == run), None)


def release(db: Tables, digest: str | None = None) -> tuple[str, bytes] | None:
    chosen = digest if digest is not None else db.present_release.get("present")
    if chosen is None or chosen not in db.releases:
        return None
    return chosen, db.releases[chosen]


def effect(db: Tables, id_: str) -> Effect | None:
    return db.effects.get(id_)


def _effects(db: Tables, *states: EffectState) -> list[Effect]:
    return [e for e in db.effects.values() if e.state in states]


def effects_planned(db: Tables, limit: int) -> list[Effect]:
    return sorted(_effects(db, EffectState.PLANNED), key=lambda e: (e.lane, e.created_at, e.id))[:limit]


def effects_overdue(db: Tables, at: datetime, limit: int) -> list[Effect]:
    sending = _effects(db, EffectState.SENDING)
    rows = [e for e in sending if e.call_until is not None and e.call_until < at]
    return sorted(rows, key=lambda e: (e.call_until, e.id))[:limit]


def effects_sending(db: Tables, worker_prefix: str, limit: int) -> list[Effect]:
    sending = _effects(db, EffectState.SENDING)
    rows = [e for e in sending if (e.worker or "").startswith(worker_prefix)]
    return sorted(rows, key=lambda e: e.id)[:limit]


def effects_to_look_up(db: Tables, at: datetime, limit: int) -> list[Effect]:
    rows = [e for e in _effects(db, *UNSETTLED) if e.look_at is not None and e.look_at <= at]
    return sorted(rows, key=lambda e: (e.look_at, e.id))[:limit]


def foils_past_due(db: Tables, at: datetime, limit: int) -> list[Foil]:
    rows = [f for f in db.foils.values() if f.state in UNFINISHED_FOILS and f.due <= at]
    return sorted(rows, key=lambda f: (f.due, f.id))[:limit]


def foil(db: Tables, id_: str) -> Foil | None:
    return db.foils.get(id_)


def observation(db: Tables, id_: str) -> Observation | None:
    return db.observations.get(id_)


def items_past_grace(db: Tables, at: datetime, limit: int) -> list[Observation]:
    due = [
        (o.case_at, o.id, o)
        for o in db.observations.values()
        if o.case_at is not None and o.case_at <= at and not is_accounted_for(o) and _is_alone(db, o)
    ]
    return [o for _, _, o in sorted(due, key=lambda row: row[:2])][:limit]


def _is_alone(db: Tables, o: Observation) -> bool:
    """Report whether no other reconciliation that reads the document has its other half, or lists it."""
    return o.state == "over" or not any(
        other.event == o.event
        and other.rule != o.rule
        and (other.state != "unmatched" or other.rule < o.rule)
        for other in db.observations.values()
    )


def match_basis(db: Tables) -> dict[str, str]:
    return dict(db.match_basis)


def match_keys(db: Tables, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
    both = {(f.rule, f.key) for f in db.foils.values()} | {(o.rule, o.key) for o in db.observations.values()}
    return [match for match in sorted(both) if match > after][:limit]


def events_after(db: Tables, id_: str, limit: int) -> list[CanonicalEvent]:
    return [db.events[event] for event in sorted(db.events) if event > id_][:limit]


def person(db: Tables, id_: str) -> Person | None:
    return db.persons.get(id_)


def persons(db: Tables) -> list[Person]:
    return [db.persons[k] for k in sorted(db.persons)]


def token(db: Tables, digest: str, at: datetime) -> Person | None:
    token = db.tokens.get(digest)
    if token is None or token.expires <= at:
        return None
    person = db.persons.get(token.person)
    return person if person is not None and person.active else None


def leaves(db: Tables, start: int, limit: int) -> list[tuple[int, Leaf]]:
    return [(i, db.leaves[db.tree[i]]) for i in range(start, start + limit) if i in db.tree]


def checkpoint(db: Tables, size: int | None = None) -> Checkpoint | None:
    return db.checkpoints.get(max(db.checkpoints, default=0) if size is None else size)


def active_release(db: Tables) -> str | None:
    return db.present_release.get("present")


def plan(db: Tables, digest: str) -> Plan | None:
    return db.plans.get(digest)


def plan_model(db: Tables, digest: str) -> bytes | None:
    return db.plan_models.get(digest)


def release_step(db: Tables, digest: str) -> ReleaseStep | None:
    rows = [step for step in db.release_steps.values() if step.digest == digest]
    return max(rows, key=lambda step: step.no, default=None)


def release_steps(db: Tables, limit: int, before: int | None = None) -> list[ReleaseStep]:
    rows = [s for s in db.release_steps.values() if before is None or s.no < before]
    return sorted(rows, key=lambda step: -step.no)[:limit]


def pinned_runs(db: Tables) -> list[PinCount]:
    counts: dict[tuple[str, str], int] = {}
    for run in db.runs.values():
        if run.status not in TERMINAL:
            counts[run.workflow, run.pin] = counts.get((run.workflow, run.pin), 0) + 1
    return [PinCount(workflow=w, pin=p, count=n) for (w, p), n in sorted(counts.items())]


def active_runs(db: Tables, workflow: str, after: str, limit: int) -> list[Run]:
    active = [r for r in db.runs.values() if r.status not in TERMINAL]
    rows = [r for r in active if r.workflow == workflow and r.id > after]
    return sorted(rows, key=lambda run: run.id)[:limit]


def awaited_events(db: Tables) -> list[tuple[str, str | None, str | None]]:
    rows: list[tuple[str, str | None, str | None]] = []
    for digest in db.releases:
        pairs = sorted(pair for release, *pair in db.awaited if release == digest)
        rows += [(digest, type_, field) for type_, field in pairs] or [(digest, None, None)]
    return rows


def version_usage(db: Tables, at: datetime) -> list[VersionUsage]:
    rows = [
        UseCount(name=name, side=side, who=who, count=count, first_at=first, last_at=last)
        for (name, side, who, _), (count, first, last) in db.version_uses.items()
    ]
    return usage_by_user(rows, at)


def waiting_runs(db: Tables, names: Sequence[str]) -> list[WaitingRuns]:
    rows = []
    for name in sorted(set(names)):
        topic = f"event:{name}"
        runs = {run for at, run in db.waits if at == topic or at.startswith(f"{topic}:")}
        workflows = sorted(db.runs[run].workflow for run in runs)
        rows += [
            WaitingRuns(name=name, workflow=workflow, count=workflows.count(workflow))
            for workflow in sorted(set(workflows))
        ]
    return rows


def effects_of_gone_workers(db: Tables, at: datetime, limit: int) -> list[Effect]:
    return sorted(left_in_flight(db, at), key=lambda e: e.id)[:limit]


def traffic(db: Tables, of: DeliveryFilter) -> tuple[list[RecordedDelivery], int | None]:
    receipts = [
        r
        for no, r in sorted(db.receipts.items())
        if no > (of.after or 0) and of.since <= r.received_at < of.until and r.door not in NO_DELIVERY
    ][: of.limit]
    if not receipts:
        return [], None
    names = {f"{operation}:{r.no}" for operation in of.fetches for r in receipts}
    numbers = {r.no for r in receipts}
    events = [e for e in db.events.values() if e.receipt in numbers]
    ids = {e.id for e in events}
    starts = [item for item in db.inbox.values() if item.kind == "start" and item.seq == 1]
    births = {item.run: item.ref for item in starts if item.ref in ids}
    reserved = [(*key[:3], amount) for key, (amount, live) in db.reservations.items() if live]
    limits = {(scope, key) for scope, key, run, _ in reserved if run in births}
    about = spoken(events)
    history = [
        (object_, key, head)
        for (object_, key), heads in db.head_history.items()
        for head in heads
        if (object_, key) in about or object_ in of.calendars
    ]
    page = RecordedPage(
        receipts=receipts,
        fetched=[r for r in db.receipts.values() if r.door == "fetch" and r.type in names],
        events=events,
        births=births,
        runs=[r for r in db.runs.values() if r.id in births],
        inbox=[i for _, i in sorted(db.inbox.items()) if i.run in births and i.kind == "event"],
        effects=[e for e in db.effects.values() if e.run in births],
        approvals=[a for a in db.approvals.values() if a.run in births],
        reserved=[
            (scope, key, run, db.runs[run].arrival, amount)
            for scope, key, run, amount in reserved
            if (scope, key) in limits
        ],
        cases=Counter(c.run for c in db.cases.values() if c.run is not None and c.run in births),
        links=[
            link
            for link in db.links.values()
            if link.status is LinkStatus.CONFIRMED and (link.object, link.canonical) in about
        ],
        history=[head for object_, key, head in history if (object_, key) in about],
        calendars=[head for object_, _, head in history if object_ in of.calendars],
    )
    return assemble(page), receipts[-1].no if len(receipts) == of.limit else None
