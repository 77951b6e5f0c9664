"""Two and three workers on one PostgreSQL, as processes: killed, paused past their lease, told to end.

Safety is in the database, so what one leaves the others take up: nothing is done twice, nothing waits for the dead.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests import postgres as real_postgres
from tests.crash.crew import Crew, Plan, crew
from tests.crash.forked import Nursery
from tests.crash.house import AUTOMATIC, WRITES, house
from tests.crash.points import paused_at, sure
from tests.crash.sweep import crews
from tests.patience import PATIENCE_SECONDS

PAUSE = 6.0
"""Seconds: more than the lease here, than a call may take, and than the horizon after it."""
SIDE_BY_SIDE = 4
TRIES = 3
REAL_LEASE = 10.0
AT_HAND = 1.5
"""Processor seconds in which a worker that was told to end may begin the calls that it has claimed."""


@pytest.fixture
async def dsn(postgres: real_postgres.Cluster) -> AsyncIterator[str]:
    name = await postgres.create()
    yield postgres.dsn(name)
    await postgres.drop(name)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_that_are_killed_at_points_and_moments(
    nursery: Nursery, dsn: str, workers: int
) -> None:
    with house(0.02) as systems:
        async with crew(systems, nursery, dsn, workers) as them:
            credits = them.credits(24, customers=6, cents=AUTOMATIC, letter=False)
            plan = Plan(
                lives={
                    0: [["send:after:erp.entry.add:3"], ["send:before:billing.credit.issue:2"]],
                    1: [["send:after:erp.credit.post:4"], []],
                },
                moments={workers - 1: 1.5},
            )
            played = await them.round(credits, plan)
            assert (played.violations, played.doubled) == ([], 0)
            assert len(played.killed) >= 2, played.killed


@pytest.mark.timeout(900)
async def test_a_worker_that_wakes_late_changes_nothing(
    nursery: Nursery, postgres: real_postgres.Cluster
) -> None:
    async with crews(nursery, postgres, SIDE_BY_SIDE, workers=2) as side_by_side:
        first = side_by_side[0]
        dry = await first.round(first.credits(cents=AUTOMATIC, letter=False))
        assert dry.violations == []
        # One of the two may have done all, or each a part; the order within each write is the same.
        passed = [point for points in dry.points for point in points]
        writes = [operation for operation in WRITES if operation != "erp.letter.send"]
        waiting = [(points, TRIES) for points in paused_at(sure([passed]), writes)]
        await asyncio.gather(*(_pause(one, waiting) for one in side_by_side))


async def _pause(crew: Crew, waiting: list[tuple[tuple[str, ...], int]]) -> None:
    """Rounds in each of which one worker is stopped at a point and goes on late. What slept may have lost its slots
    and not send at first, so that a round passes other points: then it is tried again."""
    while waiting:
        points, tries = waiting.pop(0)
        played = await crew.round(
            crew.credits(cents=AUTOMATIC, letter=False), Plan(stops=points, paused=PAUSE)
        )
        assert (points, played.violations, played.doubled) == (points, [], 0)
        if not played.stopped:
            assert tries > 1, f"{points} are not passed"
            waiting.append((points, tries - 1))
            continue
        assert len(played.stopped) == 1
        assert played.stopped[0] in points
        if points[0].startswith("apply:before:Turn"):
            late = [answer for answer in played.answers[played.late] if answer.startswith("Turn")]
            assert late[0].endswith("stale"), played.answers[played.late]


@pytest.mark.timeout(900)
async def test_the_peer_finishes_what_a_killed_worker_left(
    nursery: Nursery, dsn: str, record_property: pytest.RecordProperty, capsys: pytest.CaptureFixture[str]
) -> None:
    with house(0.05) as systems:
        async with crew(systems, nursery, dsn, 2, REAL_LEASE) as them:
            credits = them.credits(40, customers=10, cents=AUTOMATIC, letter=False)
            point = "send:after:erp.credit.post:3"
            playing = asyncio.create_task(them.round(credits, Plan({0: [[point]]}, back=False)))
            killed = await _until_ended(them)
            left = [
                e for e in (await them.dump()).effects if e.state == "sending" and _of(e.worker, "worker-1")
            ]
            played = await playing
            took = time.monotonic() - killed
            assert (played.violations, played.doubled) == ([], 0)
            assert played.killed == [point]
            assert played.cases == 0
            assert left, "it died with no call under way"
            record_property("seconds", round(took, 1))
            with capsys.disabled():
                print(
                    f"\nkilled with {len(left)} calls under way; its peer had finished all of 40 Runs {took:.1f} s later"
                )


@pytest.mark.timeout(900)
async def test_a_worker_told_to_end_finishes_its_calls_and_takes_nothing_new(
    nursery: Nursery, dsn: str
) -> None:
    with house(0.6) as systems:
        async with crew(systems, nursery, dsn, 2) as them:
            credits = them.credits(24, customers=24, cents=AUTOMATIC, letter=False)
            playing = asyncio.create_task(them.round(credits, Plan(leaves=0)))
            ending = them.workers[0]
            await _until_calling(them, "worker-1")
            assert ending.program.process is not None
            ending.program.process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(ending.program.process.wait, PATIENCE_SECONDS)
            dump = await them.dump()
            assert code == 0, ending.program.output()
            assert [e.id for e in dump.effects if e.state == "sending" and _of(e.worker, "worker-1")] == []
            assert [r.id for r in dump.runs if r.lease_until is not None and _of(r.owner, "worker-1")] == []
            played = await playing
            assert (played.violations, played.doubled) == ([], 0)
            lines = ending.journal.read_text().splitlines()
            wires = [line.split() for line in lines if line.startswith("wire ")]
            answered = [
                line for line in lines if line.startswith(("answer Conclude", "answer ConcludeAndTurn"))
            ]
            assert wires
            (told,) = (float(line.split()[1]) for line in lines if line.startswith("told "))
            assert [w for w in wires if float(w[3]) > told + AT_HAND] == [], (
                "it began calls after it was told"
            )
            assert len({line.split()[1] for line in lines if line.startswith("wire ")}) <= len(answered)


@pytest.mark.timeout(900)
async def test_a_customers_credits_are_written_in_order_of_arrival(nursery: Nursery, dsn: str) -> None:
    with house(0.15) as systems:
        async with crew(systems, nursery, dsn, 2) as them:
            credits = them.credits(10, customers=2, cents=AUTOMATIC, letter=False)
            lives = [["send:after:erp.entry.add:1"], []]
            playing = asyncio.create_task(them.round(credits, Plan({0: lives, 1: lives})))
            await _until_queued(them, 8)
            played = await playing
            assert (played.violations, played.doubled) == ([], 0)
            assert set(played.killed) == {"send:after:erp.entry.add:1"}
            arrivals = {run.bkey: run.arrival for run in (await them.dump()).runs}
            for customer, served in systems.served().items():
                # The first to hold may have come before an older one had asked; behind it the queue decides.
                behind = [arrivals[credit] for credit in served[1:]]
                assert behind == sorted(behind), (customer, served)


# ------------------------------------------------------------------ looking on


def _of(worker: str | None, name: str) -> bool:
    return worker is not None and worker.startswith(f"{name}/")


async def _until_ended(them: Crew) -> float:
    """The moment at which the first worker was seen dead."""
    while them.workers[0].program.ended() is None:
        await asyncio.sleep(0.01)
    return time.monotonic()


async def _until_calling(them: Crew, name: str) -> None:
    """Until a worker has several calls under way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        effects = (await them.dump()).effects
        if sum(e.state == "sending" and _of(e.worker, name) for e in effects) >= 2:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} makes no calls\n{await them.told()}")


async def _until_queued(them: Crew, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if len((await them.dump()).queues) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"nobody queues\n{await them.told()}")
