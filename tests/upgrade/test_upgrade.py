"""A store that a former commit left in the middle of its work is opened and finished by the present code.

Each `*.sql` in this folder is such a store as text, written by `write_store.py` on the commit in its name. A new dump
needs no change here: it is two more files.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests import postgres as real_postgres
from tests.upgrade import dumps, engine
from tests.upgrade.process import Clock, Process
from tests.upgrade.systems import Systems

FOLDER = Path(__file__).parent
DUMPS = sorted(FOLDER.glob("*.sql"))
every_dump = pytest.mark.parametrize("file", DUMPS, ids=[file.stem for file in DUMPS])
SQLITE_DUMPS = [file for file in DUMPS if file.stem.endswith(".sqlite")]
every_sqlite_dump = pytest.mark.parametrize("file", SQLITE_DUMPS, ids=[file.stem for file in SQLITE_DUMPS])
"""For what does not depend on the store, because it is faster."""

SITUATIONS = {
    "a done Run": "select count(*) from run where status = 'done'",
    "an undone Run": "select count(*) from run where status = 'undone'",
    "a closed Run": "select count(*) from run where status = 'closed'",
    "a Run with a timer": "select count(*) from run where status = 'waiting' and workflow = 'notice' and due is not null",
    "a Run that starts in a month": (
        "select count(*) from run where workflow = 'renewal' and state = 'started' "
        "and due > created_at + 20 * 86400000000"
    ),
    "a Run that waits for an event": "select count(*) from wait",
    "a Run that waits for a serial": "select count(*) from serial_wait",
    "a Run with an unread inbox": "select count(*) from run where inbox_n > consumed and due is not null",
    "a waiting Run of a former Release": (
        "select count(*) from run where status = 'waiting' and pin <> (select digest from present_release)"
    ),
    "an open approval with one vote of two": (
        "select count(*) from approval a join run r on r.id = a.run where a.state = 'open' and a.quorum = 2 "
        "and (select count(*) from vote v where v.approval = a.id) = 1"
    ),
    "an open approval without a vote": (
        "select count(*) from approval a where a.state = 'open' and a.quorum = 1 "
        "and not exists (select 1 from vote v where v.approval = a.id)"
    ),
    "a granted approval in an unread inbox": (
        "select count(*) from inbox i join run r on r.id = i.run where i.kind = 'approval' and i.seq > r.consumed"
    ),
    "a confirmed effect under a person's approval": (
        "select count(*) from effect e join approval a on a.run = e.run join vote v on v.approval = a.id "
        "where e.state = 'confirmed' and a.state = 'granted' and v.approve"
    ),
    "a rejected approval": "select count(*) from approval where state = 'rejected'",
    **{
        f"an effect: {state}": f"select count(*) from effect where state = '{state}'"
        for state in ("planned", "sending", "unknown", "accepted", "confirmed", "refused", "absent")
    },
    **{
        f"an unknown effect of repeat {repeat}": (
            f"select count(*) from effect where state = 'unknown' and repeat = '{repeat}'"
        )
        for repeat in ("key", "unique", "find", "blind")
    },
    "a second generation": "select count(*) from effect where gen = 1",
    "an undo": "select count(*) from effect where undoes is not null",
    **{
        f"a foil: {state}": f"select count(*) from foil where state = '{state}'"
        for state in ("provisional", "open", "matched", "broken")
    },
    "an observation": "select count(*) from observation",
    "an allocation": "select count(*) from allocation",
    "an open Case of a Run, with choices": (
        "select count(*) from case_ where state = 'open' and reason = 'invalid' and choices like '%undo%'"
    ),
    "an open Case about a call with unknown result": (
        "select count(*) from case_ where state = 'open' and reason = 'unknown' and effect is not null"
    ),
    "an open Case about a broken foil": "select count(*) from case_ where state = 'open' and foil is not null",
    "an open Case about a clash": "select count(*) from case_ where state = 'open' and reason = 'clash'",
    "a resolved Case": "select count(*) from case_ where state = 'resolved'",
    "a delivery to admit": "select count(*) from todo where not parked",
    "a delivery parked for a Case": "select count(*) from todo where parked and wake_topic = ''",
    "a delivery parked for a Link": "select count(*) from todo where parked and wake_topic <> ''",
    **{
        f"a receipt by {door}": f"select count(*) from receipt where door = '{door}'"
        for door in ("webhook", "poll", "fetch", "operation")
    },
    "a feed's cursor": "select count(*) from feed_cursor",
    "a head with a history": "select count(*) from (select 1 from head_history group by object, key having count(*) > 1) h",
    "a Link": "select count(*) from link",
    "a guard in use": "select count(*) from guard where used > 1 and most is not null",
    "a live reservation": "select count(*) from reservation where live",
    "a released reservation": "select count(*) from reservation where not live",
    "a held serial": "select count(*) from hold",
    "usage": "select count(*) from usage_event",
    "refused usage": "select count(*) from usage_quarantine",
    "a call with its answer": "select count(*) from call where status is not null",
    "a call without an answer": "select count(*) from call where status is null",
    "a consumer's rate": "select count(*) from rate",
    "a use of a deprecated version": "select count(*) from version_use",
    "an applied plan": "select count(*) from plan where state = 'applied'",
    "a plan with one vote of two": (
        "select count(*) from plan p join approval a on a.run = p.digest where p.state = 'open' "
        "and a.state = 'open' and a.quorum = 2 and (select count(*) from vote v where v.approval = a.id) = 1"
    ),
    "a second Release": "select count(*) from release_step where no = 2",
    "a person": "select count(*) from person",
    "a token": "select count(*) from token where kind = 'token'",
    "a session": "select count(*) from token where kind = 'session'",
    "a sealed leaf": "select count(*) from tree",
    "a pending leaf": "select count(*) from pending",
    "a checkpoint": "select count(*) from checkpoint",
    "a worker": "select count(*) from worker",
    "a quota in use": "select count(*) from quota where n > 0",
    "a finding of the progress scan": "select count(*) from stuck",
}
"""Situations that a dump must contain, with a query that counts them. Plain SQL: the present code takes no part."""

FIRST, SECOND, THIRD = 1, 2, 3
ENDS = {
    ("credit", "CR-DONE"): ("done", "told", FIRST),
    ("credit", "CR-OLD"): ("done", "told", FIRST),
    ("credit", "CR-SHORT"): ("done", "told", FIRST),
    ("credit", "CR-MAIL"): ("done", "told", FIRST),
    ("credit", "CR-NO"): ("done", "rejected", FIRST),
    ("credit", "CR-CLOSED"): ("closed", "closed", FIRST),
    ("credit", "CR-CASE"): ("done", "told", FIRST),
    ("credit", "CR-BACK"): ("undone", "undone", FIRST),
    ("credit", "CR-VOTE"): ("done", "told", FIRST),
    ("order", "OR-SHIP"): ("done", "booked", FIRST),
    ("order", "OR-BACK"): ("undone", "undone", FIRST),
    ("renewal", "CT-NOW"): ("done", "renewed", FIRST),
    ("renewal", "CT-LATER"): ("done", "renewed", FIRST),
    ("payment", "PAY-DONE"): ("done", "taken", FIRST),
    ("payment", "PAY-OPEN"): ("done", "taken", SECOND),
    ("credit", "CR-NEW"): ("done", "told", SECOND),
    ("credit", "CR-ANSWER-LOST"): ("done", "told", SECOND),
    ("credit", "CR-REQUEST-LOST"): ("done", "told", SECOND),
    ("credit", "CR-QUEUE"): ("done", "told", SECOND),
    ("credit", "CR-HANG-DONE"): ("done", "told", SECOND),
    ("credit", "CR-HANG-LOST"): ("done", "told", SECOND),
    ("credit", "CR-PLAN-1"): ("done", "told", SECOND),
    ("credit", "CR-PLAN-2"): ("done", "told", SECOND),
    ("credit", "CR-TODO"): ("done", "told", SECOND),
    ("order", "OR-JOB"): ("done", "booked", SECOND),
    ("dropped", "OR-JOB"): ("done", "told", SECOND),
    ("dropped", "OR-SHIP"): ("done", "told", SECOND),
    ("notice", "NO-TIMER"): ("done", "told", SECOND),
    ("notice", "NO-ABSENT"): ("done", "told", SECOND),
    ("notice", "NO-LOST"): ("done", "told", SECOND),
    ("complaint", "CO-DONE"): ("done", "answered", SECOND),
    ("complaint", "CO-WAITS"): ("done", "answered", THIRD),
    ("survey", "SU-1"): ("done", "thanked", THIRD),
    ("credit", "CR-AFTER"): ("done", "told", THIRD),
}
"""Expected end of each Run: status, business state, number of its Release."""
DOCUMENTS_SEEN = ("CR-DONE", "CR-MAIL", "CR-SHORT")
"""Ledger documents whose webhook the former process has admitted."""
TOKEN = hashlib.sha256(b"token of pat, valid nowhere").hexdigest()

PRESENT_RELEASE = "select digest from present_release"
OTHER_RELEASE = f"select body from release where digest <> ({PRESENT_RELEASE})"
VIOLATIONS = [
    ("delete from leaf where id = (select leaf from tree where idx = 5)", "12: the tree of"),
    ("update leaf set actor = 'x' where id = (select leaf from tree where idx = 5)", "not the signed one"),
    ("update guard set used = used + 1 where used > 1", "8: guard"),
    (
        "update run set status = 'done' where id = (select run from effect where state = 'sending' limit 1)",
        "10:",
    ),
    (
        "update run set status = 'done' where id = (select run from effect where state = 'unknown' limit 1)",
        "10:",
    ),
    ("update approval set state = 'open' where id in (select approval from vote where approve)", "9:"),
    ("update release_step set base = 'x' where no = 2", "9: step 2"),
    ("delete from todo where kind = 'receipt' and not parked", "led to nothing"),
    ("delete from usage_event where id = 'u-1'", "4: usage"),
    (
        "delete from inbox where seq = 1 and run = (select run from effect where state = 'unknown' limit 1)",
        "5:",
    ),
    (f"update release set body = ({OTHER_RELEASE}) where digest = ({PRESENT_RELEASE})", "has the digest"),
]
"""A statement that damages the loaded rows, and a part of the message that must report it."""

Execute = Callable[[str], Awaitable[Any]]
_TEMPLATES: dict[tuple[int, Path], str] = {}
"""Databases with a dump in them, by the port of their server. Each test works on a copy."""


@dataclass(frozen=True)
class StoreCopy:
    """A dump, loaded into a store of its own. The engine has not opened it yet."""

    address: str
    systems: Systems
    execute: Execute
    """Executes a statement beside the engine. Returns the first value of the first row."""


@pytest.fixture
async def copy(file: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[StoreCopy]:
    systems = Systems.from_json(file.with_suffix(".systems.json").read_text())
    if file.stem.endswith(".sqlite"):
        yield _sqlite_copy(file, tmp_path / "store.db", systems)
        return
    cluster = request.getfixturevalue("postgres")
    name = await _postgres_copy(file, cluster)
    dsn = cluster.dsn(name)

    async def execute(statement: str) -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    yield StoreCopy(dsn, systems, execute)
    await cluster.drop(name)


def _sqlite_copy(file: Path, to: Path, systems: Systems) -> StoreCopy:
    dumps.load_sqlite(file.read_text(), to)

    async def execute(statement: str) -> Any:
        with contextlib.closing(sqlite3.connect(to)) as connection:
            row = connection.execute(statement).fetchone()
            connection.commit()
            return None if row is None else row[0]

    return StoreCopy(f"sqlite:{to}", systems, execute)


async def _postgres_copy(file: Path, cluster: real_postgres.Cluster) -> str:
    key = (cluster.port, file)
    if key not in _TEMPLATES:
        _TEMPLATES[key] = await cluster.create("template0")
        await dumps.load_postgres(file.read_text(), cluster.dsn(_TEMPLATES[key]))
    return await cluster.create(_TEMPLATES[key])


@contextlib.asynccontextmanager
async def open_copy(copy: StoreCopy) -> AsyncIterator[tuple[Process, Any]]:
    """Open the store one minute after its process was killed. Yields a successor process and all rows."""
    store = await engine.open_store(copy.address)
    try:
        before = await store.dump()
        _, body = await store.release()
        clock = Clock(max(leaf.at for _, leaf in before.leaves) + timedelta(minutes=1))
        process = Process(store, engine.Model.from_json(body), copy.systems, clock, "upgrade/2")
        await process.parts.worker._rebuild()  # as every process does before its first work
        try:
            yield process, before
        finally:
            await process.kill()
    finally:
        await store.close()


# ------------------------------------------------------------------ the rest of the work


async def finish_all_work(process: Process) -> None:
    """Do everything that the former process, persons and systems still have to do."""
    await process.start()
    await process.settle()
    await process.advance(minutes=2)  # past the horizon of every call in flight: a look-up may say "absent"
    await decide_open_questions(process)
    await process.settle()
    await apply_open_plan(process)
    await process.deliver("desk", "customer.linked", "d-unknown", account="cu-1")
    await process.request_credit("CR-AFTER", 6_500)
    await process.settle()
    process.systems.finish_job("OR-JOB")
    for document in [name for name in process.systems.documents if name not in DOCUMENTS_SEEN]:
        await process.report_document(document)
    await process.settle()
    assert (await process.call_operation("PAY-OPEN", 50_000)).reply.status == 200
    assert (await process.call_operation("PAY-DONE", 5_000)).repeated
    await process.advance(hours=3)
    await process.advance(days=31)
    assert await process.vote("CT-LATER", "lea") == "granted"
    await process.settle()
    await engine.run_once(process.parts, "scan")
    await process.settle("seal")


async def decide_open_questions(process: Process) -> None:
    for business_key, person in (("CR-VOTE", "flo"), ("PAY-OPEN", "fay"), ("OR-SHIP", "lea")):
        assert await process.vote(business_key, person) == "granted"
    for name, choice in (
        ("CR-CASE", "retry"),
        ("CR-BACK", "undo"),
        ("CR-MAIL", "continue"),
        ("credit.requested:CR-DONE", "dismiss"),
        ("usage that was sent", "dismiss"),
    ):
        assert await process.resolve(name, choice) == "resolved"
    # One person alone accepts no difference any more.
    assert await process.resolve("CR-SHORT", "waive") == "requested"
    (approval,) = [
        a for a in (await process.store.dump()).approvals if a.state == "open" and a.path == "waive"
    ]
    assert (
        await process.app.decide_approval(approval.id, approval.subject, "flo", True, "agreed") == "granted"
    )


async def apply_open_plan(process: Process) -> None:
    """Give the second vote, apply the plan, and retry the delivery that has a mapping only now."""
    dump = await process.store.dump()
    (plan,) = [plan for plan in dump.plans if plan.state == "open"]
    (approval,) = [a for a in dump.approvals if a.run == plan.digest and a.state == "open"]
    verdict = await process.app.decide_approval(approval.id, approval.subject, "flo", True, "agreed")
    assert verdict == "granted"
    release = await process.app.changes.applier.apply(plan.digest, "arc", "surveys")
    assert (release.no, release.digest) == (THIRD, plan.revision)
    assert process.model.digest == plan.revision
    assert await process.resolve("survey.taken:SU-1", "retry") == "resolved"


# ------------------------------------------------------------------ violations


async def violations_after_open(process: Process, before: Any) -> list[str]:
    """Return what the checker reports, and each stored model that reads or encodes differently."""
    violations = await engine.check(process.store, process.clock.now, process.model)
    models = [(step.digest, (await process.store.release(step.digest))[1]) for step in before.releases]
    models += [(plan.revision, await process.store.plan_model(plan.digest)) for plan in before.plans]
    for digest, body in models:
        model = engine.Model.from_json(body)
        if model.digest != digest:
            violations.append(f"the model of {digest} has the digest {model.digest}")
        if model.to_json() != body:
            violations.append(f"the model of {digest} is encoded in other bytes")
    return violations


async def violations_at_end(process: Process, before: Any) -> list[str]:
    """Return what the checker reports, wrong ends of Runs, unfinished work, double sends and changed history."""
    after = await process.store.dump()
    violations = await engine.check(process.store, process.clock.now, process.model)
    numbers = {step.digest: step.no for step in after.releases}
    ends = {(run.workflow, run.bkey): (str(run.status), run.state, numbers[run.pin]) for run in after.runs}
    for name in sorted(ENDS.keys() | ends.keys()):
        if ends.get(name) != ENDS.get(name):
            violations.append(f"{' '.join(name)} ended as {ends.get(name)}, expected {ENDS.get(name)}")
    violations += [
        f"Case {case.reason} is open: {case.message}" for case in after.cases if case.state == "open"
    ]
    violations += [f"{kind} {ref} is not admitted" for kind, ref, _ in after.todos]
    return [*violations, *_double_sends(process.systems, after), *_changed_history(before, after)]


def _double_sends(systems: Systems, after: Any) -> Iterator[str]:
    """Compare the effects with what the systems received from both processes: one request per attempt, one result."""
    effects = {effect.id: effect for effect in after.effects}
    done_by_step: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for key in sorted(systems.calls.keys() - effects.keys()):
        yield f"{key} was sent and is no effect: {systems.requests[key]}"
    for key, effect in effects.items():
        requests, results = systems.calls[key], len(systems.results.get(key, ()))
        if requests != effect.attempt:
            yield f"{key} was sent {requests} times in {effect.attempt} attempts"
        if requests > 1 and effect.repeat in ("find", "blind"):
            yield f"{key} was sent {requests} times to a system that does not deduplicate"
        if results > 1:
            yield f"{key} was done {results} times: {systems.requests[key]}"
        if (results > 0) != (effect.state == "confirmed"):
            yield f"{key} is {effect.state} and was done {results} times"
        if results:
            done_by_step[effect.run, effect.path, effect.item].append(key)
    for step, keys in done_by_step.items():
        if len(keys) > 1:
            yield f"{' '.join(step)} was done as {' and as '.join(keys)}"


def _changed_history(before: Any, after: Any) -> Iterator[str]:
    """Compare what never changes: sealed leaves keep their index, pending leaves get one, receipts and events stay."""
    places = {leaf.id: (index, leaf) for index, leaf in after.leaves}
    for index, leaf in before.leaves:
        place, same = places.get(leaf.id, (None, None))
        if place is None or same != leaf:
            yield f"leaf {leaf.id} of {leaf.subject} was changed or is not in the tree"
        elif index is not None and place != index:
            yield f"leaf {leaf.id} moved from index {index} to {place}"
    for kind in ("receipts", "events", "votes", "releases", "usage", "quarantine"):
        rows = getattr(after, kind)
        for row in getattr(before, kind):
            if row not in rows:
                yield f"a row of {kind} was changed: {row}"


# ------------------------------------------------------------------ tests


def test_both_stores_have_a_dump() -> None:
    assert {file.stem.partition(".")[2] for file in DUMPS} == {"sqlite", "postgres"}
    assert all(file.stat().st_size < dumps.MOST_BYTES for file in DUMPS)


@every_dump
async def test_dump_contains_every_situation(copy: StoreCopy) -> None:
    counts = {name: await copy.execute(query) for name, query in SITUATIONS.items()}
    assert [name for name, count in counts.items() if not count] == []


@every_dump
async def test_former_store_opens_without_violations(copy: StoreCopy) -> None:
    async with open_copy(copy) as (process, before):
        assert await violations_after_open(process, before) == []
        person = await process.store.token(TOKEN, process.clock.now)
        assert person is not None
        assert person.id == "pat"


@every_dump
async def test_former_store_is_finished(copy: StoreCopy) -> None:
    async with open_copy(copy) as (process, before):
        root = await process.store.checkpoint()
        await finish_all_work(process)
        assert await violations_at_end(process, before) == []
        assert await process.store.checkpoint(root.size) == root
        answers = {call.key: call for call in (await process.store.dump()).calls}
        assert {call.status for call in answers.values()} == {200}
        for call in before.calls:
            assert call.status is None or call == answers[call.key]


@every_sqlite_dump
@pytest.mark.parametrize(("statement", "message"), VIOLATIONS)
async def test_damaged_rows_are_reported(copy: StoreCopy, statement: str, message: str) -> None:
    await copy.execute(statement)
    async with open_copy(copy) as (process, before):
        violations = await violations_after_open(process, before)
        assert [text for text in violations if message in text], violations


@every_dump
async def test_unknown_call_that_goes_out_again_is_reported(copy: StoreCopy) -> None:
    await copy.execute(
        "update effect set state = 'planned', look_at = null where state = 'unknown' and repeat = 'blind'"
    )
    async with open_copy(copy) as (process, before):
        await process.start()
        await process.settle()
        violations = await violations_at_end(process, before)
        assert [text for text in violations if "was done 2 times" in text], violations
        assert [text for text in violations if "does not deduplicate" in text], violations


@every_dump
async def test_leaf_that_changes_after_the_upgrade_is_reported(copy: StoreCopy) -> None:
    async with open_copy(copy) as (process, before):
        await process.settle("seal")
    await copy.execute("update leaf set actor = 'x' where id = (select max(leaf) from tree)")
    async with open_copy(copy) as (process, _):
        violations = await violations_at_end(process, before)
        assert [text for text in violations if "was changed or is not in the tree" in text], violations
