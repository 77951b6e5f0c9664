"""The outside system of the benchmarks counts its calls and the repeated calls."""

from __future__ import annotations

import pytest

from bench.crew import RemoteSystem
from bench.killed import TwoWorkersOneKilled
from bench.outside import Outside
from counterfoil.connectors.sdk import Absent, Confirmed, Request


async def test_calls_are_counted_by_key() -> None:
    outside = Outside(seconds=0.0)
    try:
        system = RemoteSystem(["billing.order.take"], outside.port)
        request = Request(operation="billing.order.take", key="eff_1", body=b"{}")
        assert isinstance(await system.find(request, 1.0), Absent)
        assert isinstance(await system.send(request, 1.0), Confirmed)
        assert isinstance(await system.find(request, 1.0), Confirmed)
        assert (outside.done, outside.repeated) == (1, 0)
        await system.send(request, 1.0)
        assert (outside.done, outside.repeated) == (1, 1)
    finally:
        outside.close()


async def test_a_late_kill_gives_no_figure() -> None:
    outside = Outside(seconds=0.0)
    killed = []
    try:
        outside.counts.update({str(n): 1 for n in range(5)})
        with pytest.raises(RuntimeError, match="5 of 5 calls were made before the kill"):
            TwoWorkersOneKilled(runs=1).kill(outside, lambda: killed.append(True))
    finally:
        outside.close()
    assert killed == [True]
