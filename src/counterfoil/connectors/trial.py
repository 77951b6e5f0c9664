"""How the conformance suite talks to a connector: nothing that a connector does may stop it, all is kept as a result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from counterfoil.connectors import faults
from counterfoil.connectors.samples import OperationSample, Result, Samples
from counterfoil.connectors.sdk import (
    Absent,
    Accepted,
    BulkConnector,
    Confirmed,
    Connector,
    Finding,
    OperationSpec,
    Outcome,
    Rejected,
    Request,
    Unknown,
)
from counterfoil.core.errors import ErrorClass, TryAgain

_T = TypeVar("_T")
GRACE_SECONDS = 2.0
"""Seconds that a call may overrun its timeout before it counts as not honouring it."""
MAX_WRITES = 20
"""More writes than this in one operation are not one operation."""


@dataclass(slots=True)
class Trial:
    """A connector on trial, and what was found so far."""

    connector: Connector
    samples: Samples
    results: list[Result] = field(default_factory=list)

    def say(self, check: str, where: str, passed: bool, message: object = "") -> bool:
        self.results.append(Result(check, where, passed, "" if passed else str(message)))
        return passed

    def after_write(self, check: str, spec: OperationSpec, seen: faults.RequestLog, outcome: object) -> None:
        # An operation that reads first may give up before anything was written: that is proof.
        proof = not seen.writes and is_refused(outcome, ErrorClass.TRANSIENT)
        self.say(check, spec.name, proof or isinstance(outcome, Unknown), f"{outcome} after {seen.methods}")

    @asynccontextmanager
    async def towards(self, url: str) -> AsyncIterator[Connector]:
        """The same connector, configured towards another server; the path of the system's url is kept."""
        base = urlsplit(self.samples.config.url)
        moved = urlunsplit(base._replace(scheme="http", netloc=urlsplit(url).netloc))
        connector = self.samples.connect(replace(self.samples.config, url=moved))
        try:
            yield connector
        finally:
            await connector.close()

    async def request(self, spec: OperationSpec, sample: OperationSample) -> Request:
        return Request(spec.name, self.samples.new_key(), await sample.valid())

    async def send(
        self, connector: Connector, request: Request, timeout: float | None = None
    ) -> Outcome | None:
        return await self.quietly(request, "send", connector.send(request, timeout or self.samples.timeout))

    async def send_many(
        self, connector: Connector, requests: Sequence[Request], timeout: float | None = None
    ) -> list[Outcome] | None:
        """One outcome each, or None when that is not what came."""
        assert isinstance(connector, BulkConnector)
        call = connector.send_many(requests, timeout or self.samples.timeout)
        outcomes = await self.quietly(requests[0], "send_many", call)
        where, there = requests[0].operation, -1 if outcomes is None else len(outcomes)
        right = self.say("as many outcomes as requests", where, there == len(requests), outcomes)
        return list(outcomes) if right and outcomes is not None else None

    async def find(
        self, connector: Connector, request: Request, timeout: float | None = None
    ) -> Finding | None:
        return await self.quietly(request, "find", connector.find(request, timeout or self.samples.timeout))

    async def quietly(self, request: Request, method: str, call: Awaitable[_T]) -> _T | None:
        try:
            return await call
        except Exception as error:
            self.say(f"{method} never raises", request.operation, False, repr(error))
            return None

    async def settled(self, connector: Connector, request: Request) -> Outcome | Finding | None:
        return await self.settle(request, await self.send(connector, request))

    async def settle(self, request: Request, outcome: Outcome | None) -> Outcome | Finding | None:
        """What came of a request in the end, where a job took it."""
        return await self.find_settled(request) if isinstance(outcome, Accepted) else outcome

    async def find_settled(self, request: Request) -> Finding | None:
        deadline = time.monotonic() + self.samples.patience
        while True:
            found = await self.find(self.connector, request)
            if not isinstance(found, Absent) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.1)

    async def counted(
        self, spec: OperationSpec, sample: OperationSample, request: Request, want: int
    ) -> None:
        if sample.count is not None:
            there = await sample.count(request)
            self.say("one request makes one object", spec.name, there == want, f"there are {there}")

    async def raises_try_again(self, check: str, where: str, call: Awaitable[object]) -> None:
        name = f"{check} says try again when nobody is there"
        try:
            answer = await call
            self.say(name, where, False, f"answered {answer}")
        except TryAgain:
            self.say(name, where, True)
        except Exception as error:
            self.say(name, where, False, f"raised {error!r}")


def identity(outcome: Confirmed, sample: OperationSample) -> dict[str, Any]:
    return {name: outcome.result.get(name) for name in sample.same}


def same(outcome: object, sample: OperationSample, made: Mapping[str, Any]) -> bool:
    return isinstance(outcome, Confirmed) and identity(outcome, sample) == made


def is_refused(outcome: object, *classes: ErrorClass) -> bool:
    """Refused, and for one of these classes where some are named."""
    return isinstance(outcome, Rejected) and (not classes or outcome.error_class in classes)


def has_float(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(has_float(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(has_float(part) for part in value)
    return isinstance(value, float)
