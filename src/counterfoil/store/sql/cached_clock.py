"""The database's clock, cached: its last reading plus the time elapsed on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from counterfoil.core.clock import steady_seconds

MAX_AGE_SECONDS = 1.0
"""Maximum age of a reading. Two good clocks drift apart by microseconds in that time."""


class CachedClock:
    """Microseconds since 1970 UTC by another machine's clock.

    A reading counts as taken in the middle of its round trip, so it is wrong by half of that at most.
    """

    def __init__(self, ask: Callable[[], Awaitable[int]], here: Callable[[], float] = steady_seconds) -> None:
        self._ask = ask
        self._here = here
        self._offset = 0.0
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def micros(self) -> int:
        """Return the time. Raises what the request to the database raises, at most once a second."""
        if self._here() - self._asked > MAX_AGE_SECONDS:
            async with self._asking:
                if self._here() - self._asked > MAX_AGE_SECONDS:
                    await self._read()
        return round(self._offset + self._here() * 1e6)

    def forget(self) -> None:
        """Drop the reading: the database may run on another machine now."""
        self._asked = float("-inf")

    async def _read(self) -> None:
        began = self._here()
        there = await self._ask()
        ended = self._here()
        self._offset = there - (began + ended) / 2 * 1e6
        self._asked = began
