"""A store on another thread or machine, for tests: it takes the time of the test, and the loop waits for its work."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from counterfoil.testing.played_loop import PlayedClock, PlayedLoop


class OutsideStore:
    """The port over a store that works outside this thread."""

    def __init__(self, inner: Any, loop: PlayedLoop, clock: PlayedClock) -> None:
        self._inner, self._loop, self._clock = inner, loop, clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def counted(*args: Any, **more: Any) -> Any:
            with self._loop.working_outside():
                return await value(*args, **more)

        setattr(self, name, counted)
        return counted

    async def now(self) -> datetime:
        return self._clock()


@contextlib.asynccontextmanager
async def outside_store(url: str, loop: PlayedLoop, clock: PlayedClock) -> AsyncIterator[Any]:
    """Open an empty store at an address for one test. Raises Misconfigured."""
    from counterfoil.store.sql.scratch import scratch_store  # its drivers take long to import

    scratch = scratch_store(url)
    with loop.working_outside():
        inner = await scratch.__aenter__()
    try:
        yield OutsideStore(inner, loop, clock)
    finally:
        with loop.working_outside():
            await scratch.__aexit__(None, None, None)
