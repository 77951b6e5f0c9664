"""Replays recorded traffic for a plan, in the background of a running process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from counterfoil.core.impact import Impact
from counterfoil.model import Model
from counterfoil.replay.impact import Replay, recorded
from counterfoil.store.port.recorded import RecordedDelivery
from counterfoil.store.port.store import Store

BATCH_DELIVERIES = 50
"""Deliveries replayed in one thread call. Between two calls, other tasks of the process can run."""


async def replay_traffic(store: Store, old: Model, new: Model, since: datetime, until: datetime) -> Impact:
    """Return the differences between the results of both models for the traffic."""
    replay = Replay(old, new)
    waiting: list[RecordedDelivery] = []

    def take(batch: Sequence[RecordedDelivery]) -> None:
        for one in batch:
            replay.take(one)

    async for one in recorded(store, replay.paths, since, until):
        waiting.append(one)
        if len(waiting) >= BATCH_DELIVERIES:
            await asyncio.to_thread(take, waiting)
            waiting = []
    await asyncio.to_thread(take, waiting)
    return await asyncio.to_thread(replay.result)
