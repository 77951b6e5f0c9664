"""Specification of claims and turns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from counterfoil.core.approval import APPROVAL_MOVES
from counterfoil.core.case import CaseState
from counterfoil.core.effect import IN_FLIGHT
from counterfoil.core.foil_versions import taken_back
from counterfoil.core.moves import check_move
from counterfoil.core.run import TERMINAL, Run
from counterfoil.store.memory.cases import open_break_after, open_case, resolve_case
from counterfoil.store.memory.effects import (
    abandon,
    drop_stale,
    insert_effect,
    is_approved,
    log_outcome,
    mark_sending,
    plan_again,
    record,
)
from counterfoil.store.memory.foils import change_foils, put_foil, settle_matches
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import append, put_todo, start_run
from counterfoil.store.memory.tables import Tables, least
from counterfoil.store.port.records import event_stimulus
from counterfoil.store.port.turns import Claim, ConcludeAndTurn, ConcludeAndTurnResult, Turn, TurnResult


@memory(Claim)
def claim(db: Tables, t: Claim) -> tuple[Run, ...]:
    place = {lane: n for n, lane in enumerate(t.lanes)}
    due = sorted(
        (
            r
            for r in db.runs.values()
            if r.lane in place
            and r.due is not None
            and r.due <= t.at
            and (r.lease_until is None or r.lease_until < t.at or r.lease_until > t.latest)
        ),
        key=lambda r: (place[r.lane], r.due, r.arrival),
    )[: t.limit]
    claimed = [replace(r, owner=t.worker, lease_until=t.lease_until) for r in due]
    for run in claimed:
        db.put(db.runs, run.id, run)
    return tuple(claimed)


@memory(ConcludeAndTurn)
def advance(db: Tables, t: ConcludeAndTurn) -> ConcludeAndTurnResult:
    c, u = t.conclude, t.turn
    if u.reserve or u.release:
        raise ValueError(f"{u.run}: a turn that touches guards is a transition of its own")
    before = db.runs.get(u.run)
    concluded, stimulus = record(db, c)
    turned = TurnResult(verdict="stale")
    if stimulus is None:
        return ConcludeAndTurnResult(concluded=concluded, turned=turned)
    present = db.runs.get(u.run)
    current = (
        before is not None
        and present is not None
        and (before.version, before.inbox_n) == (u.version, u.consumed - 1)
        and present.inbox_n == before.inbox_n
        and stimulus.run == u.run
        and not leaves_sent_call(db, u)
    )
    due = present.due if present is not None else None
    append(db, stimulus, c.at)
    if current:
        db.put(db.runs, u.run, replace(db.runs[u.run], due=due))
        turned = turn(db, u)
    if turned.verdict != "done":
        log_outcome(db, c, stimulus.run)
    return ConcludeAndTurnResult(concluded=concluded, turned=turned)


@memory(Turn)
def turn(db: Tables, t: Turn) -> TurnResult:
    run = db.runs.get(t.run)
    if run is None or run.version != t.version or leaves_sent_call(db, t):
        return TurnResult(verdict="stale")
    blocked = [s for s in t.hold if db.holds.get(s, t.run) != t.run]
    if blocked:
        for serial in blocked:
            db.put(db.hold_waits, (serial, t.run), run.arrival)
        idle = replace(run, due=None, owner=None, lease_until=None)
        db.put(db.runs, run.id, idle)
        return TurnResult(verdict="held", version=run.version)
    if (limited := reserve(db, t)) is not None:
        return limited
    for serial in t.hold:
        db.put(db.holds, serial, t.run)
        db.drop(db.hold_waits, (serial, t.run))
    change_approvals(db, t)
    started = change_effects(db, t)
    write_foils(db, t)
    for case in t.cases:
        open_case(db, case, t.at, t.actor)
    close_cases(db, t)
    for event in t.events:
        if event.id not in db.events:
            db.put(db.events, event.id, event)
            put_todo(db, "event", event.id)
    for start in t.starts:
        start_run(db, start, t.at)
    terminal = t.status in TERMINAL
    give_back(db, t.run, t.release)
    woken = unhold(db, t.run, t.unhold, t.at)
    if terminal and (serials := sorted(s for s, holder in db.holds.items() if holder == t.run)):
        raise ValueError(f"{t.run} would end and hold {', '.join(serials)}")
    woken += leave_queues(db, t.run, t.at)
    replace_waits(db, t, terminal)
    run = write_run(db, t, terminal)
    return TurnResult(
        verdict="done",
        version=run.version,
        inbox_n=run.inbox_n,
        due=run.due,
        started=tuple(started),
        woken=tuple(woken),
    )


def close_cases(db: Tables, t: Turn) -> None:
    """Resolve the Cases of steps that the Run has left. A foil that is still broken gets a Case of its own."""
    for id_, note in t.close_cases:
        case = db.cases.get(id_)
        if case is not None and case.state is CaseState.OPEN:
            resolve_case(db, case, t.at, "run", note)
            open_break_after(db, case, t.at)


def leaves_sent_call(db: Tables, t: Turn) -> bool:
    dropped = [db.effects[id_] for id_ in t.drop if id_ in db.effects]
    return t.status in TERMINAL and any(effect.state in IN_FLIGHT for effect in dropped)


def change_approvals(db: Tables, t: Turn) -> None:
    for approval in t.approvals:
        if approval.id not in db.approvals:
            db.put(db.approvals, approval.id, approval)
    for id_, state in t.close_approvals:
        approval = db.approvals[id_]
        check_move(APPROVAL_MOVES, approval.state, state, id_)
        db.put(db.approvals, id_, replace(approval, state=state))


def change_effects(db: Tables, t: Turn) -> list[str]:
    """Plan, send and drop effects; return those that are sending now."""
    for effect in t.plan:
        insert_effect(db, effect)
    started, new = [], {effect.id for effect in t.plan}
    for send in t.send:
        effect = db.effects[send.effect]
        if is_approved(db, effect):
            mark_sending(db, send)
            started.append(send.effect)
        elif send.effect not in new:
            drop_stale(db, effect, t.at)
    for id_ in t.again:
        plan_again(db, id_)
    for id_ in t.drop:
        abandon(db, id_, t.at)
    return started


def write_foils(db: Tables, t: Turn) -> None:
    """Write new foils and take back those of undone effects, then settle their match rows."""
    touched = set()
    for foil in t.foils:
        touched |= put_foil(db, foil, t.at)
    for effect in t.reverse:
        touched |= change_foils(db, effect, taken_back, t.at)
    settle_matches(db, touched, t.at)


def write_run(db: Tables, t: Turn, terminal: bool) -> Run:
    """Write the Run's row and its leaf, after the parts that may have appended to its inbox."""
    run = db.runs[t.run]
    due = t.at if run.inbox_n > t.consumed else t.due
    version = t.version + 1
    run = replace(
        run,
        status=t.status,
        direction=t.direction,
        state=t.state,
        version=version,
        consumed=t.consumed,
        due=None if terminal else due,
        owner=None,
        lease_until=None,
        now=t.at if run.now is None else max(run.now, t.at),
        ctx=t.ctx,
    )
    db.put(db.runs, run.id, run)
    db.leaf("turned", run.id, t.at, t.actor, t.leaf, run=run.id, version=version)
    return run


def reserve(db: Tables, t: Turn) -> TurnResult | None:
    """Take all reservations or none; those that this Run has already count once."""
    used: dict[tuple[str, str], int] = {}
    for r in t.reserve:
        used.setdefault((r.scope, r.key), db.guards.get((r.scope, r.key), (0, None))[0])
    planned_use = dict(used)
    refused = False
    for r in t.reserve:
        if (r.scope, r.key, t.run, r.path) in db.reservations:
            continue
        if r.expected_use is not None and used[r.scope, r.key] != r.expected_use:
            refused = True
        planned_use[r.scope, r.key] += r.amount
        if r.limit is not None and planned_use[r.scope, r.key] > r.limit:
            refused = True
    if refused:
        return TurnResult(verdict="limited", used=tuple((s, k, n) for (s, k), n in sorted(used.items())))
    for r in t.reserve:
        if (r.scope, r.key, t.run, r.path) not in db.reservations:
            db.put(db.reservations, (r.scope, r.key, t.run, r.path), (r.amount, True))
            db.put(db.guards, (r.scope, r.key), (planned_use[r.scope, r.key], r.limit))
    return None


def give_back(db: Tables, run: str, paths: Sequence[str]) -> None:
    """Give back reservations of these paths. What an ended Run did not give back was consumed."""
    for key, (amount, live) in list(db.reservations.items()):
        scope, guard, owner, path = key
        if owner == run and path in paths and live:
            db.put(db.reservations, key, (amount, False))
            used, limit = db.guards[scope, guard]
            db.put(db.guards, (scope, guard), (used - amount, limit))


def unhold(db: Tables, run: str, serials: Sequence[str], at: datetime) -> list[str]:
    """Release these serials of the Run; the Run that waited longest on each becomes due."""
    woken = []
    for serial in sorted(s for s in serials if db.holds.get(s) == run):
        db.drop(db.holds, serial)
        woken += wake_next(db, serial, at)
    return woken


def leave_queues(db: Tables, run: str, at: datetime) -> list[str]:
    """Take the Run out of the queues of serials that it went on without, and wake the next Runs."""
    woken = []
    for serial in sorted(s for s, waiting in db.hold_waits if waiting == run):
        db.drop(db.hold_waits, (serial, run))
        if serial not in db.holds:
            woken += wake_next(db, serial, at)
    return woken


def wake_next(db: Tables, serial: str, at: datetime) -> list[str]:
    waiting = sorted((arrival, r) for (s, r), arrival in db.hold_waits.items() if s == serial)
    for _, run in waiting[:1]:
        row = db.runs[run]
        db.put(db.runs, run, replace(row, due=least(row.due, at)))
    return [run for _, run in waiting[:1]]


def replace_waits(db: Tables, t: Turn, terminal: bool) -> None:
    for topic, run in list(db.waits):
        if run == t.run:
            db.drop(db.waits, (topic, run))
    if terminal:
        return
    for wait in t.waits:
        db.put(db.waits, (wait.topic, t.run), wait.since)
        for (topic, event), (at, body) in sorted(db.posts.items(), key=lambda p: p[1][0]):
            if topic == wait.topic and (wait.since is None or at >= wait.since):
                append(db, event_stimulus(t.run, event, body), t.at)
