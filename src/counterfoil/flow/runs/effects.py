"""Sending of effects: the intent is committed before a byte leaves, the outcome after.

A row in state `sending` may have been sent. After a restart it is looked up (`reconciler`), never sent again blindly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from counterfoil.connectors import sdk
from counterfoil.contracts.versions import known_as
from counterfoil.core import wire
from counterfoil.core.effect import Effect
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot
from counterfoil.flow.dispatch.request_batching import LimiterSlotRequest, RequestBatcher
from counterfoil.flow.runs.outcomes import NOT_SENT, EffectContext, OutcomeRecorder, load_context
from counterfoil.flow.runs.turn_rows import next_send
from counterfoil.model.definition import OperationDefinition
from counterfoil.store.port.effects import Intent, ResendUnknown, SendAttempt
from counterfoil.store.port.store import Store


class EffectSender:
    """Sends effects for one worker. Every call takes a slot of its system."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, sdk.Connector],
        worker: str,
        limiter: ConcurrencyLimiter,
        recorder: OutcomeRecorder,
    ) -> None:
        self._store, self._releases, self._connectors = store, releases, connectors
        self._actor, self._worker = f"worker:{worker}", worker
        self._limiter, self._recorder = limiter, recorder
        self._batcher = RequestBatcher(store.now)
        self._places: dict[tuple[str, str], asyncio.Semaphore] = {}
        """Bound on intents that wait for a batch, by system and operation."""

    def is_batched(self, system: str, operation: str) -> bool:
        """Return True if the connector can send several calls of the operation in one request."""
        return self._spec(system, operation).bulk > 1

    def _spec(self, system: str, operation: str) -> sdk.OperationSpec:
        connector = self._connectors.get(system)
        if connector is None:
            return sdk.OperationSpec(operation, sdk.Repeat.BLIND)
        name = known_as(operation, connector.operations)
        return connector.operations.get(name) or sdk.OperationSpec(operation, sdk.Repeat.BLIND)

    async def send(self, context: EffectContext, effect: Effect) -> tuple[SendAttempt, sdk.Outcome] | None:
        """Wait for a slot, commit the intent of a planned effect and make the call.

        None if the effect may no longer be sent. Raises LimiterClosed if this worker is being stopped; another
        worker sends it then.
        """
        retry = effect.attempt > 0
        lane = Lane(max(effect.lane, Lane.RETRY) if retry else effect.lane)
        if self.is_batched(effect.system, effect.operation):
            request = LimiterSlotRequest(self._limiter, effect.system, lane, retry)
            return await self._send_batched(context, effect, request)
        slot = await self._limiter.enter(effect.system, lane, retry)
        outcome: sdk.Outcome | None = None
        try:
            send = await self._commit_intent(context, effect)
            if send is not None:
                outcome = await self.call(context, effect, send, slot)
        finally:
            self.leave(slot, outcome)
        return None if send is None or outcome is None else (send, outcome)

    async def _send_batched(
        self, context: EffectContext, effect: Effect, slot: LimiterSlotRequest
    ) -> tuple[SendAttempt, sdk.Outcome] | None:
        """Send together with other calls of the operation. The bound keeps intents from expiring in the queue."""
        spec = self._spec(effect.system, effect.operation)
        key = (effect.system, effect.operation)
        async with self._places.setdefault(key, asyncio.Semaphore(2 * spec.bulk)):
            send = await self._commit_intent(context, effect)
            if send is None:
                return None
            connector, timeout = self._connectors[effect.system], context.operation.timeout
            request = request_of(connector, effect)
            outcome = await self._batcher.send(
                effect.system, connector, spec, request, timeout, send.send_by, slot
            )
            return send, outcome

    async def _commit_intent(self, context: EffectContext, effect: Effect) -> SendAttempt | None:
        now = await self._store.now()
        send = self._next_send(context, effect, now)
        intended = await self._store.apply(Intent(send=send, at=now, actor=self._actor))
        return send if intended.verdict == "sending" else None

    def _next_send(self, context: EffectContext, effect: Effect, now: datetime) -> SendAttempt:
        attempt, op = effect.attempt + 1, context.operation
        return next_send(effect.id, attempt, self._worker, now, op.timeout, op.horizon)

    async def send_planned(self, effect: Effect) -> None:
        """Send a planned effect and record the outcome."""
        context = await load_context(self._store, self._releases, effect)
        sent = await self.send(context, effect)
        if sent is not None:
            send, outcome = sent
            await self._recorder.record(context, effect, send.attempt, outcome, "answer")

    async def resend(self, context: EffectContext, effect: Effect) -> bool:
        """Send the same bytes under the same key again. False if an approval that it needs is no longer valid."""
        slot = await self._limiter.enter(effect.system, Lane(max(effect.lane, Lane.RETRY)), retry=True)
        outcome: sdk.Outcome | None = None
        try:
            now = await self._store.now()
            send = self._next_send(context, effect, now)
            intended = await self._store.apply(ResendUnknown(send=send, at=now, actor=self._actor))
            if intended.verdict == "sending":
                outcome = await self.call(context, effect, send, slot)
        finally:
            self.leave(slot, outcome)
        if outcome is not None:
            await self._recorder.record(context, effect, send.attempt, outcome, "answer")
        return intended.verdict != "stale"

    async def call(
        self, context: EffectContext, effect: Effect, send: SendAttempt, slot: Slot
    ) -> sdk.Outcome:
        """Make the call of a committed intent, once. The caller gives the slot back."""
        # A process may be suspended between reading the clock and using it. So the time that the read took is
        # added, and nothing is awaited between this check and the first byte.
        loop = asyncio.get_running_loop()
        before = loop.time()
        now = await self._store.now()
        late = now + timedelta(seconds=loop.time() - before) >= send.send_by
        if late or not self._limiter.holds(slot):
            # No byte has left this process. A look-up finds that out after the horizon.
            return NOT_SENT
        return await self._outcome(effect, context.operation)

    def leave(self, slot: Slot, outcome: sdk.Outcome | None) -> None:
        """Give a call's slot back. A call that was not sent says nothing about the system's health."""
        self._limiter.leave(slot, None if outcome is NOT_SENT else outcome)

    async def _outcome(self, effect: Effect, operation: OperationDefinition) -> sdk.Outcome:
        if operation.executor == "external":
            return sdk.Accepted("another integration acts; an observation decides")
        connector = self._connectors.get(effect.system)
        if connector is None:
            return sdk.Rejected(ErrorClass.UNAUTHORIZED, f"{effect.system} has no connector", "no_connector")
        if not operation.writes:
            return await read_outcome(connector, effect.operation, effect.request, operation.timeout)
        return await connector.send(request_of(connector, effect), operation.timeout)


def request_of(connector: sdk.Connector, effect: Effect) -> sdk.Request:
    operation = known_as(effect.operation, connector.operations)
    return sdk.Request(operation=operation, key=effect.id, body=effect.request)


async def read_outcome(
    connector: sdk.Connector, operation: str, request: bytes, timeout: float
) -> sdk.Outcome:
    """Return the outcome of a read. A read changes nothing, so a failure is never of unknown outcome.

    `request` holds the rendered arguments. A list is returned under `items`.
    """
    try:
        name = known_as(operation, connector.operations)
        result = await connector.read(name, wire.read_json(request), timeout)
    except TryAgain as error:
        return sdk.Rejected(ErrorClass.TRANSIENT, str(error), retry_after=error.after)
    except Refused as error:
        return sdk.Rejected(error.error_class, str(error), error.code)
    except Misconfigured as error:
        return sdk.Rejected(ErrorClass.UNAUTHORIZED, str(error))
    return sdk.Confirmed(result if isinstance(result, dict) else {"items": result})
