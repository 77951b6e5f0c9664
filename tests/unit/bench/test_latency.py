"""The open loop hides no stall: an event's time starts at its planned arrival."""

from __future__ import annotations

import asyncio

import pytest

from bench.latency import Ledger, arrivals, events, open_loop


async def test_the_wait_behind_another_event_is_counted() -> None:
    ledger, lock = Ledger(), asyncio.Lock()

    async def send_event(name: str, body: bytes) -> None:
        async with lock:
            await asyncio.sleep(0.05)
            ledger.note(name)

    seconds = await open_loop(events("e", 3), [0.0, 0.0, 0.0], ledger, send_event)
    assert [round(s // 0.05) for s in seconds] == [1, 2, 3]


async def test_a_missing_call_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.latency.TIMEOUT_SECONDS", 0.05)

    async def send_event(name: str, body: bytes) -> None:
        """Drop the event."""

    with pytest.raises(TimeoutError):
        await open_loop(events("e", 1), [0.0], Ledger(), send_event)


def test_arrivals_have_their_rate_and_are_the_same_each_time() -> None:
    times = arrivals(100.0, 2000)
    assert times == sorted(times) == arrivals(100.0, 2000)
    assert 90 < 2000 / times[-1] < 110
