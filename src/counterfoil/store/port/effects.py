"""Effects: the intent before bytes leave, and the outcome of a call."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.case import Case
from counterfoil.core.effect import EFFECT_MOVES, Effect, EffectState, outcome_body, outcome_ref
from counterfoil.core.errors import ErrorClass
from counterfoil.core.link import Link
from counterfoil.core.moves import check_move
from counterfoil.store.port.records import NewInboxItem
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind

IntentVerdict: TypeAlias = Literal["sending", "lost", "stale"]
ConcludeVerdict: TypeAlias = Literal["won", "late", "contradiction"]


class SendAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An effect's move to sending: from planned or refused, or from unknown where the vendor dedupes."""

    effect: str
    attempt: int
    """The number of the new attempt: the present one plus one."""
    worker: str
    send_by: datetime
    call_until: datetime
    conclude_at: datetime
    request: bytes | None = None
    """The rendered request, where the effect has none yet."""

    def applied(self, effect: Effect) -> Effect:
        """Return the effect as sending. Raise MoveRefused, or ValueError when the attempt does not follow."""
        check_move(EFFECT_MOVES, effect.state, EffectState.SENDING, effect.id)
        if effect.attempt + 1 != self.attempt:
            raise ValueError(f"{effect.id}: attempt {self.attempt} does not follow {effect.attempt}")
        return replace(
            effect,
            state=EffectState.SENDING,
            attempt=self.attempt,
            worker=self.worker,
            send_by=self.send_by,
            call_until=self.call_until,
            conclude_at=self.conclude_at,
            look_at=None,
            request=self.request if self.request is not None else effect.request,
        )


class IntentResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: IntentVerdict
    """`lost`: the effect has moved on; `stale`: one of its approvals is no longer valid."""


class Intent(Transition[IntentResult], frozen=True, kw_only=True):
    """planned -> sending for one effect, after checking its approvals again.

    Every approval in `effect.approvals` must be granted by voters who are still active. Otherwise the effect is
    dropped and its Run gets a `stale` item. Bytes may leave only after this has committed.
    """

    together = True

    send: SendAttempt
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([self.send.effect])

    def effects_named(self) -> tuple[str, ...]:
        return (self.send.effect,)

    def wakes(self, answer: IntentResult) -> frozenset[WakeKind]:
        return wake_set(turn=answer.verdict == "stale")


class ResendUnknown(Transition[IntentResult], frozen=True, kw_only=True):
    """unknown -> sending, for repeat `key` and `unique` only: the same bytes under the same key.

    `stale` when an approval of the effect is no longer valid: nothing changes, and look-ups go on.
    """

    together = True

    send: SendAttempt
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([self.send.effect])

    def effects_named(self) -> tuple[str, ...]:
        return (self.send.effect,)


class ConcludeResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: ConcludeVerdict


class Conclude(Transition[ConcludeResult], frozen=True, kw_only=True):
    """Record an effect's outcome, from any worker, lease or not: decisions are fenced, evidence is not.

    Guard: `attempt` is the row's and its state may move to `state`.

    - Won: the row is updated. Foils of the effect are opened (confirmed) or voided (absent). Cases that asked for the
      outcome are resolved. Links are established and Cases open. The Run gets an `outcome` item; leaf.
    - Lost: `late`.
    - A confirmation of a row that is refused or absent: the row is confirmed and `contradiction` is opened.
    """

    together = True

    effect: str
    attempt: int
    state: EffectState
    at: datetime
    actor: str
    result: bytes | None = None
    error_class: ErrorClass | None = None
    error: str = ""
    retry_after: float | None = None
    links: tuple[Link, ...] = ()
    cases: tuple[Case, ...] = ()
    contradiction: Case | None = None
    look_at: datetime | None = None
    """With unknown or accepted: the time of the first look-up."""
    evidence: str = "answer"
    """`answer`, `look-up`, `time-out`, `observation`."""

    def keys(self) -> frozenset[str]:
        return frozenset([self.effect, *(topic for link in self.links for topic in link.topics)])

    def effects_named(self) -> tuple[str, ...]:
        return (self.effect,)

    def wakes(self, answer: ConcludeResult) -> frozenset[WakeKind]:
        del answer
        return wake_set(turn=True, admit=bool(self.links))

    def words(self, path: str, item: str, result: Any) -> dict[str, Any]:
        """Return the outcome as the Run's turn reads it; `result` in whichever form the caller has it."""
        return outcome_body(
            self.effect,
            path,
            item,
            self.state,
            self.attempt,
            result=result,
            error_class=self.error_class,
            error=self.error,
            retry_after=self.retry_after,
        )

    @property
    def ref(self) -> str:
        return outcome_ref(self.effect, self.attempt, self.state)

    def stimulus(self, run: str, path: str, item: str) -> NewInboxItem:
        """Return the same as an item for the Run's inbox."""
        result = None if self.result is None else msgspec.Raw(self.result)
        body = wire.dumps(self.words(path, item, result))
        return NewInboxItem(run=run, kind="outcome", ref=self.ref, body=body)

    def leaf_body(self) -> dict[str, Any]:
        result = None if self.result is None else hashlib.sha256(self.result).hexdigest()
        return {"effect": self.effect, "state": str(self.state), "evidence": self.evidence, "result": result}


class LookAgain(Transition[bool], frozen=True, kw_only=True):
    """Record a look-up without a result: the next one is due at `look_at`."""

    together = True

    effect: str
    attempt: int
    look_at: datetime
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset([self.effect])

    def effects_named(self) -> tuple[str, ...]:
        return (self.effect,)
