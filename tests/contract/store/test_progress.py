"""The progress scan finds each kind of stall, and nothing where every wait is owned or in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import apsw
import asyncpg
import pytest

from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import STALL_PREFIX, TOPICS
from counterfoil.core.effect import EffectState
from counterfoil.core.run import RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.sweep_requests import request_of
from counterfoil.flow.worker.worker_cases import scan_stalls
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.maintenance import OpenCases, Seal
from counterfoil.store.port.stalled import KINDS, MAX_SUBJECTS, RecordStalled, StallLimits
from counterfoil.store.port.sweeps import ClaimSweep
from counterfoil.store.port.turns import Claim
from counterfoil.store.sql import stalled_reads
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.statements import to_sqlite
from tests.contract.store import samples as s

P = StallLimits()
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


async def write(store: Any, sql: str, memory: Callable[[Tables], object]) -> None:
    """Change rows behind the store's back: what no transition would do."""
    if isinstance(store, MemoryStore):
        memory(store.tables)
    elif isinstance(store, SqliteStore):
        connection = apsw.Connection(str(store.path))
        connection.set_busy_timeout(5000)
        connection.execute(sql)
        connection.close()
    else:
        connection = await asyncpg.connect(store._dsn)
        await connection.execute(sql)
        await connection.close()


async def quiet(store: Any) -> str:
    """A Run that was turned, with nothing behind it that would be found."""
    run = await s.born(store)
    await store.apply(Seal(at=s.T0))
    return run


async def sealed(store: Any) -> None:
    await store.apply(Seal(at=s.T0))


async def due(store: Any) -> tuple[str, timedelta]:
    await quiet(store)
    return s.RUN, P.due


async def taken(store: Any) -> tuple[str, timedelta]:
    await quiet(store)
    await store.apply(Claim(worker="gone", limit=1, lease_until=s.T0, at=s.T0))
    return s.RUN, P.lease


async def lost(store: Any) -> tuple[str, timedelta]:
    await quiet(store)
    await store.apply(s.turn())
    await sealed(store)
    return s.RUN, P.due


async def planned(store: Any) -> tuple[str, timedelta]:
    await quiet(store)
    await store.apply(s.turn(plan=(s.effect(),)))
    await sealed(store)
    return s.effect().id, P.planned


async def sending(store: Any) -> tuple[str, timedelta]:
    effect, _ = await planned(store)
    await store.apply(s.intent(s.effect()))
    await sealed(store)
    return effect, P.sending + timedelta(seconds=30)


async def unknown(store: Any) -> tuple[str, timedelta]:
    effect, _ = await sending(store)
    await store.apply(s.conclude(s.effect(), EffectState.UNKNOWN))
    await store.apply(s.turn(version=1, consumed=2))
    await sealed(store)
    return effect, P.unknown + timedelta(seconds=90)


async def waiting(store: Any) -> tuple[str, timedelta]:
    await store.apply(s.receive(s.receipt()))
    await sealed(store)
    return "receipt 1", P.todo


async def aside(store: Any) -> tuple[str, timedelta]:
    await waiting(store)
    await store.apply(s.admit(1, park=True))
    await sealed(store)
    return "receipt 1", timedelta(0)


async def overdue(store: Any) -> tuple[str, timedelta]:
    await store.apply(OpenCases(cases=(s.case(deadline=s.T0 + HOUR),), at=s.T0, actor="x"))
    await sealed(store)
    return "case_1", HOUR


async def past_due(store: Any) -> tuple[str, timedelta]:
    await waiting(store)
    e = s.event()
    await store.apply(s.admit(1, events=(e,), foils=(s.foil(cause=e.id, due=s.T0 + HOUR),)))
    await sealed(store)
    return "foil_1", HOUR + P.foil


async def held(store: Any) -> tuple[str, timedelta]:
    sql = "insert into hold (serial, run) values ('customer-1', 'run_gone')"
    await write(store, sql, lambda rows: rows.holds.update({"customer-1": "run_gone"}))
    return "customer-1", timedelta(0)


async def stranded(store: Any) -> tuple[str, timedelta]:
    await quiet(store)
    second = await s.born(store, "inv-2")
    await store.apply(s.turn(hold=("customer-1",), due=s.T0 + s.DAY))
    turned = await store.apply(s.turn(second, hold=("customer-1",)))
    assert turned.verdict == "held"
    await sealed(store)
    await write(store, "delete from hold", lambda rows: rows.holds.clear())
    return "customer-1", timedelta(0)


async def unsealed(store: Any) -> tuple[str, timedelta]:
    await store.apply(s.receive(s.receipt()))
    await store.apply(s.admit(1, ignored="yes"))
    return "", P.leaf


async def unread(store: Any) -> tuple[str, timedelta]:
    await store.apply(request_of("erp", "invoices", "ann", s.T0))
    claim = ClaimSweep(worker="w/1", systems=("erp",), lease_until=s.T0 + HOUR, at=s.T0)
    assert await store.apply(claim) is not None
    await sealed(store)
    return "erp.invoices", HOUR + P.sweep


PLANTED: dict[str, Callable[[Any], Awaitable[tuple[str, timedelta]]]] = {
    "run_not_turned": due,
    "lease_expired": taken,
    "run_lost": lost,
    "effect_planned": planned,
    "effect_sending": sending,
    "effect_unknown": unknown,
    "todo_waiting": waiting,
    "todo_parked": aside,
    "case_overdue": overdue,
    "foil_past_due": past_due,
    "serial_held": held,
    "serial_stranded": stranded,
    "leaf_pending": unsealed,
    "sweep_waiting": unread,
}


def test_each_kind_is_planted() -> None:
    assert set(PLANTED) == set(KINDS)
    assert {row.reason for row in TOPICS["Stalled work"]} == {f"{STALL_PREFIX}{kind}" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_is_found_once_its_time_is_over_and_not_before(store: Any, kind: str) -> None:
    subject, after = await PLANTED[kind](store)
    moment = timedelta(microseconds=1)
    if after:
        assert kind not in {found.kind for found in await store.stalled_work(s.T0 + after, P)}
    found = await store.stalled_work(s.T0 + after + moment, P)
    (one,) = [each for each in found if each.kind == kind]
    assert [each.kind for each in found] == [kind]
    assert one.about
    if subject:
        assert (one.count, one.subjects) == (1, (subject,))
    assert one.since <= s.T0 + after + moment


async def test_a_run_with_a_case_is_not_lost(store: Any) -> None:
    await unknown(store)
    await store.apply(s.receive(s.receipt("r9")))
    await store.apply(s.admit(2, park=True, cases=(s.case("case_r", receipt=2),)))
    case = s.case("case_e", run=s.RUN, effect=s.effect().id)
    await store.apply(OpenCases(cases=(case,), at=s.T0, actor="x"))
    await sealed(store)
    assert await store.stalled_work(s.T0 + timedelta(hours=2), P) == []
    for id_ in ("case_e", "case_r"):
        await store.apply(s.put_person(s.person()))
        await store.apply(s.resolve(id_, choice=Choice.DISMISS))


async def test_waits_within_their_time_are_not_stalled(store: Any) -> None:
    """A parked Run, a call on its way, a todo that a topic wakes, a queue whose first is due."""
    await quiet(store)
    later = s.T0 + timedelta(days=300)
    await store.apply(s.turn(hold=("c",), plan=(s.effect(),), due=later))
    await store.apply(s.intent(s.effect()))
    second = await s.born(store, "inv-2")
    assert (await store.apply(s.turn(second, hold=("c",)))).verdict == "held"
    await store.apply(s.receive(s.receipt("r9")))
    numbers = await store.existing_receipts([("billing", "r9")])
    await store.apply(s.admit(numbers["billing", "r9"][0], park=True, wake_topic="link:x"))
    await sealed(store)
    assert await store.stalled_work(s.at(30), P) == []
    await store.apply(s.conclude(s.effect()))
    await store.apply(s.turn(version=1, consumed=2, unhold=("c",), due=later))
    await sealed(store)
    assert await store.stalled_work(s.at(30), P) == []


async def test_ended_runs_are_not_scanned(store: Any) -> None:
    await quiet(store)
    await store.apply(s.turn(status=RunStatus.DONE, state="done"))
    await sealed(store)
    assert await store.stalled_work(s.T0 + timedelta(days=30), P) == []


async def test_many_of_one_kind_are_one_finding(store: Any) -> None:
    for n in range(5):
        await s.born(store, f"inv-{n}")
    await sealed(store)
    (found,) = await store.stalled_work(s.T0 + HOUR, P)
    assert (found.kind, found.about, found.count, len(found.subjects)) == ("run_not_turned", "w1", 5, 3)
    assert MAX_SUBJECTS > 5


# ------------------------------------------------------------------ what becomes of it


async def releases(store: Any) -> Releases:
    return Releases(store, Model([]))


async def cases(store: Any) -> list[tuple[str, str]]:
    return [(c.reason, str(c.state)) for c in (await store.dump()).cases if c.reason.startswith("stuck_")]


async def scan(store: Any, at: Any) -> list[str]:
    return [each.kind for each in await scan_stalls(store, await releases(store), at)]


async def test_a_case_opens_once_and_is_resolved_when_it_moves_again(store: Any) -> None:
    await due(store)
    t = s.T0 + HOUR
    assert await scan(store, t) == ["run_not_turned"]
    assert await cases(store) == []  # one look may have caught it on its way
    assert [h.stuck.count for h in await store.stall_findings()] == [1]
    for seconds in (15, 30, 45):
        await scan(store, t + timedelta(seconds=seconds))
        assert await cases(store) == [("stuck_run_not_turned", "open")]
    (case,) = [c for c in (await store.dump()).cases if c.reason == "stuck_run_not_turned"]
    assert s.RUN in case.message
    assert case.next_action
    assert case.deadline > t
    assert (await store.stall_findings())[0].case == case.id
    await store.apply(s.turn(when=t, due=t + s.DAY))
    await sealed(store)
    assert await scan(store, t + MINUTE) == []
    assert await cases(store) == [("stuck_run_not_turned", "resolved")]
    assert await store.stall_findings() == []


async def test_a_stall_that_returns_has_a_new_case(store: Any) -> None:
    await due(store)
    t = s.T0 + HOUR
    await scan(store, t)
    await scan(store, t + MINUTE)
    await store.apply(s.turn(when=t, due=t + HOUR))
    await sealed(store)
    await scan(store, t + 2 * MINUTE)
    await sealed(store)
    await scan(store, t + 2 * HOUR)
    await scan(store, t + 2 * HOUR + MINUTE)
    assert sorted(await cases(store)) == [
        ("stuck_run_not_turned", "open"), ("stuck_run_not_turned", "resolved"),
    ]  # fmt: skip


async def test_a_dismissed_case_opens_again_a_day_later(store: Any) -> None:
    await due(store)
    t = s.T0 + HOUR
    await scan(store, t)
    await scan(store, t + MINUTE)
    (case,) = (await store.dump()).cases
    await store.apply(s.put_person(s.person()))
    dismissed = s.resolve(case.id, choice=Choice.DISMISS, override=True)
    assert (await store.apply(dismissed)).verdict == "resolved"
    await sealed(store)
    await scan(store, t + 2 * MINUTE)
    assert [state for _, state in await cases(store)] == ["resolved"]
    await scan(store, s.T0 + s.DAY + HOUR)
    assert sorted(state for _, state in await cases(store)) == ["open", "resolved"]


async def test_an_overdue_stall_case_opens_no_further_case(store: Any) -> None:
    await due(store)
    for hours in (1, 2, 30):
        await scan(store, s.T0 + hours * HOUR)
    assert await scan(store, s.T0 + 31 * HOUR) == ["leaf_pending", "run_not_turned"]


async def test_a_late_scan_does_not_replace_a_newer_one(store: Any) -> None:
    await due(store)
    found = tuple(await store.stalled_work(s.T0 + HOUR, P))
    tell = RecordStalled(findings=found, cases=(s.case(),), at=s.T0 + HOUR, actor="progress")
    assert await store.apply(tell)
    old = RecordStalled(findings=(), cases=(), at=s.T0, actor="progress")
    assert not await store.apply(old)
    assert len(await store.stall_findings()) == 1


async def test_two_workers_scan_and_one_case_opens(two: tuple[Any, Any]) -> None:
    await due(two[0])
    t = s.T0 + HOUR
    for seconds in range(0, 60, 15):
        await asyncio.gather(*(scan(each, t + timedelta(seconds=seconds)) for each in two))
    assert await cases(two[0]) == [("stuck_run_not_turned", "open")]


async def test_without_stalls_nothing_is_written(store: Any) -> None:
    await quiet(store)
    before = await store.dump()
    assert await scan(store, s.T0) == []
    assert await store.dump() == before


# ------------------------------------------------------------------ what it costs

INDEXED = ("DUE", "LOST", "PLANNED", "SENDING", "UNKNOWN", "WAITING", "PARKED", "OVERDUE", "FOILS")
"""The queries over tables that grow; holds, queues and pending leaves are few, or read from their beginning."""


async def test_no_query_reads_a_table_that_grows(places: Any) -> None:
    """What a plan scans is an index that holds the unfinished alone, or the answer of an inner query."""
    store = await places("sqlite")
    connection = apsw.Connection(str(store.path))
    for name in INDEXED:
        sql = to_sqlite(getattr(stalled_reads, name))
        plan = [row[3] for row in connection.execute(f"explain query plan {sql}", (0,) * sql.count("?"))]
        scanned = [step for step in plan if step.startswith("SCAN")]
        allowed = {"SCAN r", "SCAN e", "SCAN t"}
        bad = [step for step in scanned if step not in allowed and "todo_aside" not in step]
        bad = [
            step for step in bad if not any(index in step for index in ("run_unwoken", "effect_undecided"))
        ]
        assert bad == [], (name, plan)
        assert not any("TEMP B-TREE" in step for step in plan), (name, plan)
    connection.close()
