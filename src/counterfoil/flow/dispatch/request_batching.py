"""Batching: requests of one operation that are ready at the same time go out in one call; none waits for others.

It works like a group commit. A worker has at most one call per system and operation in flight. The first request goes at
once, alone if it is the only one. Requests that become ready meanwhile wait for the end of that call and then go
together, up to `OperationSpec.bulk`. A batch grows with the latency of the system. Operations and connectors without
bulk go one by one, as many at once as there are slots.

**Slots.** A slot belongs to a call, not to a request. Between calls, every waiting request asks for a slot in its own
lane. The first one that gets a slot makes the call and takes others along in order of arrival, whatever their lanes.
Those stop asking for a slot. So a request in a high lane never waits behind one in a low lane that has no slot yet.

**Duties of the caller.** The intent of every request is committed before `send`. Its bytes may leave until `send_by`,
which is checked just before the call; a late request is left out with `Unknown("not sent in time")`. To keep intents
from expiring in the queue, commit no more of them than `room` returns.

A caller that is cancelled before the call leaves withdraws its request. After that the call goes on for the others, and
a look-up finds the outcome of the withdrawn request, as after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from counterfoil.connectors.sdk import BulkConnector, Connector, OperationSpec, Outcome, Request, Unknown
from counterfoil.flow.dispatch.circuit_breaker import CallHealth, classify
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot

LATE = Unknown("not sent in time")


class SlotRequest(Protocol):
    """One request's wait for a slot of its system."""

    async def take(self) -> None:
        """Wait for a slot. After a cancellation or an error no slot is held."""
        ...

    def give_back(self, outcomes: Sequence[Outcome]) -> None:
        """Free the slot. `outcomes` are those of its call; empty if no call was made."""
        ...


class LimiterSlotRequest:
    """A slot request to this worker's limiter. A retry in another request's call costs no retry token."""

    def __init__(self, limiter: ConcurrencyLimiter, system: str, lane: Lane, retry: bool = False) -> None:
        self._limiter = limiter
        self._place = (system, lane, retry)
        self._slot: Slot | None = None

    async def take(self) -> None:
        self._slot = await self._limiter.enter(*self._place)

    def give_back(self, outcomes: Sequence[Outcome]) -> None:
        assert self._slot is not None
        self._limiter.leave(self._slot, most_significant(outcomes))
        self._slot = None


def most_significant(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome that says most about the system: throttled, else answered, else failed."""
    by_health = {classify(outcome): outcome for outcome in outcomes}
    order = (CallHealth.THROTTLED, CallHealth.ANSWERED, CallHealth.FAILED)
    return next((by_health[health] for health in order if health in by_health), None)


@dataclass(slots=True, eq=False)
class _Waiter:
    connector: Connector
    request: Request
    timeout: float
    send_by: datetime
    slot: SlotRequest
    outcome: asyncio.Future[Outcome]
    slot_task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _OperationQueue:
    """The waiting requests of one operation of one system."""

    waiting: list[_Waiter] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()


class RequestBatcher:
    """Sends requests, in batches where possible. `now` is the store's clock."""

    def __init__(self, now: Callable[[], Awaitable[datetime]]) -> None:
        self._now = now
        self._queues: dict[tuple[str, str], _OperationQueue] = {}

    def room(self, system: str, spec: OperationSpec) -> int:
        """Return how many more requests the next call can take."""
        queue = self._queues.get((system, spec.name))
        return max(0, spec.bulk - (len(queue.waiting) if queue is not None else 0))

    async def send(
        self,
        system: str,
        connector: Connector,
        spec: OperationSpec,
        request: Request,
        timeout: float,
        send_by: datetime,
        slot: SlotRequest,
    ) -> Outcome:
        """Send a request whose intent is committed. Raises only what `slot.take` or the clock raises."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(connector, request, timeout, send_by, slot, outcome)
        if spec.bulk < 2 or not isinstance(connector, BulkConnector):
            await slot.take()
            await self._call(_OperationQueue(), waiter, 1)
            return await outcome
        queue = self._queues.setdefault((system, spec.name), _OperationQueue())
        queue.waiting.append(waiter)
        waiter.slot_task = asyncio.create_task(self._take_slot(queue, waiter, spec.bulk))
        try:
            return await outcome
        finally:
            if waiter in queue.waiting:
                queue.waiting.remove(waiter)
                waiter.slot_task.cancel()

    async def _take_slot(self, queue: _OperationQueue, waiter: _Waiter, limit: int) -> None:
        """Get a slot and make a call with it, unless another call takes the request along first."""
        while True:
            await queue.idle.wait()
            try:
                await waiter.slot.take()
            except Exception as error:
                queue.waiting.remove(waiter)
                _fail(waiter, error)
                return
            if queue.idle.is_set():
                break
            # Another request got its slot first and its call had no room for this one: keep waiting.
            waiter.slot.give_back(())
        queue.idle.clear()
        queue.waiting.remove(waiter)
        try:
            await self._call(queue, waiter, limit)
        finally:
            queue.idle.set()

    async def _call(self, queue: _OperationQueue, first: _Waiter, limit: int) -> None:
        """Make one call with the slot of `first`, give the slot back and set the outcome of every request."""
        outcomes: Sequence[Outcome] = ()
        batch: list[_Waiter] = []
        try:
            loop = asyncio.get_running_loop()
            before = loop.time()
            now = await self._now()
            now += timedelta(seconds=loop.time() - before)  # the reading is this old when it is used
            for waiter in (first, *queue.waiting):
                if now >= waiter.send_by:
                    _resolve(waiter, LATE)
                elif len(batch) < limit and waiter.connector is first.connector:
                    batch.append(waiter)
            for waiter in tuple(queue.waiting):
                if waiter in batch or waiter.outcome.done():
                    queue.waiting.remove(waiter)
                    if waiter.slot_task is not None:
                        waiter.slot_task.cancel()
            if batch:
                outcomes = await _call_connector(batch)
            for waiter, outcome in zip(batch, outcomes, strict=True):
                _resolve(waiter, outcome)
        except Exception as error:
            _fail(first, error)  # an error of the clock; the other requests keep waiting
        finally:
            first.slot.give_back(outcomes)
            for waiter in batch:
                waiter.outcome.cancel()  # no effect where the outcome is set; otherwise the worker is stopping


async def _call_connector(waiters: Sequence[_Waiter]) -> Sequence[Outcome]:
    """Return one outcome per request, in order, whatever the connector does."""
    connector, timeout = waiters[0].connector, min(waiter.timeout for waiter in waiters)
    try:
        if len(waiters) == 1:
            return [await connector.send(waiters[0].request, timeout)]
        assert isinstance(connector, BulkConnector)
        outcomes = await connector.send_many([waiter.request for waiter in waiters], timeout)
    except Exception as error:
        # A defect of the connector: bytes may have left for each of them.
        return [Unknown(f"the connector failed: {error!r}")] * len(waiters)
    if len(outcomes) != len(waiters):
        message = f"the connector returned {len(outcomes)} outcomes for {len(waiters)} requests"
        return [Unknown(message)] * len(waiters)
    return outcomes


def _resolve(waiter: _Waiter, outcome: Outcome) -> None:
    if not waiter.outcome.done():  # otherwise its caller was cancelled
        waiter.outcome.set_result(outcome)


def _fail(waiter: _Waiter, error: Exception) -> None:
    if not waiter.outcome.done():
        waiter.outcome.set_exception(error)
