"""Intake: receipts stored, and todos turned into their consequences."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from counterfoil.core import wire
from counterfoil.core.canonical import Head, Receipt, compare_identity, searched_texts
from counterfoil.core.case_reasons import CONTRADICTIONS
from counterfoil.core.cases import case_topic
from counterfoil.core.clock import micros
from counterfoil.core.contradictions import (
    case_of_start,
    case_of_tie,
    clash_of_event,
    clash_of_receipt,
    tie_case_id,
)
from counterfoil.core.search_words import object_words
from counterfoil.store.port.heads import is_overtaken, merge_head
from counterfoil.store.port.intake import Admit, AdmitResult, Receive, ReceiveResult, ReceiveVerdict
from counterfoil.store.port.records import RunStart
from counterfoil.store.sql import match_locks, matches
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import HEADERS
from counterfoil.store.sql.reads import existing_receipts
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.search import add_variants
from counterfoil.store.sql.tables import RECEIPT, RECEIPT_BODY
from counterfoil.store.sql.transaction import Tx, link_topics
from counterfoil.store.sql.verbs.releases import by_present

EVENT_ROW = f"{t.EVENT.select} where id = $1"
FIRST_BODY = "select body from receipt_body where no = $1"
FIRST_ITEM = "select body from inbox where run = $1 and seq = 1"
LASTING = ", ".join(f"'{reason}'" for reason in CONTRADICTIONS)
SETTLE_TIE = """
update case_ set state = 'resolved', resolved_at = $2, resolved_by = $3, note = 'settled by a later fact'
where id = $1 and state = 'open'
"""
HEAD_ROW = f"{t.HEAD.select} where object = $1 and key = $2 for update"
# The deleting transaction has the todo; the result says whether a Case is open about it.
TAKE = """
delete from todo where kind = $1 and ref = $2 and not parked
returning exists (select 1 from case_ where case_.event = ref and case_.state = 'open')
"""
TAKE_RECEIPT = """
delete from todo where kind = $1 and ref = $2 and not parked
returning exists (select 1 from case_ where case_.receipt = cast(ref as bigint) and case_.state = 'open')
"""
MOVE_HEAD = """
update head set
  version = $3, state = $4, system = $5, effective_at = $6, recorded_at = $7, event = $8, entity = $9, versions = $10
where object = $1 and key = $2
"""

ATTEST = "select pg_logical_emit_message(true, 'counterfoil', '')"
"""A write, so that the commit waits for the replica. Without it a repeat would be acknowledged although the primary has
recovered the receipt from a crash and no replica has it yet."""


@sql(Receive)
async def receive(x: Tx, r: Receive) -> ReceiveResult:
    """Insert new receipts; the unique index on (system, ext_id) decides, also between processes."""
    rows = [RECEIPT.row(receipt) for receipt in r.receipts]
    inserted = await x.insert(RECEIPT, rows, ignore=True, returning="system, ext_id, no")
    new = {(system, ext_id): no for system, ext_id, no in inserted}
    names = {(receipt.system, receipt.ext_id) for receipt in r.receipts}
    existing = await existing_receipts(sorted(names - set(new)))
    numbers: list[int] = []
    repeats: dict[tuple[str, str], Receipt] = {}
    stored: list[tuple[int, Receipt]] = []
    verdicts: list[ReceiveVerdict] = []
    for receipt, clash in zip(r.receipts, r.clashes, strict=True):
        name = (receipt.system, receipt.ext_id)
        no = new.pop(name, None)
        if no is not None:
            existing[name] = (no, receipt.identity)
            stored.append((no, receipt))
            x.leaf("received", str(no), r.at, r.actor, _leaf_body(receipt))
            verdicts.append("new")
        else:
            no, identity = existing[name]
            how = compare_identity(identity, receipt.identity)
            if how == "clash":
                first = [other.body for n, other in stored if n == no]
                if not first:
                    first = [row[0] for row in await x.rows(FIRST_BODY, no)]
                await x.open_case(
                    clash_of_receipt(clash, no, first[0] if first else b"", receipt.body), r.at, r.actor
                )
            elif how == "changed":
                repeat = receipt.as_repeat()
                repeats[repeat.system, repeat.ext_id] = repeat
            verdicts.append("clash" if how == "clash" else "same")
        numbers.append(no)
    again = await x.insert(
        RECEIPT,
        [RECEIPT.row(repeat) for repeat in repeats.values()],
        ignore=True,
        returning="system, ext_id, no",
    )
    for system, ext_id, no in sorted(again, key=lambda row: int(row[2])):
        receipt = repeats[system, ext_id]
        stored.append((no, receipt))
        x.leaf("received", str(no), r.at, r.actor, _leaf_body(receipt))
    bodies = [(no, HEADERS.save(receipt.headers), receipt.body) for no, receipt in stored]
    todos = [("receipt", str(no), False, "") for no, receipt in stored if receipt.door != "fetch"]
    if "new" not in verdicts and x.dialect == "postgres":
        await x.rows(ATTEST)
    await x.insert(RECEIPT_BODY, bodies)
    await x.insert(t.TODO, todos)
    if r.cursor is not None:
        statement = """
        insert into feed_cursor (system, feed, value) values ($1, $2, $3)
        on conflict (system, feed) do update set value = excluded.value
        """
        await x.rows(statement, *r.cursor)
    return ReceiveResult(numbers=tuple(numbers), verdicts=tuple(verdicts))


def _leaf_body(receipt: Receipt) -> bytes:
    return wire.dumps(receipt.leaf_body)


@sql(Admit)
async def admit(x: Tx, a: Admit) -> AdmitResult:
    """One todo into its consequences. What exists already has none, so a second admission changes nothing."""
    if a.release and not await by_present(x, a.release):
        return AdmitResult(applied=False, outdated=True)
    if a.read_from is not None and await _is_overtaken(x, a, a.read_from):
        return AdmitResult(applied=False, overtaken=True)
    todo = await x.one(TAKE_RECEIPT if a.todo[0] == "receipt" else TAKE, *a.todo)
    if todo is None:
        return AdmitResult(applied=False)
    await _lock(x, a)
    new = await x.insert(t.EVENT, [t.EVENT.row(e) for e in a.events], ignore=True, returning="id")
    fresh = {row[0] for row in new}
    if a.todo[0] == "event":
        fresh |= {e.id for e in a.events}  # emitted events are kept already; this is their admission
    elif len(fresh) < len(a.events):
        if not a.listed:
            await _open_clashes(x, a, fresh)
        repeats = sorted({e.id for e in a.events} - fresh)
        await x.insert(t.EVENT_REPEAT, [(event, int(a.todo[1])) for event in repeats], ignore=True)
    older = [h for h in a.heads if h.event in fresh and not await _advance(x, h, a)]
    woken: list[str] = []
    for link in a.links:
        woken += await x.link(link, a.at)
    for post in a.posts:
        if post.event in fresh:
            woken += await x.post(post, a.at)
    born = [s.run for s in a.starts if s.stimulus.ref in fresh and await _start(x, s, a)]
    touched: set[tuple[str, str]] = set()
    for foil in a.foils:
        if foil.cause in fresh:
            touched |= await matches.put_foil(x, foil, a.at)
    for o in a.observations:
        if o.event in fresh:
            touched |= await matches.put_observation(x, o, a.at)
    for w in a.withdrawals:
        if w.cause in fresh or a.todo[0] == "event":
            touched |= await matches.withdraw(x, w, a.at)
    await matches.settle_matches(x, touched, a.at)
    await _withdraw_again(x, a, older)
    if todo[0] and not a.park and not a.cases:
        await _resolve_cases(x, a)
    counted = ""
    for case in a.cases:
        if a.park:
            counted = await x.hold_case(case, a.at, a.actor)
        else:
            await x.open_case(case, a.at, a.actor)
    if a.park:
        await _park(x, a, case_topic(counted) if counted else a.wake_topic or "")
    x.leaf("admitted", ":".join(a.todo), a.at, a.actor, wire.dumps(a.leaf_body(fresh, counted)))
    return AdmitResult(
        applied=True,
        new_events=tuple(sorted(fresh)),
        born=tuple(born),
        woken=tuple(woken),
        older=tuple(h.event for h in older),
    )


async def _withdraw_again(x: Tx, a: Admit, older: Sequence[Head]) -> None:
    """Have the newest events of objects read again, of which older events showed documents: one may withdraw these."""
    with_documents = {f.cause for f in a.foils} | {o.event for o in a.observations}
    for fact in older:
        if fact.event in with_documents:
            head = await x.one(HEAD_ROW, fact.object, fact.key)
            assert head is not None
            newest = await x.one(EVENT_ROW, t.HEAD.read(head).event)
            if newest is not None and (event := t.EVENT.read(newest)).receipt is not None:
                await x.insert(t.TODO, [("event", event.id, False, "")], ignore=True)


async def _lock(x: Tx, a: Admit) -> None:
    topics = [topic for post in a.posts for topic in post.topics] + link_topics(a.links)
    await x.lock_topics([*topics, a.wake_topic] if a.wake_topic else topics)
    touched = await match_locks.matches_of(x, a.foils, a.observations, a.withdrawals)
    await x.lock_matches(touched)
    await x.lock_runs({s.run for s in a.starts}, topics, touched)


async def _is_overtaken(x: Tx, a: Admit, read_from: datetime) -> bool:
    for fact in a.heads:
        row = await x.one(HEAD_ROW, fact.object, fact.key)
        if row is not None and is_overtaken(t.HEAD.read(row), fact, read_from):
            return True
    return False


async def _open_clashes(x: Tx, a: Admit, fresh: set[str]) -> None:
    """Open a Case for each event whose id exists with other content, in the store or earlier in this delivery."""
    passed: set[str] = set()
    for event in a.events:
        if event.id in fresh and event.id not in passed:
            passed.add(event.id)
            continue
        row = await x.one(EVENT_ROW, event.id)
        assert row is not None
        clash = clash_of_event(t.EVENT.read(row), event, a.owner_of(event.id), a.at)
        if clash is not None:
            await x.open_case(clash, a.at, a.actor)


async def _start(x: Tx, start: RunStart, a: Admit) -> bool:
    """Start a Run. An event that starts nothing, because the Run exists with other content, opens a Case."""
    if await x.start(start, a.at):
        return True
    if not start.only_birth:
        row = await x.one(FIRST_ITEM, start.run)
        event, owner = start.stimulus.ref, a.owner_of(start.stimulus.ref)
        began = None if row is None else row[0]
        case = case_of_start(start.new_run(0, a.at), event, start.stimulus.body, began, owner, a.at)
        if case is not None:
            await x.open_case(case, a.at, a.actor)
    return False


async def _advance(x: Tx, fact: Head, a: Admit) -> bool:
    """Merge a fact into its object's head; report whether the head moved. The history gets the fact and the new head."""
    existing = await x.one(HEAD_ROW, fact.object, fact.key)
    if existing is None:
        first = merge_head(None, fact).head
        assert first is not None
        if await x.insert(t.HEAD, [t.HEAD.row(first)], ignore=True, returning="key"):
            await x.insert(t.HEAD_HISTORY, [t.HEAD.row(first)])
            await _index(x, first, {})
            return True
        existing = await x.one(HEAD_ROW, fact.object, fact.key)  # another process was first
    assert existing is not None
    before = t.HEAD.read(existing)
    merge = merge_head(before, fact)
    rows = [] if merge.moves else [t.HEAD.row(fact)]
    if merge.head is not None:
        row = t.HEAD.row(merge.head)
        await x.rows(MOVE_HEAD, *row)
        rows.append(row)
        await _index(x, merge.head, before.state)
    await x.insert(t.HEAD_HISTORY, rows)
    if merge.tie:
        await x.open_case(case_of_tie(before.state, fact, a.owner_of(fact.event), a.at), a.at, a.actor)
    for version in sorted(merge.settled):
        case = tie_case_id(fact.object, fact.key, fact.system, version)
        await x.rows(SETTLE_TIE, case, micros(a.at), a.actor)
    return merge.moves


async def _index(x: Tx, head: Head, before: Mapping[str, Any]) -> None:
    """Keep the texts by which people search a head; most facts change none of them."""
    texts, former = searched_texts(head.state), searched_texts(before)
    if texts == former:
        return
    if former:
        await x.rows("delete from head_text where object = $1 and key = $2", head.object, head.key)
    await x.insert(t.HEAD_TEXT, [(head.object, head.key, *text) for text in sorted(texts.items())])
    words, former_words = object_words(head.state), object_words(before)
    if words == former_words:
        return
    if former_words:
        await x.rows("delete from head_word where object = $1 and key = $2", head.object, head.key)
    await x.insert(t.HEAD_WORD, [(head.object, head.key, word) for word in words])
    await add_variants(words)


async def _resolve_cases(x: Tx, a: Admit) -> None:
    kind, ref = a.todo
    about = "receipt = $1" if kind == "receipt" else "receipt is null and event = $1"
    statement = f"""
    update case_ set
      state = 'resolved', resolved_at = $2, resolved_by = 'admit', note = 'admitted later'
    where {about} and run is null and state = 'open' and reason not in ({LASTING}) returning id, count
    """
    resolved = await x.rows(statement, int(ref) if kind == "receipt" else ref, micros(a.at))
    for id_, count in resolved:
        if count > 1:
            await x.release_held(id_, retry=True)


async def _park(x: Tx, a: Admit, topic: str) -> None:
    """Set the todo aside; when its topic was posted meanwhile, it is due again at once."""
    posted = topic and await x.one("select 1 from post where topic = $1 limit 1", topic)
    await x.insert(t.TODO, [(*a.todo, False, "") if posted else (*a.todo, True, topic)])
