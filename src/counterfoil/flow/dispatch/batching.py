"""Gathers requests of one operation that are ready at the same time into one call, and never holds one back for it.

It works as a group commit does. At most one call per system and operation is under way in a worker; the first request
goes at once, alone if it is alone; those that become ready meanwhile wait for the end of that call and then go together,
as many as the operation takes (`OperationSpec.bulk`). So a batch is as large as the system is slow, and nobody waits for
company. Operations and connectors without bulk go one by one, as many at once as there are slots.

**Slots.** A slot of the gate belongs to a call, not to a request. Between calls every waiting request asks for a slot in
its own lane; the first one that gets one makes the call and takes the others along in order of arrival, whatever their
lanes: a ride takes no slot from anybody. Those that ride stop asking. So a request in a good lane never waits behind one
in a bad lane that is still asking.

**What the caller owes.** The intent of every request is committed before it comes here, and `send_by` says until when
its bytes may leave: that is looked at just before the call, for each rider; who is late is left behind and told
`Unknown("not sent in time")`. To keep intents from growing old in the queue, write no more of them than `room` tells.

A caller that is cancelled before the call leaves takes its request with it. Afterwards the call goes on for the others,
and what it brought for the request that nobody waits for is found by a look-up, like after a crash.
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
    """One request's claim to a slot of its system's gate."""

    async def take(self) -> None:
        """Wait for a slot. When this is cancelled, or raises, no slot is held."""
        ...

    def give_back(self, outcomes: Sequence[Outcome]) -> None:
        """Free the slot; `outcomes` of the call that was made with it, none when none was made."""
        ...


class LimiterSlotRequest:
    """A claim at the gate of this worker. A retry that rides costs no token of the retry budget: it adds no call."""

    def __init__(self, gate: ConcurrencyLimiter, system: str, lane: Lane, retry: bool = False) -> None:
        self._gate = gate
        self._place = (system, lane, retry)
        self._ticket: Slot | None = None

    async def take(self) -> None:
        self._ticket = await self._gate.enter(*self._place)

    def give_back(self, outcomes: Sequence[Outcome]) -> None:
        assert self._ticket is not None
        self._gate.leave(self._ticket, telling(outcomes))
        self._ticket = None


def telling(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The outcome of a call that tells most about its system: throttled, else that it answered, else that it failed."""
    by_kind = {classify(outcome): outcome for outcome in outcomes}
    return (
        by_kind.get(CallHealth.THROTTLED)
        or by_kind.get(CallHealth.ANSWERED)
        or by_kind.get(CallHealth.FAILED)
    )


@dataclass(slots=True, eq=False)
class _Waiter:
    connector: Connector
    request: Request
    timeout: float
    send_by: datetime
    slot: SlotRequest
    outcome: asyncio.Future[Outcome]
    asking: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _OperationQueue:
    """The requests of one operation of one system."""

    waiting: list[_Waiter] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()


class RequestBatcher:
    """Sends requests, together where that is possible. `now` is the store's clock."""

    def __init__(self, now: Callable[[], Awaitable[datetime]]) -> None:
        self._now = now
        self._lines: dict[tuple[str, str], _OperationQueue] = {}

    def room(self, system: str, spec: OperationSpec) -> int:
        """How many more requests the next call can take."""
        line = self._lines.get((system, spec.name))
        return max(0, spec.bulk - (len(line.waiting) if line is not None else 0))

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
        """The outcome of a request whose intent is committed. Raises only what `slot.take` or the clock raises."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        rider = _Waiter(connector, request, timeout, send_by, slot, outcome)
        if spec.bulk < 2 or not isinstance(connector, BulkConnector):
            await slot.take()
            await self._call(_OperationQueue(), rider, 1)
            return await outcome
        line = self._lines.setdefault((system, spec.name), _OperationQueue())
        line.waiting.append(rider)
        rider.asking = asyncio.create_task(self._ask(line, rider, spec.bulk))
        try:
            return await outcome
        finally:
            if rider in line.waiting:
                line.waiting.remove(rider)
                rider.asking.cancel()

    async def _ask(self, line: _OperationQueue, rider: _Waiter, most: int) -> None:
        """Get a slot and make a call with it, unless another call takes the rider along first."""
        while True:
            await line.idle.wait()
            try:
                await rider.slot.take()
            except Exception as error:
                line.waiting.remove(rider)
                _fail(rider, error)
                return
            if line.idle.is_set():
                break
            # Another one was quicker and its call had no place for this one: wait with the rest.
            rider.slot.give_back(())
        line.idle.clear()
        line.waiting.remove(rider)
        try:
            await self._call(line, rider, most)
        finally:
            line.idle.set()

    async def _call(self, line: _OperationQueue, first: _Waiter, most: int) -> None:
        """Make one call with the slot of `first`, give the slot back and tell everybody what came of it."""
        outcomes: Sequence[Outcome] = ()
        going: list[_Waiter] = []
        try:
            loop = asyncio.get_running_loop()
            asked = loop.time()
            now = await self._now()
            now += timedelta(seconds=loop.time() - asked)  # the reading is as old as that, when it is used
            for rider in (first, *line.waiting):
                if now >= rider.send_by:
                    _tell(rider, LATE)
                elif len(going) < most and rider.connector is first.connector:
                    going.append(rider)
            for rider in tuple(line.waiting):
                if rider in going or rider.outcome.done():
                    line.waiting.remove(rider)
                    if rider.asking is not None:
                        rider.asking.cancel()
            if going:
                outcomes = await _made(going)
            for rider, outcome in zip(going, outcomes, strict=True):
                _tell(rider, outcome)
        except Exception as error:
            _fail(first, error)  # the clock's; the others ask on
        finally:
            first.slot.give_back(outcomes)
            for rider in going:
                rider.outcome.cancel()  # nothing where it has been told; else the worker is being stopped


async def _made(riders: Sequence[_Waiter]) -> Sequence[Outcome]:
    """One outcome each, in order, whatever the connector does."""
    connector, timeout = riders[0].connector, min(rider.timeout for rider in riders)
    try:
        if len(riders) == 1:
            return [await connector.send(riders[0].request, timeout)]
        assert isinstance(connector, BulkConnector)
        outcomes = await connector.send_many([rider.request for rider in riders], timeout)
    except Exception as error:
        # A defect of the connector: bytes may have left for each of them.
        return [Unknown(f"the connector failed: {error!r}")] * len(riders)
    if len(outcomes) != len(riders):
        said = f"the connector answered {len(outcomes)} outcomes for {len(riders)} requests"
        return [Unknown(said)] * len(riders)
    return outcomes


def _tell(rider: _Waiter, outcome: Outcome) -> None:
    if not rider.outcome.done():  # else nobody waits for it any more
        rider.outcome.set_result(outcome)


def _fail(rider: _Waiter, error: Exception) -> None:
    if not rider.outcome.done():
        rider.outcome.set_exception(error)
