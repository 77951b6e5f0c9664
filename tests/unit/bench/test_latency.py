"""The open loop hides no stall: an event's time runs from when it was due to arrive."""

from __future__ import annotations

import asyncio

import pytest

from bench.latency import Ledger, arrivals, events, open_loop


async def test_an_event_that_waits_behind_another_one_waited() -> None:
    ledger, door = Ledger(), asyncio.Lock()

    async def hand_in(name: str, body: bytes) -> None:
        async with door:
            await asyncio.sleep(0.05)
            ledger.note(name)

    seconds = await open_loop(events("e", 3), [0.0, 0.0, 0.0], ledger, hand_in)
    assert [round(s // 0.05) for s in seconds] == [1, 2, 3]


async def test_a_call_that_never_comes_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.latency.PATIENCE", 0.05)

    async def hand_in(name: str, body: bytes) -> None:
        """Takes it and forgets it."""

    with pytest.raises(TimeoutError):
        await open_loop(events("e", 1), [0.0], Ledger(), hand_in)


def test_arrivals_have_their_rate_and_are_the_same_each_time() -> None:
    times = arrivals(100.0, 2000)
    assert times == sorted(times) == arrivals(100.0, 2000)
    assert 90 < 2000 / times[-1] < 110
