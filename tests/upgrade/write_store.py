"""Write the stores that the upgrade test opens: a small company with work in every state, stopped abruptly.

Run it on the commit whose stores are wanted, in a worktree of that commit, with this folder copied into its `tests`:

    git worktree add /tmp/former COMMIT
    cp -r tests/upgrade /tmp/former/tests/
    cd /tmp/former
    PYTHONHASHSEED=0 PYTHONPATH=src:. python -m tests.upgrade.write_store COMMIT tests/upgrade

COMMIT is seven digits of its hash. The script writes COMMIT.sqlite.sql and COMMIT.postgres.sql, and beside each the
state of the outside systems (COMMIT.sqlite.systems.json). Copy these four files back and commit them. Never write the
files of a commit again after that, except to show that this script reproduces them.

The clock is scripted, random ids come from a seed, and the store executes one request at a time. A second run
therefore gives the same text. PostgreSQL and its pg_dump are found as for all tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
import os
import random
import secrets
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from tests import postgres
from tests.upgrade import dumps, engine
from tests.upgrade.process import Clock, Process
from tests.upgrade.systems import Systems

COMPANY = Path(__file__).parent / "company"
BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
BEGIN_MICROSECONDS = int(BEGIN.timestamp()) * 1_000_000
PERSONS = {
    "ann": ("agent",),
    "lea": ("lead",),
    "fay": ("finance",),
    "flo": ("finance",),
    "pat": ("portal",),
    "arc": ("architect",),
}
REQUESTER = "arc"
"""Person who plans and applies changes."""
SECOND_LIMIT = ("at_most: 5000", "at_most: 6000")
"""The change of the second Release, which is applied."""
THIRD_LIMIT = ("at_most: 6000", "at_most: 7000")
THIRD_FILE = """
{kind: event, name: survey.taken.v1, data: {survey_id: id}}
---
kind: mapping
name: desk-survey
from: {system: desk, type: survey.taken}
emit: {type: survey.taken.v1, key: body.id, version: body.version, data: {survey_id: =body.id}}
---
kind: workflow
name: survey
owner: lead
failure: careful
start: {event: survey.taken.v1, key: event.data.survey_id}
serial: {key: event.data.survey_id, hold: effects}
steps:
  - call: mail.notice.send
    with: {text: "='survey ' + event.data.survey_id"}
    outcomes: {unknown: park, refused: park}
    becomes: thanked
"""
"""With THIRD_LIMIT the change of the third Release, whose plan has one vote of two."""


def company_model(*changes: tuple[str, str], more: str = "") -> Any:
    """Return the company's model with texts replaced and one file added, as a client would send it."""
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(COMPANY.glob("*.yaml")):
            text = file.read_text()
            for before, after in changes:
                text = text.replace(before, after)
            (Path(folder) / file.name).write_text(text)
        if more:
            (Path(folder) / "more.yaml").write_text(more)
        model, findings = engine.read_model(Path(folder))
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    assert not errors, errors
    return engine.Model.from_json(model.to_json())  # drops the paths of the temporary files


class OneRequestAtATime:
    """Store whose requests are executed in the order of the calls."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._lock = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def locked(*args: Any, **more: Any) -> Any:
            async with self._lock:
                return await attribute(*args, **more)

        return locked


# ------------------------------------------------------------------ content


async def fill(store: Any) -> Systems:
    """Write everything into an empty store. Return the state of the outside systems at the end."""
    systems = Systems()
    process = Process(OneRequestAtATime(store), company_model(), systems, Clock(BEGIN), "upgrade/1")
    await process.start()
    await add_persons(process)
    await add_objects(process)
    await run_first_release(process)
    await change_releases(process)
    await run_second_release(process)
    await leave_unknown_effects(process)
    await process.settle("seal")
    await process.parts.worker.uses.flush()
    await engine.run_once(process.parts, "scan")
    await leave_work_in_progress(process)
    await process.kill()
    return systems


async def add_persons(process: Process) -> None:
    now = process.clock.now
    for id_, roles in PERSONS.items():
        person = engine.Person(id=id_, name=id_.title(), email=f"{id_}@upgrade.example", roles=roles)
        await process.store.apply(engine.PutPerson(person=person, at=now, actor="people file"))
    for id_, kind, days in (("pat", "token", 3650), ("fay", "session", 30)):
        digest = hashlib.sha256(f"{kind} of {id_}, valid nowhere".encode()).hexdigest()
        token = engine.Token(digest=digest, person=id_, kind=kind, expires=now + timedelta(days=days))
        await process.store.apply(engine.PutToken(token=token, at=now))


async def add_objects(process: Process) -> None:
    """Fill a feed's cursor, heads with history and Links; park a delivery without a mapping until its Case is overdue."""
    await engine.poll_feed(process.store, process.parts.releases, process.app.connectors, "desk", "all")
    await process.deliver("bills", "customer.changed", "cu-1", name="Initech")
    await process.settle()
    await process.deliver("bills", "customer.changed", "cu-1", 2, name="Initech Software")
    await process.deliver("bills", "invoice.changed", "inv-1")
    await process.deliver("desk", "customer.linked", "d-1", account="cu-1")
    await process.deliver("desk", "survey.taken", "SU-1")
    await process.settle()
    await process.advance(hours=25)


async def run_first_release(process: Process) -> None:
    """Leave Runs of the first Release: done, undone, closed, rejected, with Cases, and waiting for a foil, a vote, a date."""
    script = process.systems.script
    for id_, cents in (("CR-DONE", 5_000), ("CR-OLD", 80_000), ("CR-SHORT", 7_000), ("CR-MAIL", 4_000)):
        await process.request_credit(id_, cents)
    await process.settle()
    assert await process.vote("CR-OLD", "lea") == "granted"
    await process.report_document("CR-DONE")
    await process.report_document("CR-SHORT", 6_999)
    script["stock.item.reserve", "second"] = ["refused"]
    await process.place_order("OR-SHIP", 30_000, "chair", "table")
    await process.place_order("OR-BACK", 6_000, "lamp", "second")
    script["bills.credit.issue", "CR-CLOSED"] = ["invalid"]
    script["bills.credit.issue", "CR-CASE"] = ["invalid"]
    script["ledger.document.post", "CR-BACK"] = ["invalid"]
    for id_, cents in (("CR-CLOSED", 3_000), ("CR-CASE", 3_100), ("CR-BACK", 3_200)):
        await process.request_credit(id_, cents)
    await process.request_credit("CR-NO", 50_000)
    await process.request_credit("CR-VOTE", 200_000)
    await process.settle()
    assert await process.vote("CR-NO", "lea", approve=False) == "rejected"
    assert await process.vote("CR-VOTE", "fay") == "counted"
    assert await process.resolve("CR-CLOSED", "close") == "resolved"
    await process.settle()
    for id_, days in (("CT-LATER", 30), ("CT-NOW", 0)):
        ends_at = (process.clock.now + timedelta(days=days)).isoformat()
        await process.deliver("desk", "contract.changed", id_, ends_at=ends_at, seats=5, cents=90_000)
    await process.settle()
    call = asyncio.create_task(process.call_operation("PAY-DONE", 5_000))
    while not call.done():
        await asyncio.sleep(0.01)
        await process.settle()
    assert (await call).reply.status == 200


async def change_releases(process: Process) -> None:
    """Apply one plan, and leave another with one vote of two."""
    planner, applier = process.app.changes.planner, process.app.changes.applier
    second = await planner.plan(company_model(SECOND_LIMIT), REQUESTER, 0)
    await _vote_on_plan(process, second.digest, "fay", "flo")
    await applier.apply(second.digest, REQUESTER, "a higher limit")
    third = await planner.plan(company_model(SECOND_LIMIT, THIRD_LIMIT, more=THIRD_FILE), REQUESTER, 0)
    await _vote_on_plan(process, third.digest, "fay", "lea")


async def _vote_on_plan(process: Process, digest: str, *persons: str) -> None:
    for approval in (await process.store.dump()).approvals:
        for person in persons if approval.run == digest else ():
            await process.app.decide_approval(approval.id, approval.subject, person, True, "agreed")


async def run_second_release(process: Process) -> None:
    """Leave a timer, a parked delivery, an accepted job, a clash, usage, a second generation, and a Case about a call."""
    script = process.systems.script
    await process.request_credit("CR-NEW", 9_000)
    await process.deliver("desk", "complaint.made", "CO-WAITS", customer="d-unknown")
    await process.deliver("desk", "complaint.made", "CO-DONE", customer="d-1")
    await process.deliver("desk", "notice.asked", "NO-TIMER", item="desk")
    script["stock.item.reserve", "rare"] = ["request_lost"]
    await process.deliver("desk", "notice.asked", "NO-ABSENT", item="rare")
    await process.request_credit("CR-DONE", 5_001)  # the same delivery id with another content
    await process.settle()
    script["ledger.job.post", "OR-JOB"] = ["job"]
    await process.place_order("OR-JOB", 2_000, "shelf")
    await process.settle()
    await process.deliver("desk", "order.shipped", "OR-JOB")
    await process.settle()
    await send_usage(process)
    script["mail.notice.send", "credit CR-MAIL"] = ["answer_lost"]
    await process.report_document("CR-MAIL")
    await process.settle()
    await process.advance(seconds=45)  # past the horizons of NO-ABSENT and CR-MAIL


async def send_usage(process: Process) -> None:
    meters = ("api_calls", "seats", "api_calls", "no_such_meter")
    events = [
        {
            "specversion": "1.0",
            "type": "usage.recorded.v1",
            "source": "/bills",
            "id": f"u-{number}",
            "time": process.clock.now.isoformat(),
            "data": {"subscription_id": "s-1", "meter": meter, "quantity": number},
        }
        for number, meter in enumerate(meters, 1)
    ]
    body = json.dumps([*events, events[0]]).encode()
    answer = await process.app.receive_usage(body, "application/cloudevents-batch+json", "pat")
    assert (answer.accepted, answer.repeated, len(answer.refused)) == (3, 1, 1)


async def leave_unknown_effects(process: Process) -> None:
    """Leave calls without an answer, and a Run that waits for the serial of one. The clock stands: no look-up runs."""
    script = process.systems.script
    script["bills.credit.issue", "CR-ANSWER-LOST"] = ["answer_lost"]
    script["ledger.document.post", "CR-REQUEST-LOST"] = ["request_lost"]
    script["stock.item.reserve", "unsure"] = ["request_lost"]
    await process.request_credit("CR-ANSWER-LOST", 1_100)
    await process.request_credit("CR-REQUEST-LOST", 1_200)
    await process.deliver("desk", "notice.asked", "NO-LOST", item="unsure")
    await process.settle()
    await process.request_credit("CR-QUEUE", 1_300, customer="cu-CR-ANSWER-LOST")
    await process.settle()


async def leave_work_in_progress(process: Process) -> None:
    """Leave calls in flight, calls without a slot, deliveries to admit, an unread vote, and a consumer without an answer."""
    script = process.systems.script
    call = asyncio.create_task(process.call_operation("PAY-OPEN", 50_000, wait=60.0))
    await asyncio.sleep(0.1)
    await process.settle("turn")
    assert not call.done()
    script["bills.credit.issue", "CR-HANG-DONE"] = ["hang_answer_lost"]
    script["bills.credit.issue", "CR-HANG-LOST"] = ["hang_request_lost"]
    await process.request_credit("CR-HANG-DONE", 2_100)
    await process.request_credit("CR-HANG-LOST", 2_200)
    await process.admit_until_calls_hang(2)
    await process.request_credit("CR-PLAN-1", 2_300)
    await process.request_credit("CR-PLAN-2", 2_400)
    await process.admit_until_calls_hang(2)
    assert await process.vote("CT-NOW", "lea") == "granted"
    await process.request_credit("CR-TODO", 1_400)
    await process.deliver("desk", "order.shipped", "OR-SHIP")


# ------------------------------------------------------------------ files


def seed_random() -> None:
    """Replace the sources of random ids that go into rows."""
    source = random.Random(1)
    secrets.token_hex = lambda nbytes=16: source.randbytes(nbytes).hex()  # type: ignore[assignment]
    os.urandom = lambda size: source.randbytes(size)  # type: ignore[assignment]


async def write_sqlite(folder: Path, commit: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "store.db"
        store = await engine.open_store(f"sqlite:{file}")
        systems = await fill(store)
        await store.close()
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("update migration set at = ?", (BEGIN_MICROSECONDS,))
            connection.commit()
        save(folder, f"{commit}.sqlite", dumps.sqlite_text(file), systems)


async def write_postgres(folder: Path, commit: str) -> None:
    with postgres.running(fsync=False) as cluster:
        dsn = cluster.dsn(await cluster.create("template0"))
        store = await engine.open_store(dsn)
        systems = await fill(store)
        await store.close()
        connection = await asyncpg.connect(dsn)
        await connection.execute("update migration set at = $1", BEGIN_MICROSECONDS)
        await connection.close()
        text = dumps.postgres_text(cluster.installation / "pg_dump", dsn)
        save(folder, f"{commit}.postgres", text, systems)


def save(folder: Path, name: str, text: str, systems: Systems) -> None:
    for word in ("\0", tempfile.gettempdir(), str(Path.home())):
        assert word not in text, word
    assert len(text.encode()) < dumps.MOST_BYTES, len(text.encode())
    (folder / f"{name}.sql").write_text(text)
    (folder / f"{name}.systems.json").write_text(systems.to_json())


if __name__ == "__main__":
    seed_random()
    asyncio.run(write_sqlite(Path(sys.argv[2]), sys.argv[1]))
    asyncio.run(write_postgres(Path(sys.argv[2]), sys.argv[1]))
