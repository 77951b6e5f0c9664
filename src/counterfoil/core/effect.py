"""Effects: outward calls of a Run, from intent to outcome."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import LIVE


class EffectState(StrEnum):
    PLANNED = "planned"  # never sent; or refused, and waiting for a retry
    SENDING = "sending"  # may have been sent
    UNKNOWN = "unknown"  # sent, without a known outcome
    ACCEPTED = "accepted"  # an asynchronous job took it; an observation decides
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    ABSENT = "absent"  # a look-up past the horizon found nothing
    DROPPED = "dropped"


_E = EffectState
EFFECT_MOVES: dict[EffectState, frozenset[EffectState]] = {
    # Confirmed from planned: late confirmation of an attempt that had counted as refused.
    _E.PLANNED: frozenset({_E.SENDING, _E.DROPPED, _E.CONFIRMED}),
    _E.SENDING: frozenset({_E.CONFIRMED, _E.REFUSED, _E.UNKNOWN, _E.ACCEPTED}),
    # Sent again from unknown: same bytes and key, if the vendor deduplicates (`key`, `unique`).
    _E.UNKNOWN: frozenset({_E.CONFIRMED, _E.REFUSED, _E.ABSENT, _E.ACCEPTED, _E.SENDING}),
    _E.ACCEPTED: frozenset({_E.CONFIRMED, _E.REFUSED, _E.ABSENT}),
    # A refusal proves that nothing happened: the call may be sent again, at once or with the next free slot.
    _E.REFUSED: frozenset({_E.SENDING, _E.PLANNED, _E.CONFIRMED, _E.DROPPED}),
    _E.CONFIRMED: frozenset(),
    _E.ABSENT: frozenset({_E.CONFIRMED}),
    _E.DROPPED: frozenset(),
}
SAID_NO = frozenset({_E.REFUSED, _E.ABSENT, _E.PLANNED})
"""States that a late confirmation of an earlier attempt contradicts."""
IN_FLIGHT = frozenset({_E.SENDING, _E.UNKNOWN, _E.ACCEPTED})
UNSETTLED = frozenset({_E.UNKNOWN, _E.ACCEPTED})
"""Outcomes after which look-ups continue until there is a final one."""
UNFINISHED = frozenset({_E.PLANNED, _E.SENDING, _E.UNKNOWN, _E.ACCEPTED})


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Row of one outward call. Retries of the same bytes are attempts of one effect."""

    id: str
    """Digest of run, path, item and generation: also the key in the outside system."""
    run: str
    path: str
    item: str = ""
    gen: int = 0
    undoes: str | None = None
    operation: str
    system: str
    repeat: str
    state: EffectState = EffectState.PLANNED
    attempt: int = 0
    worker: str | None = None
    send_by: datetime | None = None
    """Deadline for the first byte of the call."""
    call_until: datetime | None = None
    """End of the call's timeout: a `sending` row past it is `unknown`."""
    conclude_at: datetime | None = None
    """`send_by` plus horizon: an earlier look-up may prove that it was done, never that it is absent."""
    look_at: datetime | None = None
    """Due time of the next look-up, while unknown or accepted."""
    looks: int = 0
    request: bytes = b""
    """The rendered request, as sent and as any recovery sends it again."""
    input: bytes = b"{}"
    """The canonical input, in the internal encoding."""
    approvals: tuple[str, ...] = ()
    """Approvals that must still hold when the intent is written."""
    result: bytes | None = None
    error_class: ErrorClass | None = None
    error: str = ""
    created_at: datetime
    ended_at: datetime | None = None
    lane: int = LIVE
    """Lane of its Run (core.run): its priority for a slot."""


def concluded(
    effect: Effect,
    state: EffectState,
    at: datetime,
    *,
    result: bytes | None = None,
    error_class: ErrorClass | None = None,
    error: str = "",
    look_at: datetime | None = None,
) -> Effect:
    """Return the effect with the outcome of its latest attempt. An earlier result stays when there is no new one."""
    unsettled = state in UNSETTLED
    return msgspec.structs.replace(
        effect,
        state=state,
        result=result if result is not None else effect.result,
        error_class=error_class,
        error=error,
        look_at=look_at if unsettled else None,
        ended_at=None if unsettled else at,
    )


def planned_again(effect: Effect) -> Effect:
    """Return a refused effect as planned: the refusal proves that nothing happened, so it may be sent again."""
    return msgspec.structs.replace(effect, state=EffectState.PLANNED, ended_at=None)


def given_up(effect: Effect, at: datetime) -> Effect:
    """Return a planned effect as dropped. An effect in any other state keeps it."""
    if effect.state is not EffectState.PLANNED:
        return effect
    return msgspec.structs.replace(effect, state=EffectState.DROPPED, ended_at=at)


def outcome_ref(effect: str, attempt: int, state: EffectState) -> str:
    """Return the reference of an `outcome` stimulus: one for each attempt and state."""
    return f"{effect}:{attempt}:{state}"


def outcome_body(
    effect: str,
    path: str,
    item: str,
    state: EffectState,
    attempt: int,
    *,
    result: Any = None,
    error_class: ErrorClass | None = None,
    error: str = "",
    retry_after: float | None = None,
) -> dict[str, Any]:
    """Return the body of an `outcome` stimulus. `retry_after` is in seconds; the body holds milliseconds."""
    return {
        "effect": effect,
        "path": path,
        "item": item,
        "state": str(state),
        "attempt": attempt,
        "class": None if error_class is None else str(error_class),
        "error": error,
        "retry_after": None if retry_after is None else round(retry_after * 1000),
        "result": result,
    }
