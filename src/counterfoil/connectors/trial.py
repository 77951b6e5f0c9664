"""Calls of the conformance suite to a connector. Every fault of the connector becomes a result; none stops the suite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
    Repeat,
    Request,
    Unknown,
)
from counterfoil.core.errors import ErrorClass

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

    @asynccontextmanager
    async def configured_for(self, url: str) -> AsyncIterator[Connector]:
        """Yield the connector configured for another server."""
        connector = self.samples.connect(self.samples.moved(self.samples.config, url))
        try:
            yield connector
        finally:
            await connector.close()


class OperationTrial:
    """One write operation under test. Calls go to the connector under test, or to one `at` a bad server."""

    def __init__(self, trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
        self.suite, self.samples = trial, trial.samples
        self.spec, self.sample = spec, sample
        self.blind = spec.repeat is Repeat.BLIND
        self.repeatable = spec.repeat in (Repeat.KEY, Repeat.UNIQUE, Repeat.STATE)

    def record(self, check: str, passed: bool, message: object = "", where: str = "") -> bool:
        return self.suite.record(check, where or self.spec.name, passed, message)

    def record_after_write(self, check: str, log: faults.RequestLog, outcome: object) -> None:
        # An operation that reads first may stop before its first write: that is proof.
        proof = not log.writes and is_refused(outcome, ErrorClass.TRANSIENT)
        self.record(check, proof or isinstance(outcome, Unknown), f"{outcome} after {log.methods}")

    def record_repeat(
        self, check: str, outcome: object, settled: object, expected: Mapping[str, Any]
    ) -> None:
        """Record whether a repeat changed nothing: it has the same result, or is refused as already done."""
        refused = self.spec.repeat is Repeat.UNIQUE and is_refused(outcome, ErrorClass.ALREADY_DONE)
        self.record(check, refused or self.is_same(settled, expected), outcome)

    async def request(self) -> Request:
        return self.request_of(await self.sample.valid())

    def request_of(self, body: bytes) -> Request:
        return Request(self.spec.name, self.samples.new_key(), body)

    async def send(
        self, request: Request, at: Connector | None = None, timeout: float | None = None
    ) -> Outcome | None:
        call = (at or self.suite.connector).send(request, timeout or self.samples.timeout)
        return await self._catch("send", call)

    async def send_many(
        self, requests: Sequence[Request], at: Connector | None = None, timeout: float | None = None
    ) -> list[Outcome] | None:
        """Return one outcome for each request, or None if the connector returned another number."""
        connector = at or self.suite.connector
        assert isinstance(connector, BulkConnector)
        call = connector.send_many(requests, timeout or self.samples.timeout)
        outcomes = await self._catch("send_many", call)
        count = -1 if outcomes is None else len(outcomes)
        complete = self.record("as many outcomes as requests", count == len(requests), outcomes)
        return list(outcomes) if complete and outcomes is not None else None

    async def find(
        self, request: Request, at: Connector | None = None, timeout: float | None = None
    ) -> Finding | None:
        call = (at or self.suite.connector).find(request, timeout or self.samples.timeout)
        return await self._catch("find", call)

    async def _catch(self, method: str, call: Awaitable[_T]) -> _T | None:
        try:
            return await call
        except Exception as error:
            self.record(f"{method} never raises", False, repr(error))
            return None

    async def send_settled(self, request: Request) -> Outcome | Finding | None:
        return await self.settle(request, await self.send(request))

    async def settle(self, request: Request, outcome: Outcome | None) -> Outcome | Finding | None:
        """Return the final outcome: that of a look-up if a job took the request."""
        return await self.find_settled(request) if isinstance(outcome, Accepted) else outcome

    async def find_settled(self, request: Request) -> Finding | None:
        deadline = time.monotonic() + self.samples.patience
        while True:
            finding = await self.find(request)
            if not isinstance(finding, Absent) or time.monotonic() > deadline:
                return finding
            await asyncio.sleep(0.1)

    async def check_count(self, request: Request) -> None:
        if self.sample.count is not None:
            count = await self.sample.count(request)
            self.record("one request makes one object", count == 1, f"there are {count}")

    def identity(self, outcome: Confirmed) -> dict[str, Any]:
        return {name: outcome.result.get(name) for name in self.sample.same}

    def is_same(self, outcome: object, expected: Mapping[str, Any]) -> bool:
        return isinstance(outcome, Confirmed) and self.identity(outcome) == expected


def is_refused(outcome: object, *classes: ErrorClass) -> bool:
    """Return whether the outcome is a refusal, in one of `classes` if any are named."""
    return isinstance(outcome, Rejected) and (not classes or outcome.error_class in classes)


def is_final(outcome: object) -> bool:
    """Return whether the outcome is a refusal that the same request would get again."""
    return is_refused(outcome) and not is_refused(outcome, ErrorClass.TRANSIENT, ErrorClass.THROTTLED)
