"""The database's time, known without asking each time: what it said lately, and how long ago that was here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from counterfoil.core.clock import steady_seconds

ASK_AGAIN = 1.0
"""Seconds for which a reading is used. Two good clocks part by microseconds in that time."""


class CachedClock:
    """Microseconds since 1970 UTC by another machine's clock. A reading is taken in the middle of its round trip, so
    it is wrong by half of that at most."""

    def __init__(self, ask: Callable[[], Awaitable[int]], here: Callable[[], float] = steady_seconds) -> None:
        self._ask = ask
        self._here = here
        self._offset = 0.0
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def micros(self) -> int:
        """Raises what asking raises, once a second at most."""
        if self._here() - self._asked > ASK_AGAIN:
            async with self._asking:
                if self._here() - self._asked > ASK_AGAIN:
                    await self._read()
        return round(self._offset + self._here() * 1e6)

    def forget(self) -> None:
        """The other machine may be another one now."""
        self._asked = float("-inf")

    async def _read(self) -> None:
        began = self._here()
        there = await self._ask()
        ended = self._here()
        self._offset = there - (began + ended) / 2 * 1e6
        self._asked = began
