"""Whatever the commit or the send at which the process is killed, on either store: the credit is carried to its end,
each write is there once, and nobody is asked but about the letter that nothing can tell of."""

from __future__ import annotations

import pytest

from tests import postgres as real_postgres
from tests.crash.forked import Nursery
from tests.crash.house import WRITES
from tests.crash.points import missing
from tests.crash.sweep import Swept, crews, sweep, sweep_recoveries

SIDE_BY_SIDE = 3
RECOVERIES = 3
SEED = 20263


def _judge(swept: Swept, reached: list[str]) -> None:
    assert swept.violated == []
    assert missing(reached, WRITES) == [], "a commit or a send was not killed at"
    assert len(swept.unreached) <= len(swept.points) // 10, swept.unreached


@pytest.mark.timeout(1800)
async def test_a_kill_at_every_point_on_sqlite(nursery: Nursery) -> None:
    async with crews(nursery, None, SIDE_BY_SIDE) as side_by_side:
        swept = await sweep(side_by_side)
        reached = list(swept.reached)
        await sweep_recoveries(side_by_side, swept, RECOVERIES, SEED)
        _judge(swept, reached)


@pytest.mark.timeout(1800)
async def test_a_kill_at_every_point_on_postgresql(nursery: Nursery, postgres: real_postgres.Cluster) -> None:
    async with crews(nursery, postgres, SIDE_BY_SIDE) as side_by_side:
        swept = await sweep(side_by_side)
        reached = list(swept.reached)
        await sweep_recoveries(side_by_side, swept, RECOVERIES, SEED)
        _judge(swept, reached)
