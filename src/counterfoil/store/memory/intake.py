"""Specification of receive and admit: receipts stored, and todos turned into their consequences."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.canonical import Head, Receipt, compare_identity
from counterfoil.core.cases import case_topic
from counterfoil.core.contradictions import (
    case_of_start,
    case_of_tie,
    clash_of_event,
    clash_of_receipt,
    tie_case_id,
)
from counterfoil.store.memory.cases import hold_case, open_case, resolve_case_by_id, resolve_cases_of_todo
from counterfoil.store.memory.foils import put_foil, put_observation, settle_matches, withdraw
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import deliver, establish, put_todo, start_run
from counterfoil.store.memory.tables import NO_ROW, Tables
from counterfoil.store.port.heads import is_overtaken, merge_head
from counterfoil.store.port.intake import Admit, AdmitResult, Receive, ReceiveResult, ReceiveVerdict
from counterfoil.store.port.records import RunStart


@memory(Receive)
def receive(db: Tables, t: Receive) -> ReceiveResult:
    numbers: list[int] = []
    verdicts: list[ReceiveVerdict] = []
    repeats: list[Receipt] = []
    for receipt, clash in zip(t.receipts, t.clashes, strict=True):
        no = db.receipt_ids.get((receipt.system, receipt.ext_id))
        if no is None:
            no = _insert(db, receipt, t)
            verdict: ReceiveVerdict = "new"
        elif (how := compare_identity(db.receipts[no].identity, receipt.identity)) == "clash":
            first = db.receipts[no].body
            open_case(db, clash_of_receipt(clash, no, first, receipt.body), t.at, t.actor)
            verdict = "clash"
        else:
            repeats += [receipt.as_repeat()] if how == "changed" else []
            verdict = "same"
        numbers.append(no)
        verdicts.append(verdict)
    for repeat in repeats:
        if (repeat.system, repeat.ext_id) not in db.receipt_ids:
            _insert(db, repeat, t)
    if t.cursor is not None:
        system, feed, value = t.cursor
        db.put(db.cursors, (system, feed), value)
    return ReceiveResult(numbers=tuple(numbers), verdicts=tuple(verdicts))


def _insert(db: Tables, receipt: Receipt, t: Receive) -> int:
    no = len(db.receipts) + 1
    db.put(db.receipt_ids, (receipt.system, receipt.ext_id), no)
    db.put(db.receipts, no, replace(receipt, no=no))
    if receipt.door != "fetch":
        put_todo(db, "receipt", str(no))
    body = wire.dumps(receipt.leaf_body)
    db.leaf("received", str(no), t.at, t.actor, body)
    return no


@memory(Admit)
def admit(db: Tables, t: Admit) -> AdmitResult:
    if t.release and db.present_release.get("present", t.release) != t.release:
        return AdmitResult(applied=False, outdated=True)
    if db.todos.get(t.todo, NO_ROW) is not None:
        return AdmitResult(applied=False)
    if t.read_from is not None:
        heads = [(db.heads.get((fact.object, fact.key)), fact) for fact in t.heads]
        if any(is_overtaken(head, fact, t.read_from) for head, fact in heads):
            return AdmitResult(applied=False, overtaken=True)
    db.drop(db.todos, t.todo)
    fresh = {e.id for e in t.events if e.id not in db.events}
    if t.todo[0] == "event":
        fresh |= {e.id for e in t.events}  # emitted events are kept already; this is their admission
    for event in t.events:
        stored = db.events.get(event.id)
        if stored is None:
            db.put(db.events, event.id, event)
        elif not t.listed and (clash := clash_of_event(stored, event, t.owner_of(event.id), t.at)):
            open_case(db, clash, t.at, t.actor)
    if t.todo[0] == "receipt":
        for event_id in {e.id for e in t.events} - fresh:
            db.put(db.event_repeats, (event_id, int(t.todo[1])), None)
    older = [h for h in t.heads if h.event in fresh and not move_head(db, h, t)]
    woken: list[str] = []
    for link in t.links:
        woken += establish(db, link, t.at)
    for post in t.posts:
        if post.event in fresh:
            woken += deliver(db, post, t.at)
    born = [s.run for s in t.starts if s.stimulus.ref in fresh and _start(db, s, t)]
    touched = set()
    for foil in t.foils:
        if foil.cause in fresh:
            touched |= put_foil(db, foil, t.at)
    for o in t.observations:
        if o.event in fresh:
            touched |= put_observation(db, o, t.at)
    for w in t.withdrawals:
        if w.cause in fresh or t.todo[0] == "event":
            touched |= withdraw(db, w, t.at)
    settle_matches(db, touched, t.at)
    _withdraw_again(db, t, older)
    if not t.park and not t.cases:
        resolve_cases_of_todo(db, t.todo, t.at)
    counted = ""
    for case in t.cases:
        if t.park:
            counted = hold_case(db, case, t.at, t.actor)
        else:
            open_case(db, case, t.at, t.actor)
    if t.park:
        topic = case_topic(counted) if counted else t.wake_topic or ""
        posted = bool(topic) and any(p[0] == topic for p in db.posts)
        db.put(db.todos, t.todo, None if posted else topic)
    db.leaf("admitted", ":".join(t.todo), t.at, t.actor, wire.dumps(t.leaf_body(fresh, counted)))
    return AdmitResult(
        applied=True,
        new_events=tuple(sorted(fresh)),
        born=tuple(born),
        woken=tuple(woken),
        older=tuple(h.event for h in older),
    )


def _withdraw_again(db: Tables, t: Admit, older: Sequence[Head]) -> None:
    """Have the newest events of objects read again, of which older events showed documents: one may withdraw these."""
    with_documents = {f.cause for f in t.foils} | {o.event for o in t.observations}
    for fact in older:
        if fact.event in with_documents:
            newest = db.events.get(db.heads[fact.object, fact.key].event)
            if newest is not None and newest.receipt is not None and ("event", newest.id) not in db.todos:
                put_todo(db, "event", newest.id)


def move_head(db: Tables, fact: Head, t: Admit) -> bool:
    key = (fact.object, fact.key)
    before = db.heads.get(key)
    merge = merge_head(before, fact)
    history = db.head_history.get(key, ())
    if not merge.moves:
        history = (*history, fact)
    if merge.head is not None:
        db.put(db.heads, key, merge.head)
        history = (*history, merge.head)
    db.put(db.head_history, key, history)
    if merge.tie and before is not None:
        open_case(db, case_of_tie(before.state, fact, t.owner_of(fact.event), t.at), t.at, t.actor)
    for version in sorted(merge.settled):
        case = tie_case_id(fact.object, fact.key, fact.system, version)
        resolve_case_by_id(db, case, t.at, t.actor, "settled by a later fact")
    return merge.moves


def _start(db: Tables, start: RunStart, t: Admit) -> bool:
    if start_run(db, start, t.at):
        return True
    first = db.inbox.get((start.run, 1))
    if not start.only_birth:
        event, owner = start.stimulus.ref, t.owner_of(start.stimulus.ref)
        began = None if first is None else first.body
        case = case_of_start(start.new_run(0, t.at), event, start.stimulus.body, began, owner, t.at)
        if case is not None:
            open_case(db, case, t.at, t.actor)
    return False
