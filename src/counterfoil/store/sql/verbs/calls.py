"""A consumer's call: its key claimed once with all that follows, and its answer stored."""

from __future__ import annotations

from msgspec.structs import replace

from counterfoil.core.call import OperationCall, RateAllowance, take
from counterfoil.core.clock import micros
from counterfoil.store.port.calls import AnswerCall, PlaceCall, PlaceCallResult, verdict_on_key
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import HEADERS
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.tables import RECEIPT, RECEIPT_BODY
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.releases import by_present

EXISTING = f"{t.CALL.select} where consumer = $1 and operation = $2 and key = $3 for update"
TAKE_OVER = "update call set holder = $4, until = $5 where consumer = $1 and operation = $2 and key = $3"
STARTED = "update call set receipt = $4, run = $5 where consumer = $1 and operation = $2 and key = $3"
FORGET = "delete from call where consumer = $1 and operation = $2 and key = $3"
SPENT = "select spent from rate where consumer = $1 and operation = $2 for update"
SPEND = "update rate set spent = $3 where consumer = $1 and operation = $2"
ANSWER = """
update call set status = $5, headers = $6, body = $7, answered_at = $8
where consumer = $1 and operation = $2 and key = $3 and holder = $4 and status is null
returning receipt
"""
FREE = """
update call set until = $5 where consumer = $1 and operation = $2 and key = $3 and holder = $4 and status is null
returning receipt
"""


@sql(PlaceCall)
async def place_call(x: Tx, p: PlaceCall) -> PlaceCallResult:
    """Claim the key; the primary key decides which of several callers is first, also between processes."""
    name = (p.call.consumer, p.call.operation, p.call.key)
    call = await _existing(x, name)
    if call is not None:
        return await _existing_key(x, p, call)
    if p.release and not await by_present(x, p.release):
        return PlaceCallResult(verdict="outdated")
    left = await _take(x, p)
    if left is not None and left.wait:
        return PlaceCallResult(verdict="limited", left=left)
    if not await x.insert(t.CALL, [t.CALL.row(p.call)], ignore=True, returning="key"):
        call = await _existing(x, name)  # another process was first
        assert call is not None
        return await _existing_key(x, p, call)
    if p.start is not None and not await x.start(p.start, p.at):
        await x.rows(FORGET, *name)
        return PlaceCallResult(verdict="exists", left=left)
    call = replace(p.call, receipt=await _receipt(x, p))
    await x.rows(STARTED, *name, call.receipt, call.run)
    if p.event is not None:
        event = replace(p.event, receipt=call.receipt)
        await x.insert(t.EVENT, [t.EVENT.row(event)], ignore=True)
    body = p.leaf_body(call, "new")
    x.leaf("operation.called", str(call.receipt), p.at, p.actor, body, run=call.run)
    return PlaceCallResult(verdict="new", call=call, left=left)


async def _existing(x: Tx, name: tuple[str, str, str]) -> OperationCall | None:
    row = await x.one(EXISTING, *name)
    return None if row is None else t.CALL.read(row)


async def _existing_key(x: Tx, p: PlaceCall, call: OperationCall) -> PlaceCallResult:
    verdict = verdict_on_key(call, p)
    if verdict == "taken":
        call = p.take_over(call)
        await x.rows(TAKE_OVER, call.consumer, call.operation, call.key, call.holder, micros(call.until))
        body = p.leaf_body(call, "taken")
        x.leaf("operation.called", str(call.receipt), p.at, p.actor, body, run=call.run)
    return PlaceCallResult(verdict=verdict, call=call)


async def _take(x: Tx, p: PlaceCall) -> RateAllowance | None:
    """Take one call from the rate. Its row is locked first, so that calls of one consumer follow each other."""
    if p.rate is None:
        return None
    about = (p.call.consumer, p.call.operation)
    await x.insert(t.RATE, [(*about, 0)], ignore=True)
    row = await x.one(SPENT, *about)
    assert row is not None
    spent, left, may = take(p.rate, int(row[0]), p.at)
    if may:
        await x.rows(SPEND, *about, spent)
    return left


async def _receipt(x: Tx, p: PlaceCall) -> int:
    rows = await x.insert(RECEIPT, [RECEIPT.row(p.receipt)], returning="no")
    no = int(rows[0][0])
    await x.insert(RECEIPT_BODY, [(no, HEADERS.save(p.receipt.headers), p.receipt.body)])
    return no


@sql(AnswerCall)
async def answer_call(x: Tx, a: AnswerCall) -> bool:
    """Store the answer. A caller whose call was taken over writes nothing."""
    name = (a.consumer, a.operation, a.key, a.holder)
    if a.status is None:
        row = await x.one(FREE, *name, micros(a.at))
    else:
        row = await x.one(ANSWER, *name, a.status, HEADERS.save(a.headers), a.body, micros(a.at))
    if row is None:
        return False
    for case in a.cases:
        await x.open_case(replace(case, receipt=row[0]), a.at, a.actor)
    kind = "operation.freed" if a.status is None else "operation.answered"
    x.leaf(kind, str(row[0]), a.at, a.actor, a.leaf_body(row[0]))
    return True
