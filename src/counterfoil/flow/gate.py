"""The gate of one worker: every outward call takes a slot of its system here, in its lane, and gives it back.

In memory and without I/O. Who may enter is decided by the system's slots, its breaker, its retry budget and
the lanes. Nothing is lost at a closed gate: what may not be sent yet stays planned in the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from counterfoil.connectors.sdk import Absent, Outcome
from counterfoil.core.errors import TryAgain
from counterfoil.flow.breaker import BreakerState
from counterfoil.flow.line import Lane, Line, Ticket

__all__ = ["Closed", "Gate", "Lane", "LineState", "Ticket"]


class Closed(TryAgain):
    """This worker is being stopped: nothing was sent, another worker or the next start will."""


class LineState(msgspec.Struct, frozen=True, kw_only=True):
    """How one system stands at this gate, for health and metrics. Times are of the gate's clock."""

    account: str
    slots: int
    in_flight: int
    waiting: dict[str, int]
    """By lane."""
    breaker: BreakerState
    open_since: float | None
    open_for: float
    """Seconds since the breaker opened first; 0 while it is closed."""
    cap: int
    """As configured."""
    present_cap: int
    """What throttling left of it, over all workers."""
    retry_tokens: float


class Gate:
    """The slots of all systems for one worker.

    `caps` gives for each system its account (`system` or `system/account`) and how many calls may be in flight
    there over all workers. `clock` counts seconds and never goes back; `seed` is for the jitter of breakers.
    """

    def __init__(
        self,
        worker: str,
        caps: Mapping[str, tuple[str, int]],
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.worker = worker
        self.hungry = asyncio.Event()
        """Somebody waits for a slot that other workers have: beat now."""
        self._clock = clock
        self._random = Random(seed)  # noqa: S311 - it spreads probes in time, nothing is kept secret by it
        self._lines: dict[str, Line] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        self.configure(caps)

    def configure(self, caps: Mapping[str, tuple[str, int]]) -> None:
        """Systems and caps of a new release; what is in flight stays."""
        for system, (account, cap) in caps.items():
            line = self._lines.get(system)
            if line is None:
                line = self._lines[system] = Line(system, account, cap, self._random)
                line.slots, line.good_until = cap, float("inf")
            line.account, line.cap = account, cap

    # ------------------------------------------------------------------ in and out

    def try_enter(self, system: str, lane: Lane, retry: bool = False) -> Ticket | None:
        """A slot in hand now, or None. Never waits and never overtakes who waits in this lane or a better one.
        Raises KeyError for a system that has no cap."""
        line, now = self._lines[system], self._clock()
        if self._closed:
            return None
        line.serve(now)
        if line.admits(lane, retry, now):
            return line.enter(lane, retry, now)
        line.miss(now)
        return None

    async def enter(self, system: str, lane: Lane, retry: bool = False) -> Ticket:
        """A slot, when it is this caller's turn. Raises Closed, KeyError for a system that has no cap."""
        if self._closed:
            raise Closed("this worker is stopping")
        line, now = self._lines[system], self._clock()
        line.serve(now)
        if line.admits(lane, retry, now):
            return line.enter(lane, retry, now)
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        number = line.wait(lane, retry, future, now)
        self._look_again(line, now)
        try:
            return await future
        except asyncio.CancelledError:
            line.go_away(lane, retry, number)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave(future.result(), None)  # the slot came just as its caller gave up
            raise

    def leave(self, ticket: Ticket, outcome: Outcome | Absent | None) -> None:
        """Free the slot. `outcome` is what the call, or the look-up, brought; None: nothing was sent.
        Raises ValueError for a ticket given back before."""
        line, now = self._lines[ticket.system], self._clock()
        line.leave(ticket, outcome, now)
        line.serve(now)
        self._look_again(line, now)

    def _look_again(self, line: Line, now: float) -> None:
        """Come back when time alone may let in who waits."""
        timer = self._timers.pop(line.system, None)
        if timer is not None:
            timer.cancel()
        at = line.changes_at(now)
        if at is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timers[line.system] = loop.call_later(max(0.001, at - now), self._on_time, line)

    def _on_time(self, line: Line) -> None:
        now = self._clock()
        line.serve(now)
        self._look_again(line, now)

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Let nobody in any more; who waits hears of it. Tickets given out stay good."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for line in self._lines.values():
            line.send_away(Closed("this worker is stopping"))

    # ------------------------------------------------------------------ what is to be seen

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(self._lines)

    @property
    def in_flight(self) -> int:
        return sum(line.in_flight for line in self._lines.values())

    def state(self, system: str) -> LineState:
        """How a system stands. Raises KeyError for one that has no cap."""
        line, now = self._lines[system], self._clock()
        since = line.breaker.open_since
        return LineState(
            account=line.account,
            slots=line.slots if now < line.good_until else 0,
            in_flight=line.in_flight,
            waiting={lane.name.lower(): line.waiting_in(lane) for lane in Lane},
            breaker=line.breaker.state,
            open_since=since,
            open_for=0.0 if since is None else now - since,
            cap=line.cap,
            present_cap=line.aim,
            retry_tokens=line.budget.tokens,
        )
