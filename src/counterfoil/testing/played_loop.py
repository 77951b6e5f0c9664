"""An event loop whose time is a number, and the clock that follows it.

While nothing can run, time stands still: only `move_to` passes it. So a test of months takes milliseconds, and every
timer of the engine agrees with the time of its store.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
_OUTSIDE_WAIT_SECONDS = 0.05


class _PlayedSelector(selectors.DefaultSelector):
    """Waits for real input only while the store works outside this thread."""

    loop: PlayedLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(0) if self.loop.outside else []
        if self.loop.outside:
            wait = _OUTSIDE_WAIT_SECONDS if timeout is None else min(timeout, _OUTSIDE_WAIT_SECONDS)
            events = super().select(wait)
            if not events and timeout is not None:
                self.loop.move_to(self.loop.moment + wait)  # a timer of the store itself
            return events
        self.loop.rest(timeout)
        return []


class PlayedLoop(asyncio.SelectorEventLoop):
    """An event loop that tells when nothing is left to run at the present moment."""

    def __init__(self) -> None:
        selector = _PlayedSelector()
        selector.loop = self
        self.moment = 0.0
        self.outside = 0
        """Calls of a store in progress on another thread or machine."""
        self.next_timer: float | None = None
        """Moment of the next timer, as of the last rest."""
        self._resting: asyncio.Future[None] | None = None
        super().__init__(selector)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.moment

    def rest(self, timeout: float | None) -> None:
        """Wake the caller of `at_rest`: no callback is ready. Raise RuntimeError without one."""
        self.next_timer = None if timeout is None else self.moment + timeout
        if self._resting is None:
            raise RuntimeError("the test waits for something that never happens")
        resting, self._resting = self._resting, None
        resting.set_result(None)

    async def at_rest(self) -> None:
        """Return when nothing can run before time passes."""
        self._resting = self.create_future()
        await self._resting

    @contextlib.contextmanager
    def working_outside(self) -> Iterator[None]:
        """Count one call of a store on another thread or machine, for as long as the context lasts."""
        self.outside += 1
        try:
            yield
        finally:
            self.outside -= 1

    def move_to(self, moment: float) -> None:
        """Pass time. It never goes back."""
        self.moment = max(self.moment, moment)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, then cancel the tasks that it has left."""
        try:
            return self.run_until_complete(work)
        finally:
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))


class PlayedClock:
    """The time of one test: its first moment, and what has passed on the loop since."""

    def __init__(self, loop: PlayedLoop, begin: datetime) -> None:
        self.loop = loop
        self.begin = begin
        self._from = self._moment = loop.moment
        self._now = begin

    def __call__(self) -> datetime:
        if self._moment != self.loop.moment:
            self._moment = self.loop.moment
            self._now = self.begin + timedelta(microseconds=round((self._moment - self._from) * 1e6))
        return self._now

    def moment_of(self, time: datetime) -> float:
        """Return the moment of the loop at which it is this time, or just after."""
        return self._from + (time - self.begin).total_seconds() + 1e-6
