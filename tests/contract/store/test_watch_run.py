"""A caller that waits for a Run is woken by the commit that ends it, on all stores."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from counterfoil.core.effect import EffectState
from counterfoil.core.run import RunStatus
from counterfoil.store.port.turns import ConcludeAndTurn
from counterfoil.store.sql.postgres import MAX_NOTIFIED_RUNS, PostgresStore, _notice
from tests.contract.store import samples as s
from tests.patience import PATIENCE_SECONDS


async def test_the_turn_that_ends_a_run_wakes_all_its_watches(store: Any) -> None:
    run, other = await s.born(store, "k1"), await s.born(store, "k2")
    with store.watch_run(run) as first, store.watch_run(run) as second, store.watch_run(other) as idle:
        waiting = [asyncio.create_task(watch.wait(5)) for watch in (first, second)]
        await store.apply(s.turn(run, status=RunStatus.DONE))
        assert await asyncio.gather(*waiting) == [True, True]
        assert await idle.wait(0.01) is False


async def test_an_end_between_reading_and_waiting_is_not_missed(store: Any) -> None:
    run = await s.born(store)
    with store.watch_run(run) as watch:
        await store.apply(s.turn(run, status=RunStatus.DONE))
        assert await watch.wait(0) is True
        more = await watch.wait(0.2)  # PostgreSQL tells the process that committed as well
        assert not (more and await watch.wait(0.2))


async def test_a_turn_that_opens_an_approval_wakes_and_one_that_only_waits_does_not(store: Any) -> None:
    run = await s.born(store)
    with store.watch_run(run) as watch:
        await store.apply(s.turn(run))
        assert await watch.wait(0.01) is False
        await store.apply(s.turn(run, 1, approvals=(s.approval("apr_1", run),)))
        assert await watch.wait(5) is True


async def test_a_refused_turn_wakes_no_watch(store: Any) -> None:
    run = await s.born(store)
    with store.watch_run(run) as watch:
        await store.apply(s.turn(run, 7, status=RunStatus.DONE))
        assert await watch.wait(0.01) is False


async def test_the_outcome_whose_turn_ends_the_run_wakes(store: Any) -> None:
    run = await s.born(store)
    e = s.effect(run=run)
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    last = s.turn(run, 1, status=RunStatus.DONE, consumed=2)
    with store.watch_run(run) as watch:
        await store.apply(ConcludeAndTurn(conclude=s.conclude(e, EffectState.CONFIRMED), turn=last))
        assert await watch.wait(5) is True


async def test_the_commit_of_another_process_wakes(dsn: str) -> None:
    one, other = await PostgresStore.open(dsn), await PostgresStore.open(dsn)
    try:
        for attempt in range(20):  # until the listener is connected
            run = await s.born(one, f"k{attempt}")
            with one.watch_run(run) as watch:
                await other.apply(s.turn(run, status=RunStatus.DONE))
                if await watch.wait(1):
                    break
        else:
            raise AssertionError("the watch never heard of the other process")
        runs = [await s.born(one, f"m{number}") for number in range(3)]
        with one.watch_run(runs[0]) as first, one.watch_run(runs[1]) as second:
            began = time.monotonic()
            await asyncio.gather(*(other.apply(s.turn(run, status=RunStatus.DONE)) for run in runs))
            assert await asyncio.gather(first.wait(PATIENCE_SECONDS), second.wait(PATIENCE_SECONDS)) == [
                True,
                True,
            ]
            assert time.monotonic() - began < 30
    finally:
        await one.close()
        await other.close()


def test_a_notification_names_the_work_and_as_many_runs_as_fit() -> None:
    runs = {s.start(f"key-{number}").run for number in range(5000)}
    words = _notice({"turn", *runs}).split(",")
    assert words[0] == "turn"
    assert len(words) == 1 + MAX_NOTIFIED_RUNS
    assert set(words[1:]) <= runs
    assert len(_notice({"admit", "release", "turn", *runs}).encode()) < 8000
