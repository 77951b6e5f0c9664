"""The reason why an unfinished Run does not go on, in words: the first thing that stops it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from counterfoil.core.approval import Approval
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.effect import UNFINISHED, Effect, EffectState
from counterfoil.core.run import TERMINAL, Run


class SerialQueue(msgspec.Struct, frozen=True):
    """The serial key that another Run holds."""

    serial: str
    holder: str
    """Business key of the Run that holds it."""


class Obstacles(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that may stop one Run."""

    approvals: Sequence[Approval] = ()
    """Those that are open."""
    cases: Sequence[Case] = ()
    """Those that are open."""
    effects: Sequence[Effect] = ()
    """Those without a final outcome, and those that were refused."""
    queue: SerialQueue | None = None
    topics: Sequence[str] = ()
    """What it is to be woken by."""


def waits_for(run: Run, obstacles: Obstacles, now: datetime) -> str:
    """Return what a Run waits for; empty if it has ended."""
    if run.status in TERMINAL:
        return ""
    for approval in obstacles.approvals:
        return _approval(approval)
    if obstacles.queue is not None:
        return f"Run {obstacles.queue.holder}, which holds {obstacles.queue.serial}"
    effects = [e for e in obstacles.effects if e.state in UNFINISHED]
    for effect in effects:
        if not _is_asked_about(effect, obstacles.cases):
            return _effect(effect)
    if run.due is not None and run.due <= now:
        return "a worker"
    for step in _retries(run):
        for effect in obstacles.effects:
            if effect.id == step.effect and effect.state is EffectState.REFUSED and step.retry_at is not None:
                return _next_try(effect, step.retry_at)
    for case in obstacles.cases:
        # A step that a Case is about goes on by its decision; the Run's own time is then that of its deadline.
        if case.path is not None or run.due is None or effects:
            return f"{case.owner} to decide a Case: {reason_row(case.reason).title}"
    until = f" until {_minute(run.due)}" if run.due is not None else ""
    if topics := _topics(obstacles.topics):
        return f"{' or '.join(topics)}{until}"
    return f"{_minute(run.due)}" if run.due is not None else "a person"


def _approval(approval: Approval) -> str:
    amount = f" of {approval.amount.grouped()}" if approval.amount is not None else ""
    voters = " or ".join(approval.roles)
    count = f"{approval.quorum} of " if approval.quorum > 1 else ""
    return f"approval{amount} by {count}{voters} until {_minute(approval.expires)}"


def _is_asked_about(effect: Effect, cases: Iterable[Case]) -> bool:
    """Report whether a person is asked for the outcome of a call that nothing can look up."""
    return effect.state is EffectState.UNKNOWN and any(case.effect == effect.id for case in cases)


class _Step(msgspec.Struct):
    phase: str = "new"
    retry_at: datetime | None = None
    effect: str | None = None


class _Position(msgspec.Struct):
    """The part of a Run's `ctx` that says which steps wait to be tried again."""

    steps: dict[str, _Step] = {}


_POSITION = msgspec.json.Decoder(_Position)


def _retries(run: Run) -> list[_Step]:
    """Return the steps of a Run that wait for their next try, the earliest first."""
    steps = [s for s in _POSITION.decode(run.ctx).steps.values() if s.phase in ("backoff", "queued")]
    return sorted((s for s in steps if s.retry_at is not None), key=lambda s: (s.retry_at, s.effect or ""))


def retried(run: Run, effects: Iterable[Effect]) -> list[Effect]:
    """Return the refused calls of a Run that will be tried again."""
    waiting = {step.effect for step in _retries(run)} if run.status not in TERMINAL else set()
    return [e for e in effects if e.state is EffectState.REFUSED and e.id in waiting]


def _next_try(effect: Effect, at: datetime) -> str:
    """Return when a refused call is tried again, and what the system answered until now."""
    failed = "1 attempt" if effect.attempt == 1 else f"{effect.attempt} attempts"
    why = f": {effect.error}" if effect.error else ""
    return f"the next try of {effect.operation} at {at:%Y-%m-%d %H:%M:%S} UTC, after {failed}{why}"


def _effect(effect: Effect) -> str:
    match effect.state:
        case EffectState.PLANNED:
            return f"a free slot for {effect.operation} in {effect.system}"
        case EffectState.ACCEPTED:
            return f"{effect.system} to finish {effect.operation}"
        case EffectState.UNKNOWN:
            when = f", next at {_minute(effect.look_at)}" if effect.look_at is not None else ""
            return f"a look-up in {effect.system} whether {effect.operation} was done{when}"
    return f"the answer of {effect.system} to {effect.operation}"


def _topics(topics: Iterable[str]) -> list[str]:
    """Return the events and ids that wake a Run, each once."""
    names: dict[str, None] = {}
    for topic in topics:
        kind, _, rest = topic.partition(":")
        if kind == "event":
            names[f"event {rest.partition(':')[0]}"] = None
        elif kind == "link":
            object_, _, place = rest.partition(":")
            canonical, _, system = place.rpartition(":")
            names[f"the id of {object_} {canonical} in {system}"] = None
    return list(names)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
