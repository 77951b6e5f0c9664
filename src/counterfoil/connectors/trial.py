"""Calls of the conformance suite to a connector. Every fault of the connector becomes a result; none stops the suite."""

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
"""Time by which a call may exceed its timeout."""
MAX_WRITES = 20
"""Limit for the writes of one operation."""


@dataclass(slots=True)
class Trial:
    """A connector under test, and the results so far."""

    connector: Connector
    samples: Samples
    results: list[Result] = field(default_factory=list)

    def record(self, check: str, where: str, passed: bool, message: object = "") -> bool:
        self.results.append(Result(check, where, passed, "" if passed else str(message)))
        return passed

    def record_after_write(
        self, check: str, spec: OperationSpec, log: faults.RequestLog, outcome: object
    ) -> None:
        # An operation that reads first may stop before its first write: that is proof.
        proof = not log.writes and is_refused(outcome, ErrorClass.TRANSIENT)
        self.record(check, spec.name, proof or isinstance(outcome, Unknown), f"{outcome} after {log.methods}")

    @asynccontextmanager
    async def configured_for(self, url: str) -> AsyncIterator[Connector]:
        """Yield the connector configured for another server, with the same path in its url."""
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
        return await self.catch(request, "send", connector.send(request, timeout or self.samples.timeout))

    async def send_many(
        self, connector: Connector, requests: Sequence[Request], timeout: float | None = None
    ) -> list[Outcome] | None:
        """Return one outcome for each request, or None if the connector returned another number."""
        assert isinstance(connector, BulkConnector)
        call = connector.send_many(requests, timeout or self.samples.timeout)
        outcomes = await self.catch(requests[0], "send_many", call)
        where, count = requests[0].operation, -1 if outcomes is None else len(outcomes)
        complete = self.record("as many outcomes as requests", where, count == len(requests), outcomes)
        return list(outcomes) if complete and outcomes is not None else None

    async def find(
        self, connector: Connector, request: Request, timeout: float | None = None
    ) -> Finding | None:
        return await self.catch(request, "find", connector.find(request, timeout or self.samples.timeout))

    async def catch(self, request: Request, method: str, call: Awaitable[_T]) -> _T | None:
        try:
            return await call
        except Exception as error:
            self.record(f"{method} never raises", request.operation, False, repr(error))
            return None

    async def send_settled(self, connector: Connector, request: Request) -> Outcome | Finding | None:
        return await self.settle(request, await self.send(connector, request))

    async def settle(self, request: Request, outcome: Outcome | None) -> Outcome | Finding | None:
        """Return the final outcome: that of a look-up if a job took the request."""
        return await self.find_settled(request) if isinstance(outcome, Accepted) else outcome

    async def find_settled(self, request: Request) -> Finding | None:
        deadline = time.monotonic() + self.samples.patience
        while True:
            finding = await self.find(self.connector, request)
            if not isinstance(finding, Absent) or time.monotonic() > deadline:
                return finding
            await asyncio.sleep(0.1)

    async def check_count(
        self, spec: OperationSpec, sample: OperationSample, request: Request, expected: int
    ) -> None:
        if sample.count is not None:
            count = await sample.count(request)
            self.record("one request makes one object", spec.name, count == expected, f"there are {count}")

    async def check_raises_try_again(self, check: str, where: str, call: Awaitable[object]) -> None:
        name = f"{check} raises TryAgain if the system is unreachable"
        try:
            answer = await call
            self.record(name, where, False, f"answered {answer}")
        except TryAgain:
            self.record(name, where, True)
        except Exception as error:
            self.record(name, where, False, f"raised {error!r}")


def identity(outcome: Confirmed, sample: OperationSample) -> dict[str, Any]:
    return {name: outcome.result.get(name) for name in sample.same}


def same(outcome: object, sample: OperationSample, expected: Mapping[str, Any]) -> bool:
    return isinstance(outcome, Confirmed) and identity(outcome, sample) == expected


def is_refused(outcome: object, *classes: ErrorClass) -> bool:
    """Return whether the outcome is a refusal, in one of `classes` if any are named."""
    return isinstance(outcome, Rejected) and (not classes or outcome.error_class in classes)


def has_float(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(has_float(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(has_float(part) for part in value)
    return isinstance(value, float)
