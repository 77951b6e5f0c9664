"""A process killed between the commit of a notice and its delivery: the notice arrives after the restart, once by its id."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.bootstrap import open_store
from counterfoil.core.delivery import GATHER, SEND_LEASE, DeliveryState
from counterfoil.flow.worker.deliveries import deliver_notices
from counterfoil.flow.worker.notices import write_notices
from tests.crash.notice_worker import model_with_chat
from tests.patience import PATIENCE_SECONDS
from tests.unit.flow.test_deliveries import SECRET, Receiver

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.now = datetime.now(UTC)
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    monkeypatch.setenv("TEST_CHAT_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
    monkeypatch.setenv("TEST_CHAT_SECRET", SECRET)
    async with server:
        yield receiver


async def start(url: str, how: str) -> asyncio.subprocess.Process:
    """Start the process, and return when its notices are committed."""
    words = [sys.executable, "-m", "tests.crash.notice_worker", url, how]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=ROOT, env=dict(os.environ), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS) == b"written\n"
    return process


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def test_a_kill_before_the_call_loses_no_notice(tmp_path: Path, receiver: Receiver) -> None:
    url = f"sqlite:{tmp_path / 'store.db'}"
    await kill(await start(url, "write"))
    assert receiver.requests == 0
    store, model = await open_store(url), model_with_chat()
    now = await store.now()
    assert await write_notices(store, model, now) == 0, "it was committed before the kill"
    assert await deliver_notices(store, model, now + GATHER) == 1
    assert await deliver_notices(store, model, now + GATHER + SEND_LEASE) == 0
    assert (receiver.requests, len(receiver.bodies)) == (1, 1)
    await store.close()


async def test_a_kill_during_the_call_repeats_it_with_the_same_id_and_content(
    tmp_path: Path, receiver: Receiver
) -> None:
    url = f"sqlite:{tmp_path / 'store.db'}"
    receiver.is_silent = True
    process = await start(url, "send")
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE_SECONDS)
    await kill(process)
    receiver.is_silent = False
    store, model = await open_store(url), model_with_chat()
    (delivery,) = (await store.dump()).deliveries
    assert (delivery.state, delivery.attempts) == (DeliveryState.SENDING, 1)
    assert await deliver_notices(store, model, delivery.next_at - GATHER) == 0, "the lease holds"
    assert await deliver_notices(store, model, delivery.next_at) == 1
    assert (receiver.requests, list(receiver.bodies)) == (2, [delivery.id])
    (after,) = (await store.dump()).deliveries
    assert after.state is DeliveryState.SENT
    assert await deliver_notices(store, model, delivery.next_at + SEND_LEASE) == 0
    await store.close()
