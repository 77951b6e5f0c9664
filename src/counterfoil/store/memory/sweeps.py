"""Specification of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.store.memory.cases import open_case, resolve_case_by_id
from counterfoil.store.memory.intake import receive
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.sweeps import (
    ClaimSweep,
    EndSweep,
    ReceiveSweepPage,
    RequestSweep,
    SweepPageResult,
    UnlistedCase,
    UnlistedDocument,
)


@memory(RequestSweep)
def request_sweep(db: Tables, t: RequestSweep) -> Sweep:
    for other in db.sweeps.values():
        book = (t.sweep.system, t.sweep.book)
        if other.state is SweepState.READING and (other.system, other.book) == book:
            return other
    db.put(db.sweeps, t.sweep.id, t.sweep)
    db.leaf("sweep.requested", t.sweep.id, t.at, t.actor, wire.dumps(t.sweep.leaf_body))
    return t.sweep


@memory(ClaimSweep)
def claim_sweep(db: Tables, t: ClaimSweep) -> Sweep | None:
    free = [
        sweep
        for sweep in db.sweeps.values()
        if sweep.state is SweepState.READING
        and sweep.system in t.systems
        and (sweep.lease_until is None or sweep.lease_until <= t.at)
    ]
    if not free:
        return None
    first = min(free, key=lambda sweep: (sweep.requested_at, sweep.id))
    return _put(db, replace(first, worker=t.worker, lease_until=t.lease_until))


@memory(ReceiveSweepPage)
def receive_sweep_page(db: Tables, t: ReceiveSweepPage) -> SweepPageResult:
    sweep = _under_way(db, t.sweep, t.worker)
    if sweep is None or sweep.pages != t.pages:
        return SweepPageResult(sweep=None)
    received = receive(db, t.receive)
    for no in received.numbers:
        db.put(db.swept, (t.sweep, no), None)
    moved = replace(
        sweep,
        pages=sweep.pages + 1,
        cursor=t.cursor,
        lease_until=t.lease_until,
        listed=sweep.listed + len(received.numbers),
        fresh=sweep.fresh + received.verdicts.count("new"),
    )
    return SweepPageResult(sweep=_put(db, moved), received=received)


@memory(EndSweep)
def end_sweep(db: Tables, t: EndSweep) -> Sweep | None:
    sweep = _under_way(db, t.sweep, t.worker)
    if sweep is None or sweep.pages != t.pages:
        return None
    ended = replace(sweep, state=t.state, missing=t.missing, error=t.error, ended_at=t.at, lease_until=None)
    if ended.state is SweepState.DONE:
        book = (ended.system, ended.book)
        over = {s.id for s in db.sweeps.values() if (s.system, s.book) == book and s.id != ended.id}
        over = {id_ for id_ in over if db.sweeps[id_].state is not SweepState.READING}
    else:
        over = {ended.id}
    for listed in [key for key in db.swept if key[0] in over]:
        db.drop(db.swept, listed)
    for settled in t.resolved:
        resolve_case_by_id(db, settled, t.at, t.actor, "the book lists it again")
    for case in t.cases:
        open_case(db, case, t.at, t.actor)
    db.leaf("sweep.ended", ended.id, t.at, t.actor, wire.dumps(ended.leaf_body))
    return _put(db, ended)


def _under_way(db: Tables, id_: str, worker: str) -> Sweep | None:
    """Return a sweep that this worker reads."""
    sweep = db.sweeps.get(id_)
    return (
        sweep if sweep is not None and (sweep.worker, sweep.state) == (worker, SweepState.READING) else None
    )


def _put(db: Tables, sweep: Sweep) -> Sweep:
    db.put(db.sweeps, sweep.id, sweep)
    return sweep


# ------------------------------------------------------------------ reads

_Row: TypeAlias = tuple[Literal["left", "right"], Foil | Observation, datetime, str]
"""Side, document, when its version was known, and the event that established it."""


def sweep(db: Tables, id_: str) -> Sweep | None:
    return db.sweeps.get(id_)


def latest_sweeps(db: Tables) -> list[Sweep]:
    latest: dict[tuple[str, str], Sweep] = {}
    for each in sorted(db.sweeps.values(), key=lambda s: (s.requested_at, s.id)):
        latest[each.system, each.book] = each
    return [latest[book] for book in sorted(latest)]


def completed_sweeps(db: Tables) -> list[Sweep]:
    latest: dict[tuple[str, str], Sweep] = {}
    for each in sorted(db.sweeps.values(), key=lambda s: (s.requested_at, s.id)):
        if each.state is SweepState.DONE:
            latest[each.system, each.book] = each
    listed = {id_ for id_, _ in db.swept}
    return [latest[book] for book in sorted(latest) if not latest[book].listed or latest[book].id in listed]


def swept_and_held(db: Tables, sweep: str) -> int:
    todos = (("receipt", str(no)) for id_, no in db.swept if id_ == sweep)
    return sum(todo in db.todos and db.todos[todo] is not None for todo in todos)


def swept_and_dismissed(db: Tables, sweep: str) -> int:
    dismissed = {case.receipt for case in db.cases.values() if case.choice is Choice.DISMISS}
    admitted = {event.receipt for event in db.events.values()} | {no for _, no in db.event_repeats}
    return sum(id_ == sweep and no in dismissed and no not in admitted for id_, no in db.swept)


def listed_events(db: Tables, sweep: str, after: str, limit: int) -> list[CanonicalEvent]:
    swept = {no for id_, no in db.swept if id_ == sweep}
    repeated = {event for event, no in db.event_repeats if no in swept}
    listed = [e for e in db.events.values() if e.receipt in swept or e.id in repeated]
    return sorted((e for e in listed if e.id > after), key=lambda e: e.id)[:limit]


def swept_to_admit(db: Tables, sweep: str) -> int:
    todos = (("receipt", str(no)) for id_, no in db.swept if id_ == sweep)
    return sum(todo in db.todos and db.todos[todo] is None for todo in todos)


def unlisted_documents(
    db: Tables, sweep: Sweep, types: Sequence[str], after: str, limit: int
) -> list[UnlistedDocument]:
    swept = {no for id_, no in db.swept if id_ == sweep.id}
    repeated = {event for event, no in db.event_repeats if no in swept}
    listed = {_record(e) for e in db.events.values() if e.receipt in swept or e.id in repeated}
    left: list[_Row] = [("left", f, f.known_from, f.cause) for f in db.foils.values()]
    right: list[_Row] = [("right", o, o.at, o.event) for o in db.observations.values()]
    unlisted = []
    for side, row, known_at, cause in (*left, *right):
        event = db.events.get(cause)
        if event is None or event.receipt is None or event.system != sweep.system:
            continue
        is_new, type_ = known_at > sweep.requested_at, db.receipts[event.receipt].type
        if is_new or not row.stands or type_ not in types or not event.object or _record(event) in listed:
            continue
        about = (row.document, row.entity, known_at, event.object, event.correlation)
        unlisted.append(UnlistedDocument(side, row.id, row.rule, *about))
    return sorted((d for d in unlisted if d.id > after), key=lambda d: d.id)[:limit]


def unlisted_cases(db: Tables, system: str, types: Sequence[str]) -> list[UnlistedCase]:
    causes = {f.id: f.cause for f in db.foils.values()} | {o.id: o.event for o in db.observations.values()}
    cases = []
    for case in db.cases.values():
        document, is_open = case.foil or case.observation, case.state is CaseState.OPEN
        if case.reason == "unlisted" and document in causes and (is_open or case.choice is not None):
            event = db.events.get(causes[document])
            if event is None or event.receipt is None or event.system != system:
                continue
            if db.receipts[event.receipt].type in types:
                cases.append(UnlistedCase(case.id, document, is_open, case.created_at))
    return sorted(cases, key=lambda case: case.id)


def _record(event: CanonicalEvent) -> tuple[str, ...]:
    return event.system, event.object, event.key, event.correlation
