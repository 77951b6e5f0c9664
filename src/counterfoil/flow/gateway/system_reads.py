"""Reads of exposed Operations: ask the system at once, within its limits, and return the answer in canonical form.

Never used for an operation that writes: a workflow's Run alone does that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from counterfoil.connectors.sdk import Confirmed, Connector, Rejected
from counterfoil.connectors.sdk import Outcome as CallOutcome
from counterfoil.core.errors import RETRIED_CLASSES, ErrorClass, Misconfigured, TryAgain
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane
from counterfoil.flow.gateway.calls import CallInProgress, Outcome, ReadAnswer, Unanswerable
from counterfoil.flow.gateway.results import BadOutput, bad_output, conform, downcast
from counterfoil.flow.gateway.workflow_previews import WorkflowPreviewer
from counterfoil.flow.runs.effects import read_outcome
from counterfoil.model import kinds
from counterfoil.rules import mapping
from counterfoil.rules.mapping import MappingFailed, UnresolvedLink
from counterfoil.rules.versions import CastFailed, upcast_input
from counterfoil.store.port.store import Store

CONNECTOR_GRACE_SECONDS = 1.0
"""Time that a connector has to notice its own time-out."""


class SystemReader:
    """Sends reads to systems, each in a slot of its system."""

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        limiter: ConcurrencyLimiter,
        previewer: WorkflowPreviewer | None = None,
    ) -> None:
        self._store, self._connectors, self._limiter = store, connectors, limiter
        self._previewer = previewer

    async def read(self, context: CallInProgress, entity: str = "") -> Outcome:
        """Return a system's answer, or a workflow's on paper. Raises TryAgain if the system cannot answer now."""
        model, served = context.model, context.served
        operation = model.operations[served.by]
        if operation.exposes != "read" or operation.repeat != "read":
            raise Misconfigured(f"{operation.name} is not exposed to be read")
        try:
            value = upcast_input(served, context.input)
            request = await self._render(context, value)
        except (CastFailed, BadOutput) as error:
            return bad_output(model, context, str(error))
        if isinstance(request, UnresolvedLink):
            return Unanswerable(kind="absent", detail=request.message)
        outbound = model.outbound(operation.name)
        if outbound is not None and outbound.previews is not None:
            if self._previewer is None:
                raise Misconfigured(f"{operation.name} is answered by a workflow, and only for consumers")
            try:
                answer = await self._previewer.preview(
                    context, entity, outbound.previews, request, self._send
                )
            except BadOutput as error:
                return bad_output(model, context, str(error))
        else:
            answer = await self._send(operation, request)
        if isinstance(answer, Rejected):
            return _answer_refusal(operation, answer)
        assert isinstance(answer, Confirmed)
        try:
            output = await self._take_result(context, value, dict(answer.result))
            output = downcast(model, context, conform(model, operation.name, output))
        except BadOutput as error:
            return bad_output(model, context, str(error))
        return ReadAnswer(output=output)

    async def _render(self, context: CallInProgress, value: Any) -> bytes | UnresolvedLink:
        outbound = context.model.outbound(context.served.by)
        lookups = Lookups(self._store, context.model, context.at)
        answers = lookups.answers
        request = await lookups.complete(partial(mapping.render, outbound, value, {}, {}, "", answers))
        if isinstance(request, MappingFailed):
            raise BadOutput(request.message)
        return request

    async def _send(self, operation: kinds.Operation, request: bytes) -> CallOutcome:
        """Make one call in a slot. The wait for the slot counts against the operation's time-out."""
        connector = self._connectors.get(operation.system)
        seconds = kinds.seconds(operation.timeout)
        if connector is None:
            raise TryAgain(f"{operation.system} has no connector in this process", after=60.0)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        try:
            async with asyncio.timeout_at(until):
                slot = await self._limiter.enter(operation.system, Lane.LIVE)
        except TimeoutError:
            raise TryAgain(f"{operation.system} has no free slot, or does not answer", after=5.0) from None
        answer: CallOutcome | None = None
        try:
            async with asyncio.timeout_at(until + CONNECTOR_GRACE_SECONDS):
                left = max(0.1, until - loop.time())
                answer = await read_outcome(connector, operation.name, request, left)
        except TimeoutError:
            answer = Rejected(ErrorClass.TRANSIENT, f"no answer within {seconds:g} s")
        finally:
            self._limiter.leave(slot, answer)
        return answer

    async def _take_result(self, context: CallInProgress, value: Any, result: dict[str, Any]) -> Any:
        outbound = context.model.outbound(context.served.by)
        lookups = Lookups(self._store, context.model, context.at)
        answers = lookups.answers
        answer = await lookups.complete(partial(mapping.take_result, outbound, value, result, answers))
        if isinstance(answer, MappingFailed):
            raise BadOutput(answer.message)
        if answer.differs:
            raise BadOutput("; ".join(answer.differs))
        return {name: part for name, part in answer.result.items() if part is not None}


def _answer_refusal(operation: kinds.Operation, answer: Rejected) -> Outcome:
    if answer.error_class in RETRIED_CLASSES:
        raise TryAgain(f"{operation.system}: {answer.message}", after=answer.retry_after)
    if answer.error_class is ErrorClass.NOT_FOUND:
        return Unanswerable(kind="absent", detail=f"{operation.system}: {answer.message}")
    return Unanswerable(kind="system-refused", detail=f"{operation.system} refused it: {answer.error_class}")
