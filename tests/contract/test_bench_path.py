"""The benchmarks of the whole path do the work that their notes describe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import processor, waking
from bench.latency import LatencyAdded
from bench.parked import park
from bench.path import GovernedOverhead, W1Limit
from bench.w1 import Databases, FiveCalls, Loop, assert_done, new_location, new_store, open_store
from tests.postgres import Cluster


def test_the_replay_ends_the_same_runs() -> None:
    row = W1Limit(runs=3)
    assert row.ours() > 0
    assert row.against() > 0
    assert "3 runs of 5 steps" in row.note()


def test_the_overhead_row_reports_the_time_by_part() -> None:
    note = GovernedOverhead(runs=2).note()
    assert "SQLite writer" in note
    assert "SQLite reader" in note
    assert "rules" in note


@pytest.mark.parametrize("loop", ["closed", "open"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_five_calls_are_done_and_verified(kind: str, loop: Loop, postgres: Cluster) -> None:
    cost = FiveCalls(Databases(postgres), runs=3, warm=1).cost(kind, loop)
    assert (cost.steps, cost.rate > 0, cost.processor > 0) == (15, True, True)
    assert cost.database == 0 or kind == "postgres"


def test_processor_time_counts_children_that_run_and_that_have_ended() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\n"
    children = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", children], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert processor.family(parent.pid) == {parent.pid}
        assert processor.family(os.getpid()) > {os.getpid(), parent.pid}
        assert processor.seconds([parent.pid]) > 0.25
        parent.communicate(b"\n")
    assert processor.seconds([parent.pid]) == 0


async def test_unfinished_runs_give_no_figure(postgres: Cluster) -> None:
    async with new_store("sqlite", Databases(postgres)) as (_, ask):
        with pytest.raises(RuntimeError, match="would be wrong"):
            await assert_done(ask, 1)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_parked_runs_equal_the_engine_s_own_and_other_runs_can_wake(
    kind: str, postgres: Cluster
) -> None:
    async with new_location(kind, Databases(postgres)) as where:
        await park(where, 20)
        async with open_store(where) as (store, ask):
            names = [row[0] for row in await ask("select id from run order by id")]
            assert len(names) == 20
            loaded = [await store.load(name) for name in names]
            firsts = [
                (x.run.ctx, x.run.status, x.run.due, [a.policy for a in x.approvals]) for x in loaded if x
            ]
            assert len(firsts) == 20
            assert all(other == firsts[0] for other in firsts)
            assert len({a.id for x in loaded if x for a in x.approvals}) == 20
            assert await store.head("credit", loaded[0].run.bkey if loaded[0] else "") is not None
        woken = await waking.main(where, wakes=2, settle=0.0, idle_for=0.1)
        assert len(woken["seconds"]) == 2
        async with open_store(where) as (_, ask):
            ((open_approvals,),) = await ask("select count(*) from approval where state = 'open'")
            assert open_approvals == 20


async def test_every_event_has_a_latency() -> None:
    row = LatencyAdded(full=5, seconds=0.1, fewest=5)
    assert len(await row.governed("sqlite")) >= 5
    assert len(await row.bare("sqlite")) >= 5
    row.close()
