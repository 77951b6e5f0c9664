"""Specification of consumers' calls."""

from __future__ import annotations

from msgspec.structs import replace

from counterfoil.core.call import take
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import start_run
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.calls import AnswerCall, PlaceCall, PlaceCallResult, verdict_on_key


@memory(PlaceCall)
def place_call(db: Tables, t: PlaceCall) -> PlaceCallResult:
    name = (t.call.consumer, t.call.operation, t.call.key)
    call = db.calls.get(name)
    if call is not None:
        verdict = verdict_on_key(call, t)
        if verdict == "taken":
            call = t.take_over(call)
            db.put(db.calls, name, call)
            body = t.leaf_body(call, "taken")
            db.leaf("operation.called", str(call.receipt), t.at, t.actor, body, run=call.run)
        return PlaceCallResult(verdict=verdict, call=call)
    if t.release and db.present_release.get("present", t.release) != t.release:
        return PlaceCallResult(verdict="outdated")
    left = None
    if t.rate is not None:
        spent, left, may = take(t.rate, db.rates.get(name[:2], 0), t.at)
        if not may:
            return PlaceCallResult(verdict="limited", left=left)
        db.put(db.rates, name[:2], spent)
    if t.start is not None and not start_run(db, t.start, t.at):
        return PlaceCallResult(verdict="exists", left=left)
    no = len(db.receipts) + 1
    db.put(db.receipt_ids, (t.receipt.system, t.receipt.ext_id), no)
    db.put(db.receipts, no, replace(t.receipt, no=no))
    call = replace(t.call, receipt=no)
    db.put(db.calls, name, call)
    if t.event is not None and t.event.id not in db.events:
        db.put(db.events, t.event.id, replace(t.event, receipt=no))
    body = t.leaf_body(call, "new")
    db.leaf("operation.called", str(no), t.at, t.actor, body, run=call.run)
    return PlaceCallResult(verdict="new", call=call, left=left)


@memory(AnswerCall)
def answer_call(db: Tables, t: AnswerCall) -> bool:
    name = (t.consumer, t.operation, t.key)
    call = db.calls.get(name)
    if call is None or call.holder != t.holder or call.status is not None:
        return False
    if t.status is None:
        after = replace(call, until=t.at)
    else:
        after = replace(call, status=t.status, headers=t.headers, body=t.body, answered_at=t.at)
    db.put(db.calls, name, after)
    for case in t.cases:
        open_case(db, replace(case, receipt=call.receipt), t.at, t.actor)
    kind = "operation.freed" if t.status is None else "operation.answered"
    db.leaf(kind, str(call.receipt), t.at, t.actor, t.leaf_body(call.receipt))
    return True
