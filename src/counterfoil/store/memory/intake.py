"""Specification of receive and admit: receipts stored, and todos turned into their consequences."""

from __future__ import annotations

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.canonical import Head
from counterfoil.store.memory.cases import open_case, resolve_cases_of_todo
from counterfoil.store.memory.foils import open_foil, settle_match
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import deliver, establish, put_todo, start_run
from counterfoil.store.memory.tables import NO_ROW, Tables
from counterfoil.store.port.intake import (
    Admit,
    AdmitResult,
    Receive,
    ReceiveResult,
    ReceiveVerdict,
    merge_head,
)


@memory(Receive)
def receive(db: Tables, t: Receive) -> ReceiveResult:
    numbers: list[int] = []
    verdicts: list[ReceiveVerdict] = []
    for receipt, clash in zip(t.receipts, t.clashes, strict=True):
        no = db.receipt_ids.get((receipt.system, receipt.ext_id))
        if no is None:
            no = len(db.receipts) + 1
            db.put(db.receipt_ids, (receipt.system, receipt.ext_id), no)
            db.put(db.receipts, no, replace(receipt, no=no))
            if receipt.door != "fetch":
                put_todo(db, "receipt", str(no))
            body = wire.dumps({"system": receipt.system, "ext_id": receipt.ext_id, "sha256": receipt.sha256})
            db.leaf("received", str(no), t.at, t.actor, body)
            verdicts.append("new")
        elif db.receipts[no].identity == receipt.identity:
            verdicts.append("same")
        else:
            open_case(db, replace(clash, receipt=no), t.at, t.actor)
            verdicts.append("clash")
        numbers.append(no)
    if t.cursor is not None:
        system, feed, value = t.cursor
        db.put(db.cursors, (system, feed), value)
    return ReceiveResult(numbers=tuple(numbers), verdicts=tuple(verdicts))


@memory(Admit)
def admit(db: Tables, t: Admit) -> AdmitResult:
    if t.release and db.present_release.get("present", t.release) != t.release:
        return AdmitResult(applied=False, outdated=True)
    if db.todos.get(t.todo, NO_ROW) is not None:
        return AdmitResult(applied=False)
    db.drop(db.todos, t.todo)
    fresh = {e.id for e in t.events if e.id not in db.events}
    if t.todo[0] == "event":
        fresh |= {e.id for e in t.events}  # emitted events are kept already; this is their admission
    for event in t.events:
        if event.id not in db.events:
            db.put(db.events, event.id, event)
    older = [h.event for h in t.heads if h.event in fresh and not move_head(db, h)]
    woken: list[str] = []
    for link in t.links:
        woken += establish(db, link, t.at)
    for post in t.posts:
        if post.event in fresh:
            woken += deliver(db, post, t.at)
    born = [s.run for s in t.starts if s.stimulus.ref in fresh and start_run(db, s, t.at)]
    touched = set()
    for foil in t.foils:
        if foil.cause in fresh:
            open_foil(db, foil)
            touched.add((foil.rule, foil.key))
    for o in t.observations:
        if o.event in fresh and o.id not in db.observations:
            db.put(db.observations, o.id, o)
            touched.add((o.rule, o.key))
    for rule, key in sorted(touched):
        settle_match(db, rule, key, t.at)
    if not t.park and not t.cases:
        resolve_cases_of_todo(db, t.todo, t.at)
    for case in t.cases:
        open_case(db, case, t.at, t.actor)
    if t.park:
        topic = t.wake_topic or ""
        posted = bool(topic) and any(p[0] == topic for p in db.posts)
        db.put(db.todos, t.todo, None if posted else topic)
    db.leaf("admitted", ":".join(t.todo), t.at, t.actor, wire.dumps(t.leaf_body(fresh)))
    return AdmitResult(
        applied=True,
        new_events=tuple(sorted(fresh)),
        born=tuple(born),
        woken=tuple(woken),
        older=tuple(older),
    )


def move_head(db: Tables, fact: Head) -> bool:
    key = (fact.object, fact.key)
    head, moves = merge_head(db.heads.get(key), fact)
    history = db.head_history.get(key, ())
    if not moves:
        history = (*history, fact)
    if head is not None:
        db.put(db.heads, key, head)
        history = (*history, head)
    db.put(db.head_history, key, history)
    return moves
