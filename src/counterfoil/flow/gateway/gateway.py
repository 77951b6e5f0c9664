"""A consumer's call of an exposed Operation, from its idempotency key to its answer.

A read is sent to its system; a write is done by its workflow alone, as a Run. One transaction claims the key with
everything that the call starts, another stores the answer. A repeat of the call, or a retry after this process died,
gets the same call and never a second one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.connectors.sdk import Connector
from counterfoil.contracts import versions
from counterfoil.core import wire
from counterfoil.core.call import CallRate, OperationCall
from counterfoil.core.case import Case
from counterfoil.core.errors import TryAgain
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter
from counterfoil.flow.gateway import calls, placement
from counterfoil.flow.gateway.entities import entity_of_call
from counterfoil.flow.gateway.results import RunResults
from counterfoil.flow.gateway.system_reads import SystemReader
from counterfoil.flow.gateway.workflow_previews import WorkflowPreviewer
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.model import Model, kinds
from counterfoil.rules.json_values import typed
from counterfoil.rules.versions import ServingOperation
from counterfoil.store.port.calls import AnswerCall, PlaceCall, PlaceCallResult, verdict_on_key
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.store import Store

NoteUse = Callable[[str, str, str, datetime], Any]
"""Count a use of an operation's version: operation, `calls`, the caller, time."""


class Gateway:
    """Answers calls for one process. Any number of processes may share a store."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        limiter: ConcurrencyLimiter,
        intake: Intake,
        stopping: Callable[[], bool] = lambda: False,
        note_use: NoteUse = lambda *_: None,
    ) -> None:
        """`stopping` returns True when this process is about to end; waiting calls then return at once."""
        self._store, self._releases, self._intake = store, releases, intake
        self._note_use = note_use
        self._results = RunResults(store, releases, stopping)
        self._reader = SystemReader(store, connectors, limiter, WorkflowPreviewer(store, releases))
        self.counts: Counter[tuple[str, str]] = Counter()
        """Calls answered by this process, by operation and outcome word."""

    # ------------------------------------------------------------------ calls

    async def call(self, request: calls.OperationRequest, render: calls.Render) -> calls.CallResponse:
        """Answer a call. A used key gets its first answer again.

        Raises CallRefused, Misconfigured, and TryAgain, after which the key is free.
        """
        try:
            answered, word = await self._call(request, render)
        except calls.CallRefused as refused:
            self._count(request.operation, refused.kind)
            raise
        except TryAgain:
            self._count(request.operation, "unavailable")
            raise
        self._count(request.operation, word)
        return answered

    def _count(self, operation: str, word: str) -> None:
        label = operation if operation in self._releases.present.operations else "other"
        self.counts[label, word] += 1

    async def _call(
        self, request: calls.OperationRequest, render: calls.Render
    ) -> tuple[calls.CallResponse, str]:
        now = await self._store.now()
        digest = wire.digest([request.operation, request.input])
        earlier = await self._store.call(request.consumer, request.family, request.key)
        if earlier is not None and earlier.digest == digest and earlier.status is not None:
            return _repeat_reply(earlier), "repeated"
        model, rate = self._releases.present, None  # one Release for the whole call
        if earlier is None:
            served = placement.served_version(model, request.operation)
            place, rate = await self._place(model, served, request, digest, now)
        else:
            place = placement.claim(request, digest, now, placement.max_seconds(model, request))
            stands = verdict_on_key(earlier, place)
            if stands in ("changed", "busy"):
                raise placement.refusal(PlaceCallResult(verdict=stands, call=earlier), request, rate, now)
        placed = await self._store.apply(place)
        if placed.verdict == "answered":
            assert placed.call is not None
            return _repeat_reply(placed.call), "repeated"
        if placed.verdict == "outdated":
            raise TryAgain(f"release {model.digest[:12]} is no longer active", after=1.0)
        if placed.verdict not in ("new", "taken"):
            raise placement.refusal(placed, request, rate, now)
        assert placed.call is not None
        if earlier is None and placed.verdict == "new":
            self._note_use(served.requested, "calls", f"person:{request.consumer}", now)
        reply, word = await self._answer(model, request, placed.call, render, now)
        return calls.CallResponse(reply=reply, rate=rate, left=placed.left), word

    async def _place(
        self,
        model: Model,
        served: ServingOperation,
        request: calls.OperationRequest,
        digest: str,
        now: datetime,
    ) -> tuple[PlaceCall, CallRate]:
        """Return the claim of a new call, after all checks that need no claim."""
        grants = calls.Grants.of(model, request.roles)
        if not grants.allow(served):
            raise calls.CallRefused("unknown", placement.UNKNOWN)
        value = placement.check_input(model, served, grants, request)
        operation = model.operations[served.by]
        rate = placement.rate_of(model, served)
        if isinstance(operation.exposes, dict):
            excess = await self._intake.over()
            if excess:
                self._intake.refuse(excess)
            place = placement.claim(request, digest, now, request.seconds)
            place = await placement.add_start(self._store, model, served, request, value, place)
        else:
            await entity_of_call(self._store, model, value, request.scope)
            place = placement.claim(request, digest, now, kinds.seconds(operation.timeout))
        return msgspec.structs.replace(place, rate=rate, release=model.digest), rate

    async def _answer(
        self,
        model: Model,
        request: calls.OperationRequest,
        call: OperationCall,
        render: calls.Render,
        now: datetime,
    ) -> tuple[calls.StoredReply, str]:
        """Answer a call that this process holds, and store the answer."""
        try:
            outcome = await self._outcome(model, request, call, now)
        except Exception:
            # The store holds everything that was done: a retry continues the call from there.
            await self._store_answer(call, None, ())
            raise
        reply = render(outcome)
        if not await self._store_answer(call, reply, calls.cases_of(outcome)):
            current = await self._store.call(call.consumer, call.operation, call.key)
            if current is None or current.status is None:
                raise calls.CallRefused("busy", "Another process answers this call. Retry.", after=1.0)
            return _repeat_reply(current).reply, "repeated"
        return reply, outcome.word

    async def _outcome(
        self, model: Model, request: calls.OperationRequest, call: OperationCall, now: datetime
    ) -> calls.Outcome:
        if call.run is not None:
            loaded = await self._store.load(call.run)
            model = await self._releases.model(loaded.run.pin) if loaded is not None else model
        context = _context(model, request.operation, request.input, call.receipt, now)
        if call.run is None:
            entity = await entity_of_call(self._store, model, context.input, request.scope)
            return await self._reader.read(
                msgspec.structs.replace(context, model=model.at(entity, now.date())), entity
            )
        return await self._results.wait(call.run, context, request.seconds, request.wait is not None)

    async def _store_answer(
        self, call: OperationCall, reply: calls.StoredReply | None, cases: tuple[Case, ...]
    ) -> bool:
        """Store the answer, or give the key free where there is none. False if another process took the call over."""
        return await self._store.apply(
            AnswerCall(
                consumer=call.consumer,
                operation=call.operation,
                key=call.key,
                holder=call.holder,
                status=None if reply is None else reply.status,
                headers={} if reply is None else reply.headers,
                body=b"" if reply is None else reply.body,
                cases=cases,
                at=await self._store.now(),
                actor="gateway",
            )
        )

    # ------------------------------------------------------------------ progress of a Run

    async def of_run(self, request: calls.OperationRequest, run: str) -> calls.Outcome:
        """Return the progress of a Run that a call of this consumer started. Raises CallRefused `unknown`."""
        call = await self._store.call_of_run(run)
        if call is None or (call.consumer, call.operation) != (request.consumer, request.family):
            raise calls.CallRefused("unknown", "None of your calls started this Run.")
        receipt, loaded = await self._store.receipt(call.receipt), await self._store.load(run)
        assert receipt is not None
        assert loaded is not None
        now = await self._store.now()
        model = await self._releases.model(loaded.run.pin)
        name = versions.operation(call.operation, call.version)
        context = _context(model, name, wire.read_json(receipt.body), call.receipt, now)
        outcome = await self._results.wait(run, context, request.wait or 0.0, patient=True)
        cases = calls.cases_of(outcome)
        if cases:
            await self._store.apply(OpenCases(cases=cases, at=now, actor="gateway"))
        return outcome


def _context(model: Model, operation: str, value: Any, receipt: int, now: datetime) -> calls.CallInProgress:
    served = placement.served_version(model, operation)
    schema = model.schema_of_operation(served.requested, "input")
    return calls.CallInProgress(
        model=model, served=served, input=typed(value, schema), receipt=receipt, at=now
    )


def _repeat_reply(call: OperationCall) -> calls.CallResponse:
    assert call.status is not None
    reply = calls.StoredReply(status=call.status, headers=call.headers, body=call.body)
    return calls.CallResponse(reply=reply, repeated=True)
