"""What a worker knows of a Run between two of its commits, so that it need not read again what it has written.

A worker that has just committed a turn, made its call and got the outcome knows all that the next decision rests
on, as long as nobody else told the Run anything; the store's guard is what tells whether somebody did.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.foil import Foil, FoilState
from counterfoil.core.run import Run
from counterfoil.rules.workflow.commands import Stimulus
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.port.store import LoadedRun
from counterfoil.store.port.transitions import Conclude, RunStart, Send, Turn, Turned

LEASE = timedelta(seconds=10)
"""How long others leave a Run to the worker that turns it: one turn, never a call."""


class RunSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A Run with all that a turn needs of it."""

    run: Run
    stimuli: tuple[Stimulus, ...]
    """Not consumed yet, in order."""
    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()
    holds: tuple[str, ...] = ()
    state: RunState | None = None
    """What `run.ctx` holds, where it was decided here."""


def loaded(of: LoadedRun) -> RunSnapshot:
    return RunSnapshot(
        run=of.run,
        stimuli=tuple(
            Stimulus(kind=i.kind, ref=i.ref, seq=i.seq, at=i.at, body=wire.loads(i.body)) for i in of.inbox
        ),
        effects=of.effects,
        approvals=of.approvals,
        foils=of.foils,
        holds=of.holds,
    )


def born(start: RunStart, at: datetime, foils: tuple[Foil, ...]) -> RunSnapshot:
    """A Run that was born a moment ago, with the one stimulus that it was born with and the foils that its event
    has written. Its place among arrivals is the store's matter."""
    s = start.stimulus
    run = Run(
        id=start.run,
        workflow=start.workflow,
        bkey=start.bkey,
        generation=start.generation,
        pin=start.pin,
        arrival=0,
        created_at=at,
        state=start.state,
        inbox_n=1,
        due=start.due if start.due is not None else at,
        owner=start.lease.worker if start.lease is not None else None,
        lease_until=start.lease.until if start.lease is not None else None,
        lane=start.lane,
    )
    stimulus = Stimulus(kind=s.kind, ref=s.ref, seq=1, at=at, body=wire.loads(s.body))
    return RunSnapshot(run=run, stimuli=(stimulus,), foils=foils)


def turned(before: RunSnapshot, turn: Turn, answer: Turned, state: RunState | None) -> RunSnapshot | None:
    """After a turn was committed. None where the rows must be read: somebody told the Run something meanwhile,
    or the turn changed rows of before."""
    if answer.inbox_n != turn.consumed or state is None:
        return None
    if turn.drop or turn.reverse or turn.close_approvals:
        return None
    sends = {send.effect: send for send in turn.send if send.effect in answer.started}
    effects = [_moved(e, sends, turn.again) for e in (*before.effects, *turn.plan)]
    held = set(before.holds) | set(turn.hold)
    run = msgspec.structs.replace(
        before.run,
        status=turn.status,
        direction=turn.direction,
        state=turn.state,
        version=answer.version,
        inbox_n=answer.inbox_n,
        consumed=turn.consumed,
        due=answer.due,
        owner=None,
        lease_until=None,
        now=turn.at if before.run.now is None else max(before.run.now, turn.at),
        ctx=turn.ctx,
    )
    return RunSnapshot(
        run=run,
        stimuli=(),
        effects=tuple(effects),
        approvals=(*before.approvals, *turn.approvals),
        foils=(*before.foils, *turn.foils),
        holds=tuple(sorted(held - set(turn.unhold))),
        state=state,
    )


def sent(before: RunSnapshot, send: Send) -> RunSnapshot:
    """After the intent of a planned effect was committed by itself."""
    effects = tuple(send.applied(e) if e.id == send.effect else e for e in before.effects)
    return msgspec.structs.replace(before, effects=effects)


def told(before: RunSnapshot, c: Conclude, result: object) -> RunSnapshot:
    """With an outcome as the next thing in its inbox; `result` is the value that `c.result` holds."""
    unsettled = c.state in (EffectState.UNKNOWN, EffectState.ACCEPTED)
    of = next(e for e in before.effects if e.id == c.effect)
    moved = msgspec.structs.replace(
        of,
        state=c.state,
        result=c.result if c.result is not None else of.result,
        error_class=c.error_class,
        error=c.error,
        look_at=c.look_at if unsettled else None,
        ended_at=None if unsettled else c.at,
    )
    stimulus = Stimulus(
        kind="outcome",
        ref=c.ref,
        seq=before.run.inbox_n + 1,
        at=c.at,
        body=c.words(of.path, of.item, result),
    )
    return msgspec.structs.replace(
        before,
        stimuli=(stimulus,),
        effects=tuple(moved if e.id == c.effect else e for e in before.effects),
        foils=tuple(_after(f, c) for f in before.foils),
    )


def _after(foil: Foil, c: Conclude) -> Foil:
    """As the store moves the foils of a concluded effect; what it matches at once is told to the Run."""
    if foil.effect != c.effect or foil.state is not FoilState.PROVISIONAL:
        return foil
    if c.state is EffectState.CONFIRMED:
        return msgspec.structs.replace(foil, state=FoilState.OPEN)
    if c.state is EffectState.ABSENT:
        reason = "its effect did not happen"
        return msgspec.structs.replace(foil, state=FoilState.VOID, reason=reason, settled_at=c.at)
    return foil


def _moved(effect: Effect, sends: dict[str, Send], again: tuple[str, ...]) -> Effect:
    if effect.id in sends:
        return sends[effect.id].applied(effect)
    if effect.id in again:
        return msgspec.structs.replace(effect, state=EffectState.PLANNED, ended_at=None)
    return effect
