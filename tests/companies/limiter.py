"""The limiter of a process without a worker, which nothing else asks for its share of calls."""

from __future__ import annotations

import asyncio
from typing import Any

from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot, caps_of
from counterfoil.model import Model


class AskingLimiter(ConcurrencyLimiter):
    """Asks the store for its share whenever a call waits for a slot."""

    def __init__(self, store: Any, model: Model) -> None:
        super().__init__("trial/1", caps_of(model.systems))
        self._of = store

    async def enter(self, system: str, lane: Lane, retry: bool = False) -> Slot:
        entering = asyncio.ensure_future(super().enter(system, lane, retry))
        try:
            while not entering.done():
                await self.beat(self._of, await self._of.now())
                await asyncio.sleep(0.01)
            return entering.result()
        finally:
            entering.cancel()
