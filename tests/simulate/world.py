"""Simulated time: an event loop whose clock jumps to the next timer, and the one database clock of a company.

One thread, no sockets, no sleeping. Code that waits for something that matters calls `sleep` or `after`. While nothing
happens, time jumps to the next such moment; idle polls of workers are only late.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from counterfoil.core.effect import EffectState
from counterfoil.core.foil import UNFINISHED_FOILS
from counterfoil.store.memory import MemoryStore

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
QUIET = 0.6
"""Seconds without any change after which every loop of every worker has looked at least once."""
LONGEST = 6 * 3600.0
JUST_AFTER = 0.000_01
"""So much later than due: a moment is a float, the database's time is whole microseconds."""
WAKE = 0.03
"""Wakes of waiting workers are gathered for so long, as the database's notifications are."""


class Stalled(Exception):
    """No timer is left and no task is ready: the simulation itself is wrong."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is a number. `skip` may make it later than the next timer asks."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0
        self.skip: Callable[[float], float] = lambda moment: moment
        self._selector = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.moment

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled(f"nothing is left to happen at {self.moment:.3f} s")
        if timeout > 0:
            self.moment = self.skip(self.moment + timeout)
        return []

    def _process_events(self, events: list[Any]) -> None:
        """There is no outside."""

    def _write_to_self(self) -> None:
        """There is one thread."""


class World:
    """The company's clock, chance that follows from a seed, and the record of what happened."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.offset = 0.0
        """Seconds by which the database's clock was moved since the beginning."""
        self.store = MemoryStore(self.now)
        self.timeline: list[tuple[float, str, str]] = []
        self._changed = 0.0
        self._moments: list[float] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._waking = False
        loop.skip = self._skip

    # ------------------------------------------------------------------ clock and chance

    def now(self) -> datetime:
        return BEGIN + timedelta(microseconds=round((self.loop.moment + self.offset) * 1e6))

    def chance(self, *about: object) -> float:
        """A number below 1 that follows from the seed and from what it is for, not from what was asked before."""
        text = f"{self.seed}/{'/'.join(map(str, about))}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / (1 << 48)

    def note(self, who: str, what: str) -> None:
        self.timeline.append((self.loop.moment, who, what))

    # ------------------------------------------------------------------ waiting

    async def sleep(self, seconds: float) -> None:
        """Wait for a moment that matters: time does not pass it by."""
        heapq.heappush(self._moments, self.loop.moment + seconds)
        await asyncio.sleep(seconds)

    def after(self, seconds: float, what: Callable[[], Any]) -> None:
        heapq.heappush(self._moments, self.loop.moment + seconds)
        self.loop.call_later(seconds, what)

    async def wake(self, seconds: float) -> None:
        """Wait until something changes, or time was passed by; what a listening worker does when idle."""
        woken: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(woken)
        await woken

    def changed(self) -> None:
        """Wake all waiting workers, because something was committed or answered."""
        self._changed = self.loop.moment
        if not self._waking and self._waiting:
            self._waking = True
            self.loop.call_later(WAKE, self._poke)

    def _poke(self) -> None:
        self._waking = False
        waiting, self._waiting = self._waiting, []
        for woken in waiting:
            if not woken.done():
                woken.set_result(None)

    # ------------------------------------------------------------------ passing idle time by

    def _skip(self, moment: float) -> float:
        while self._moments and self._moments[0] <= moment:
            heapq.heappop(self._moments)
        if moment - self._changed < QUIET:
            return moment
        target = self._next(moment)
        if target <= moment:
            return moment
        target = min(target + JUST_AFTER, moment + LONGEST)
        self._changed = target
        self.loop.moment = target
        self._poke()
        return target

    def _next(self, moment: float) -> float:
        """The next moment that matters to anybody; now, when something waits to be done."""
        s = self.store.tables
        now = self.now() + timedelta(seconds=moment - self.loop.moment)
        if any(topic is None for topic in s.todos.values()):
            return moment
        dues: list[datetime] = []
        for run in s.runs.values():
            if run.due is not None:
                leased = run.lease_until is not None and run.lease_until > now
                if run.due <= now and not leased:
                    return moment  # a worker must claim it
                dues.append(run.due)
                if run.lease_until is not None and run.due <= now:
                    dues.append(run.lease_until + timedelta(milliseconds=1))
        for effect in s.effects.values():
            if effect.state is EffectState.PLANNED:
                return moment
            if effect.state is EffectState.SENDING and effect.call_until is not None:
                dues.append(effect.call_until + timedelta(milliseconds=1))
            if effect.look_at is not None:
                dues.append(effect.look_at)
        dues += [f.due for f in s.foils.values() if f.state in UNFINISHED_FOILS]
        recent = now - timedelta(seconds=QUIET)
        if any(recent < due <= now for due in dues):
            self.loop.moment = moment
            self._poke()  # listening workers poll as well, only less often than they are woken here
            return moment
        coming = [moment + (due - now).total_seconds() for due in dues if due > now]
        if self._moments:
            coming.append(self._moments[0])
        return min(coming, default=moment)
