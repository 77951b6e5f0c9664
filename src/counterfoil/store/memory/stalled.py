"""Specification of the progress scan: its reads over every row, and the record of its findings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from counterfoil.core import wire
from counterfoil.core.case import CaseState
from counterfoil.core.effect import UNFINISHED, EffectState
from counterfoil.core.foil import UNFINISHED_FOILS
from counterfoil.core.run import TERMINAL
from counterfoil.core.sweep import SweepState
from counterfoil.store.memory.cases import open_case, resolve_case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.stalled import (
    MAX_SUBJECTS,
    RecordStalled,
    StalledFinding,
    StalledGroup,
    StalledSubject,
    StallLimits,
    group_subjects,
    needs_case,
)


@memory(RecordStalled)
def record_stalled(db: Tables, t: RecordStalled) -> bool:
    if any(row.seen_at > t.at for row in db.stalled.values()):
        return False
    former = dict(db.stalled)
    for finding, case in zip(t.findings, t.cases, strict=True):
        key = (finding.kind, finding.about)
        before = former.pop(key, None)
        first_at = t.at if before is None else before.first_at
        case_id = None if before is None else before.case
        if needs_case(db.cases.get(case_id) if case_id else None, first_at, t):
            open_case(db, case, t.at, t.actor)
            case_id = case.id
        row = StalledFinding(stuck=finding, first_at=first_at, seen_at=t.at, case=case_id)
        db.put(db.stalled, key, row)
    for key, row in sorted(former.items()):
        db.drop(db.stalled, key)
        stuck_case = db.cases.get(row.case) if row.case else None
        if stuck_case is not None and stuck_case.state is CaseState.OPEN:
            note = "it moves again"
            resolve_case(db, stuck_case, t.at, "progress", note)
            db.leaf("case.resolved", stuck_case.id, t.at, t.actor, wire.dumps({"note": note}))
    return True


def stalled_work(db: Tables, at: datetime, limits: StallLimits) -> list[StalledGroup]:
    subjects = [*_of_runs(db, at, limits), *_of_effects(db, at, limits), *_of_todos(db, at, limits)]
    subjects += [*_of_serials(db, at), *_of_the_rest(db, at, limits)]
    subjects.sort(key=lambda row: (row.since, row.subject))
    kinds: dict[str, list[StalledSubject]] = {}
    for subject in subjects:
        kinds.setdefault(subject.kind, []).append(subject)
    return group_subjects(row for members in kinds.values() for row in members[:MAX_SUBJECTS])


def _of_runs(db: Tables, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
    queued = {run for _, run in db.hold_waits}
    moving = {e.run for e in db.effects.values() if e.state in UNFINISHED}
    owned = {c.run for c in db.cases.values() if c.state is CaseState.OPEN}
    for run in db.runs.values():
        if run.due is not None:
            late = run.due < at - min(p.due, p.lease)
            lapsed = run.lease_until is not None and run.lease_until < at - p.lease
            if late and run.owner is not None and lapsed:
                yield StalledSubject(kind="lease_expired", about=run.workflow, subject=run.id, since=run.due)
            elif run.due < at - p.due:
                yield StalledSubject(kind="run_not_turned", about=run.workflow, subject=run.id, since=run.due)
        elif run.status not in TERMINAL and run.id not in queued | moving | owned:
            since = run.now or run.created_at
            if since < at - p.due:
                yield StalledSubject(kind="run_lost", about=run.workflow, subject=run.id, since=since)


def _of_effects(db: Tables, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
    owned = {c.run for c in db.cases.values() if c.state is CaseState.OPEN}
    for e in db.effects.values():
        since = e.conclude_at or e.created_at
        unasked = e.state is EffectState.UNKNOWN or (e.state is EffectState.ACCEPTED and e.look_at is None)
        if e.state is EffectState.PLANNED and e.created_at < at - p.planned:
            yield StalledSubject(kind="effect_planned", about=e.system, subject=e.id, since=e.created_at)
        elif e.state is EffectState.SENDING and e.call_until is not None and e.call_until < at - p.sending:
            yield StalledSubject(kind="effect_sending", about=e.system, subject=e.id, since=e.call_until)
        elif unasked and since < at - p.unknown and e.run not in owned:
            yield StalledSubject(kind="effect_unknown", about=e.system, subject=e.id, since=since)


def _of_todos(db: Tables, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
    open_cases = [c for c in db.cases.values() if c.state is CaseState.OPEN]
    owned = {("receipt", str(c.receipt)) for c in open_cases} | {("event", str(c.event)) for c in open_cases}
    for (kind, ref), topic in db.todos.items():
        about = db.receipts[int(ref)] if kind == "receipt" else db.events[ref]
        stall = "todo_waiting" if topic is None else "todo_parked"
        late = about.received_at < at - p.todo if topic is None else topic == "" and (kind, ref) not in owned
        if late:
            since = about.received_at
            yield StalledSubject(kind=stall, about=about.system, subject=f"{kind} {ref}", since=since)


def _of_serials(db: Tables, at: datetime) -> Iterator[StalledSubject]:
    for serial, holder in db.holds.items():
        run = db.runs.get(holder)
        if run is None or run.status in TERMINAL:
            since = at if run is None or run.now is None else run.now
            yield StalledSubject(kind="serial_held", about="serials", subject=serial, since=since)
    for serial in {serial for serial, _ in db.hold_waits} - set(db.holds):
        runs = [db.runs.get(run) for name, run in db.hold_waits if name == serial]
        if not any(run is not None and run.due is not None for run in runs):
            since = min(at if run is None else run.now or run.created_at for run in runs)
            yield StalledSubject(kind="serial_stranded", about="serials", subject=serial, since=since)


def _of_the_rest(db: Tables, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
    for case in db.cases.values():
        late = case.state is CaseState.OPEN and case.deadline < at
        if late and not case.reason.startswith("stuck_"):
            yield StalledSubject(
                kind="case_overdue", about=case.owner, subject=case.id, since=case.deadline, owner=case.owner
            )
    for foil in db.foils.values():
        if foil.state in UNFINISHED_FOILS and foil.due < at - p.foil:
            yield StalledSubject(
                kind="foil_past_due", about=foil.rule, subject=foil.id, since=foil.due, owner=foil.owner
            )
    for id_ in db.pending:
        leaf = db.leaves[id_]
        if leaf.at < at - p.leaf:
            yield StalledSubject(kind="leaf_pending", about="audit", subject=id_, since=leaf.at)
    reading = [sweep for sweep in db.sweeps.values() if sweep.state is SweepState.READING]
    is_busy = any(sweep.lease_until is not None and sweep.lease_until >= at for sweep in reading)
    for sweep in reading:
        since = sweep.lease_until or sweep.requested_at
        if since < at - p.sweep and not (sweep.lease_until is None and is_busy):
            name = f"{sweep.system}.{sweep.book}"
            yield StalledSubject(kind="sweep_waiting", about=sweep.system, subject=name, since=since)


def stall_findings(db: Tables) -> list[StalledFinding]:
    return [db.stalled[key] for key in sorted(db.stalled)]
