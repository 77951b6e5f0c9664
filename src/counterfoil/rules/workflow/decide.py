"""decide: the whole workflow semantics as one pure, total function.

A turn reads what a Run was told since its last one, writes it into the state, and goes on until it must
wait. Nothing is replayed: the state says where the Run stands. No I/O, no clock, no randomness; what is
needed from outside is asked for by `looks` and comes back in `live.answers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from counterfoil.core.run import TERMINAL, Direction, Run, RunStatus
from counterfoil.expr import LookupNeeded
from counterfoil.model.definition import (
    Approve,
    Call,
    Check,
    Choose,
    Definition,
    Each,
    Emit,
    Signal,
    Step,
    Wait,
)
from counterfoil.rules.versions import CastFailed, cast, same_fact
from counterfoil.rules.workflow import calls, cancel, deadline, facts, reactions, steps, undo
from counterfoil.rules.workflow.commands import Decision, LiveContext, LookUp, Stimulus, WaitForTopic
from counterfoil.rules.workflow.context import FAULTS, DecisionContext
from counterfoil.rules.workflow.state import RunState, load
from counterfoil.rules.workflow.step_result import StepResult

MAX_MOVES = 5_000
"""Steps that one turn may pass before it commits and goes on in the next: `each` lists can be long."""
HEARTBEAT = timedelta(hours=6)
"""No Run whose call is under way sleeps longer without a look at itself."""
LONG = timedelta(days=30)
"""Nor does any other: a look is a turn with its leaf, and a million Runs may be parked."""


def decide(
    definition: Definition,
    run: Run,
    stimuli: Sequence[Stimulus],
    now: datetime,
    live: LiveContext,
    state: RunState | None = None,
    stored: bool = True,
) -> Decision:
    """What a Run does next.

    `run` carries the state, `stimuli` are its unconsumed inbox items in order (none: a look at the clock),
    `now` is aware UTC and never before `run.now`. Total: an expression that fails parks the Run with a Case,
    a stimulus that means nothing any more is listed in `ignored`. `state` is what `run.ctx` holds, where the
    caller has it from the last decision; it is used up. Who keeps nothing needs no `stored` form of it: then `ctx`
    and `waits` are empty, and `after` alone tells where the Run stands.
    """
    if run.now is not None and now < run.now:
        now = run.now
    consumed = max([run.consumed, *(s.seq for s in stimuli)])
    if run.status in TERMINAL:
        return _ended(run, consumed, stimuli)
    d = DecisionContext(definition, run, state if state is not None else load(run.ctx), now, live)
    try:
        for stimulus in stimuli:
            _absorb(d, stimulus)
        deadline.resume(d)
        more = _advance(d)
        deadline.look(d)
    except LookupNeeded as need:
        return Decision(looks=(LookUp(need.name, tuple(need.args)),))
    return _answer(d, consumed, more, stored)


def _ended(run: Run, consumed: int, stimuli: Sequence[Stimulus]) -> Decision:
    return Decision(
        status=run.status,
        direction=run.direction,
        state=run.state,
        consumed=consumed,
        ctx=run.ctx,
        ignored=tuple(f"{s.kind} {s.ref}: the run is {run.status}" for s in stimuli),
    )


# ------------------------------------------------------------------ what the Run is told


def _absorb(d: DecisionContext, stimulus: Stimulus) -> None:
    known: dict[str, Callable[[DecisionContext, Stimulus], str | None]] = {
        "start": _start,
        "event": _event,
        "outcome": calls.absorb_outcome,
        "approval": steps.absorb_approval,
        "case": reactions.absorb_case,
        "stale": calls.absorb_stale,
        "foil": _foil,
    }
    handler = known.get(stimulus.kind)
    reason = f"unknown kind {stimulus.kind}" if handler is None else handler(d, stimulus)
    if reason:
        d.ignored.append(f"{stimulus.kind} {stimulus.ref}: {reason}")


def _start(d: DecisionContext, stimulus: Stimulus) -> str | None:
    """The first word: the event (or object) that the Run is about. A later one before it began replaces it."""
    if d.s.started:
        return "the run has begun"
    d.s.names.update(stimulus.body)
    st = d.s.steps.get(facts.PLACE)
    if st is not None and st.phase == "parked":
        st.phase = "new"  # what it could not read may be there now
    return None


def _event(d: DecisionContext, stimulus: Stimulus) -> str | None:
    """Kept until a wait or a signal uses it, or it proves to be nobody's."""
    body = stimulus.body
    if str(stimulus.ref).startswith("link:"):
        return calls.absorb_link(d, stimulus.ref)
    sent = str(body.get("type"))
    wanted = {w.event for w in _waits(d)} | {s.event for s in d.definition.signals}
    queued = [st for st in d.s.steps.values() if st.phase == "queued" and same_fact(st.topic, sent)]
    for st in queued:
        st.retry_at = d.now
    concerned = [event for event in sorted(filter(None, wanted)) if same_fact(event, sent)]
    if not concerned:
        return None if queued else "nothing here waits for it"
    failed = []
    for event in concerned:
        form = _form(d, body, sent, event)
        if form is None:
            failed.append(event)
            continue
        received = {"id": stimulus.ref, "type": event, "at": stimulus.at, "event": form}
        d.s.received.append(received if event == sent else {**received, "sent": sent})
    del d.s.received[:-1000]
    return f"{sent} cannot be read as {', '.join(failed)}" if failed else None


def _form(d: DecisionContext, body: Mapping[str, Any], sent: str, wanted: str) -> dict[str, Any] | None:
    """The fact in the version that is waited for: by the casts that the Run is pinned to, else by those of the day
    on which it was admitted."""
    form = {name: value for name, value in body.items() if name != "as"}
    if wanted == sent:
        return form
    path = d.definition.casts.get((sent, wanted))
    data = body.get("as", {}).get(wanted)
    if path is not None:
        with suppress(CastFailed):  # the casts of the day may do
            data = cast(path, body["data"])
    return None if data is None else {**form, "type": wanted, "data": data}


def _foil(d: DecisionContext, stimulus: Stimulus) -> str | None:
    """Foil states are read from the rows themselves; the stimulus only woke the Run."""
    del d, stimulus
    return None


def _waits(d: DecisionContext) -> list[Wait]:
    return [s for block in d.blocks.values() for s in block.steps if isinstance(s, Wait)]


# ------------------------------------------------------------------ going on


def _advance(d: DecisionContext) -> bool:
    """Go on until the Run waits or ends. True: there is more to do at once, in the next turn."""
    for _ in range(MAX_MOVES):
        if d.terminal:
            return False
        if d.pause:
            return True
        try:
            moved = _next(d)
        except FAULTS as error:
            moved = reactions.expression_failed(d, str(error))
        if not moved:
            return False
    return not d.terminal


def _next(d: DecisionContext) -> bool:
    """Whatever is up: the end, the way back, a new round, facts to read, or the next step."""
    if d.s.ending:
        return reactions.ending(d)
    if d.undoing:
        return undo.advance(d)
    if d.s.back:
        return reactions.go_back(d)
    if not d.s.started or d.s.refresh:
        return facts.ready(d)
    return _move(d)


def _move(d: DecisionContext) -> bool:
    """One step forward. False: it must wait."""
    if _interrupt(d):
        return True
    frame = d.s.frames[-1]
    block = d.block(frame.block)
    if frame.index >= len(block.steps):
        return reactions.end_of_block(d, frame, block)
    step = block.steps[frame.index]
    st = d.state_of(step)
    if st.phase == "done":
        frame.index += 1
        return True
    if st.phase in ("backoff", "queued", "parked", "reacting"):
        return reactions.resume(d, step, st)
    if st.phase == "new" and step.when is not None and not d.holds(step.when):
        st.phase = "done"
        return True
    if st.entered is None:
        st.entered = d.now
    moved = reactions.handle(d, step, st, _RUN[type(step)](d, step, st))
    if moved and frame.kind == "item" and isinstance(step, Wait) and st.phase == "done":
        reactions.leave_if_over(d, frame)
    return moved


_RUN: dict[type, Callable[[DecisionContext, Any, Any], StepResult]] = {
    Check: steps.check,
    Call: calls.call,
    Approve: steps.approve,
    Wait: steps.wait,
    Choose: steps.choose,
    Each: steps.each,
    Emit: steps.emit,
}


def _interrupt(d: DecisionContext) -> bool:
    """A signal's event that it has not taken yet, in one of its states, with no call in flight. An event that
    came before its state waits for it."""
    if not d.definition.signals or not d.s.received or d.effect_in_flight():
        return False
    exact = {signal.event for signal in d.definition.signals}
    for n, signal in enumerate(d.definition.signals):
        for received in d.s.received:
            mark = f"{received['id']}|signal{n}"
            if received["type"] != signal.event or mark in d.s.used or not _in_state(d, signal):
                continue
            if received.get("sent") in exact:
                continue  # another signal takes it in the version in which it was sent
            if steps.fits(d, signal.where, received):
                d.s.used.append(mark)
                d.push(f"signal{n}", "signal", "", tag=str(received["id"]))
                return True
    return False


def _in_state(d: DecisionContext, signal: Signal) -> bool:
    return not signal.states or d.business in signal.states


# ------------------------------------------------------------------ the answer


def _answer(d: DecisionContext, consumed: int, more: bool, stored: bool) -> Decision:
    ctx = d.s.dump() if stored else b""
    if d.terminal:
        cancel.close_open_approvals(d)
        return Decision(
            status=d.status,
            direction=d.direction,
            state=d.business,
            consumed=consumed,
            ctx=ctx,
            commands=tuple(d.commands),
            ignored=tuple(d.ignored),
        )
    holding = d.effect_in_flight()
    due = d.now if more else _due(d)
    return Decision(
        status=RunStatus.READY if more or holding else RunStatus.WAITING,
        direction=d.direction,
        state=d.business,
        due=due,
        consumed=consumed,
        ctx=ctx,
        hold=tuple(d.s.serials) if holding else (),
        commands=tuple(d.commands),
        waits=tuple(_topics(d)) if stored else (),
        ignored=tuple(d.ignored),
        after=d.s,
    )


def _due(d: DecisionContext) -> datetime:
    """The earliest moment to come at which time alone changes something; never beyond the heartbeat."""
    moments = [_heartbeat(d)]
    for st in d.s.steps.values():
        if st.phase not in ("done", "paused"):
            moments += [m for m in (st.until, st.retry_at, st.queue_until) if m is not None]
    if not d.s.started and d.s.starts_at is not None:
        moments = [d.s.starts_at, *moments[1:]] if d.s.starts_at > d.now else moments
    return min(m for m in moments if m > d.now)


def _heartbeat(d: DecisionContext) -> datetime:
    """Kept while it is near enough: a due time that stays is one index less to write in each turn."""
    beat = HEARTBEAT if d.effect_in_flight() else LONG
    due = d.run.due
    if due is not None and beat / 2 < due - d.now <= beat:
        return due
    return d.now + beat


def _topics(d: DecisionContext) -> list[WaitForTopic]:
    """What the Run wants to hear of: its waits and signals from its birth on, Links it lacks, wake events."""
    since = d.run.created_at
    topics: dict[str, datetime | None] = {}
    for st in d.s.steps.values():
        if st.phase == "unlinked":
            topics[st.topic] = None
        elif st.phase == "queued" and st.topic:
            topics[f"event:{st.topic}"] = d.now
    for signal in d.definition.signals:
        topics[_topic(d, signal.event, signal.keys)] = since
    for frame in d.s.frames:
        block = d.block(frame.block)
        step: Step | None = block.steps[frame.index] if frame.index < len(block.steps) else None
        if isinstance(step, Wait) and step.event is not None:
            topics[_topic(d, step.event, step.keys)] = since
    return [WaitForTopic(topic, moment) for topic, moment in sorted(topics.items())]


def _topic(d: DecisionContext, event: str, keys: tuple[tuple[str, Any], ...]) -> str:
    """`event:<type>`, narrowed by the first key whose value is known."""
    for field, expression in keys:
        try:
            narrow = event_topic(event, field, d.value(expression))
        except (*FAULTS, LookupNeeded):
            continue
        if narrow is not None:
            return narrow
    return f"event:{event}"


def event_topic(event: str, field: str, value: Any) -> str | None:
    """The topic of events of a type with one field's value: what posts and waits must agree on. Only texts
    narrow: equal numbers may be written in more than one way."""
    return f"event:{event}:{field}={value}" if isinstance(value, str) and value else None


__all__ = ["Decision", "Direction", "LiveContext", "LookUp", "Stimulus", "decide", "event_topic"]
