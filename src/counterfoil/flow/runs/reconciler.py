"""Look-ups of effects whose outcome is unknown: ask the system what it has done, and conclude or look again later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from counterfoil.connectors.sdk import Absent, Confirmed, Connector, Finding, Outcome, Rejected, Unknown
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.matching import FoilState
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane
from counterfoil.flow.runs.effects import EffectSender, request_of
from counterfoil.flow.runs.outcomes import MAX_LOOK_INTERVAL_SECONDS, OutcomeRecorder, load_context
from counterfoil.flow.runs.turn_rows import MAX_SEND_DELAY_SECONDS
from counterfoil.model import Model
from counterfoil.model.definition import OperationDefinition
from counterfoil.store.port.effects import Conclude, LookAgain
from counterfoil.store.port.store import Store


class OutcomeReconciler:
    """Finds the outcomes of calls that never returned. Repeats a call only where the vendor deduplicates."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        limiter: ConcurrencyLimiter,
        sender: EffectSender,
        recorder: OutcomeRecorder,
        jump_detector: JumpDetector | None = None,
    ) -> None:
        self._store, self._releases, self._connectors = store, releases, connectors
        self._limiter, self._sender, self._recorder = limiter, sender, recorder
        self.jump_detector = jump_detector or JumpDetector(_max_seconds_to_effect(releases.present))
        """Tells whether the clock may be trusted when it says that a horizon has passed."""

    def take_up(self, model: Model) -> None:
        """Wait for this Release's longest horizon too, after a jump of the clock."""
        detector = self.jump_detector
        detector.settle = max(detector.settle, _max_seconds_to_effect(model))

    async def mark_overdue(self, effect: Effect) -> None:
        """Record a call that never returned, or whose process has ended, as unknown."""
        context = await load_context(self._store, self._releases, effect)
        outcome = Unknown("no outcome was recorded")
        await self._recorder.record(context, effect, effect.attempt, outcome, "time-out")

    async def look_up(self, effect: Effect) -> None:
        """Find the outcome of an unknown effect and record it, or plan the next look-up."""
        context = await load_context(self._store, self._releases, effect)
        operation = context.operation
        if effect.state is EffectState.ACCEPTED and await self._is_matched(effect):
            await self._recorder.record(context, effect, effect.attempt, Confirmed({}), "observation")
            return
        now = await self._store.now()
        finding = await self._find(effect, operation)
        match finding:
            case Confirmed():
                await self._recorder.record(context, effect, effect.attempt, finding, "look-up")
            case Rejected(error_class) if error_class is ErrorClass.TRANSIENT and operation.writes:
                await self._recorder.record(context, effect, effect.attempt, finding, "look-up")
            case Absent() if effect.state is EffectState.ACCEPTED:
                await self._look_later(effect, now)  # the job may still run: only an observation decides
            case Absent():
                if _is_deduplicated(effect, operation, now) and await self._sender.resend(context, effect):
                    return
                if await self._is_final(effect, now):
                    await self._recorder.record(context, effect, effect.attempt, finding, "look-up")
                else:
                    await self._look_later(effect, now)
            case _:
                await self._look_later(effect, now)

    async def conclude_by_person(self, effect: Effect, done: bool, person: str) -> Conclude:
        """Return the outcome that a person states for an unknown effect, ready to be committed."""
        context = await load_context(self._store, self._releases, effect)
        outcome: Outcome | Absent = Confirmed({}) if done else Absent()
        evidence = f"person:{person}"
        return (await self._recorder.conclude(context, effect, effect.attempt, outcome, evidence))[0]

    async def _is_final(self, effect: Effect, now: datetime) -> bool:
        """Return True if a call that a look-up at `now` did not find can no longer take effect."""
        # The look-up may have waited for a slot, so `now` is old: the detector would take its age for a jump.
        reliable = self.jump_detector.is_reliable(await self._store.now())
        return reliable and (effect.conclude_at is None or now >= effect.conclude_at)

    async def _look_later(self, effect: Effect, now: datetime) -> None:
        look_at = now + _look_interval(effect, now)
        await self._store.apply(LookAgain(effect=effect.id, attempt=effect.attempt, look_at=look_at, at=now))

    async def _is_matched(self, effect: Effect) -> bool:
        """Return True if the other half of the effect's counterfoil was observed: that proves that it was done."""
        loaded = await self._store.load(effect.run)
        assert loaded is not None
        return any(f.effect == effect.id and f.state is FoilState.MATCHED for f in loaded.foils)

    async def _find(self, effect: Effect, operation: OperationDefinition) -> Finding:
        connector = self._connectors.get(effect.system)
        if connector is None:
            return Unknown(f"{effect.system} has no connector")
        if operation.executor == "external":
            return Unknown("another integration acts")
        if not operation.writes:
            return Absent()
        request = request_of(connector, effect)
        slot = await self._limiter.enter(effect.system, Lane(effect.lane))
        finding: Finding | None = None
        try:
            finding = await connector.find(request, operation.timeout)
        finally:
            # "Started, not finished" is an answer and no failure of the system.
            self._limiter.leave(slot, Absent() if isinstance(finding, Rejected) else finding)
        return finding


def _is_deduplicated(effect: Effect, operation: OperationDefinition, now: datetime) -> bool:
    """Return True if the vendor would recognise the same call as a repeat.

    A vendor keeps a key for `retention` from its first arrival. That time is unknown without an answer, but it is
    not before the effect was planned.
    """
    if operation.repeat == "key":
        arrives_by = now + timedelta(seconds=operation.timeout + MAX_SEND_DELAY_SECONDS)
        return arrives_by <= effect.created_at + timedelta(seconds=operation.retention)
    return operation.repeat in ("unique", "read")


def _look_interval(effect: Effect, now: datetime) -> timedelta:
    """Return the doubling wait; never past the moment at which a look-up may conclude."""
    wait = timedelta(seconds=min(MAX_LOOK_INTERVAL_SECONDS, 2.0 ** min(effect.looks, 12)))
    if effect.conclude_at is not None and now < effect.conclude_at:
        return min(wait, effect.conclude_at - now + timedelta(milliseconds=50))
    return wait


def _max_seconds_to_effect(model: Model) -> float:
    """Return the time after which no request in flight can take effect, for any operation of the model."""
    operations = (op for name in model.workflows for op in model.workflow(name).operations.values())
    return max((op.horizon + 2 * op.timeout for op in operations), default=0.0)
