"""The interpreter of workflows: `decide` is one pure, total function.

A turn reads the Run's new stimuli into its state and goes on until the Run must wait. Nothing is replayed: the state
says where the Run is. No I/O, no clock, no randomness. What is needed from outside is requested by `looks` and comes
back in `live.answers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from counterfoil.core.link import event_topic
from counterfoil.core.run import TERMINAL, Direction, Run, RunStatus
from counterfoil.expr import LookupNeeded
from counterfoil.model import definition as d
from counterfoil.rules.templates import FAULTS, fill
from counterfoil.rules.versions import CastFailed, cast, same_fact
from counterfoil.rules.workflow import (
    abandon,
    calls,
    case_decisions,
    reactions,
    run_deadline,
    start_facts,
    step_cases,
    steps,
    undo,
)
from counterfoil.rules.workflow.commands import (
    Decision,
    LateBoundInput,
    LookupRequest,
    Stimulus,
    WaitForTopic,
)
from counterfoil.rules.workflow.context import DecisionContext, FactPending, StepResult
from counterfoil.rules.workflow.missing_rows import explained
from counterfoil.rules.workflow.state import RunState, load

MAX_MOVES = 5_000
"""Steps after which a turn commits and the next one continues: `each` lists can be long."""
ACTIVE_HEARTBEAT = timedelta(hours=6)
"""Longest time between two turns of a Run with a call in flight."""
IDLE_HEARTBEAT = timedelta(days=30)
"""The same for other Runs. Each turn has its leaf, and a million Runs may be parked."""


def decide(
    definition: d.Definition,
    run: Run,
    stimuli: Sequence[Stimulus],
    now: datetime,
    live: LateBoundInput,
    state: RunState | None = None,
    stored: bool = True,
) -> Decision:
    """Return what a Run does next.

    `run` carries the state, `stimuli` are its unconsumed inbox items in order; none means that only the time is checked.
    `now` is aware UTC; a time before `run.now` counts as `run.now`. Total: a failing formula parks the Run with a Case, and
    a stimulus that changes nothing is listed in `ignored`.

    `state` is the decoded `run.ctx`, if the caller has it; it is changed and must not be used again. With `stored` false
    the result has no `ctx` and no `waits`; `after` alone holds the new state.
    """
    if run.now is not None and now < run.now:
        now = run.now
    consumed = max([run.consumed, *(s.seq for s in stimuli)])
    if run.status in TERMINAL:
        return _ended(run, consumed, stimuli)
    context = DecisionContext(definition, run, state if state is not None else load(run.ctx), now, live)
    try:
        for stimulus in stimuli:
            _absorb(context, stimulus)
        run_deadline.resume(context)
        more = _advance(context)
        run_deadline.look(context)
        return _answer(context, consumed, more, stored)
    except LookupNeeded as need:
        return Decision(looks=(LookupRequest(need.name, tuple(need.args)),))


def _ended(run: Run, consumed: int, stimuli: Sequence[Stimulus]) -> Decision:
    return Decision(
        status=run.status,
        direction=run.direction,
        state=run.state,
        consumed=consumed,
        ctx=run.ctx,
        ignored=tuple(f"{s.kind} {s.ref}: the run is {run.status}" for s in stimuli),
    )


# ------------------------------------------------------------------ stimuli


def _absorb(context: DecisionContext, stimulus: Stimulus) -> None:
    handlers: dict[str, Callable[[DecisionContext, Stimulus], str | None]] = {
        "start": _start,
        "event": _event,
        "outcome": calls.absorb_outcome,
        "approval": steps.absorb_approval,
        "case": case_decisions.absorb_case,
        "stale": calls.absorb_stale,
        "foil": _foil,
    }
    handler = handlers.get(stimulus.kind)
    reason = f"unknown kind {stimulus.kind}" if handler is None else handler(context, stimulus)
    if reason:
        context.ignored.append(f"{stimulus.kind} {stimulus.ref}: {reason}")


def _start(context: DecisionContext, stimulus: Stimulus) -> str | None:
    """Bind the first event that starts the Run, or the newest state of the object whose date starts it."""
    if context.state.started:
        return "the run has begun"
    if "event" not in context.state.names:  # another event of this generation is a Case of its admission
        context.state.names.update(stimulus.body)
    st = context.state.steps.get(start_facts.PLACE)
    if st is not None and st.phase == "parked":
        st.phase = "new"  # the missing record may exist now
    return None


def _event(context: DecisionContext, stimulus: Stimulus) -> str | None:
    """Keep an event until a wait or a signal uses it. An event that no step awaits is ignored."""
    body = stimulus.body
    if str(stimulus.ref).startswith("link:"):
        return calls.absorb_link(context, stimulus.ref)
    sent = str(body.get("type"))
    steps_ = (step for block in context.blocks.values() for step in block.steps)
    awaited = {step.event for step in steps_ if isinstance(step, d.Wait) and step.event is not None}
    awaited |= {signal.event for signal in context.definition.signals}
    queued = [st for st in context.state.steps.values() if st.phase == "queued" and same_fact(st.topic, sent)]
    for st in queued:
        st.retry_at = context.now
    concerned = [event for event in sorted(awaited) if same_fact(event, sent)]
    if not concerned:
        return None if queued else "no step waits for this event"
    failed = []
    for event in concerned:
        form = _form(context, body, event)
        if form is None:
            failed.append(event)
            continue
        received = {"id": stimulus.ref, "type": event, "at": stimulus.at, "event": form}
        context.state.received.append(received if event == sent else {**received, "sent": sent})
    del context.state.received[:-1000]
    return f"{sent} cannot be read as {', '.join(failed)}" if failed else None


def _form(context: DecisionContext, body: Mapping[str, Any], awaited: str) -> dict[str, Any] | None:
    """Return the event in the awaited version; None if no cast works.

    The casts of the Run's Release come first, then those of the Release under which the event was admitted.
    """
    form = {name: value for name, value in body.items() if name != "as"}
    sent = str(body.get("type"))
    if awaited == sent:
        return form
    path = context.definition.casts.get((sent, awaited))
    data = body.get("as", {}).get(awaited)
    if path is not None:
        with suppress(CastFailed):  # the casts at admission may work
            data = cast(path, body["data"])
    return None if data is None else {**form, "type": awaited, "data": data}


def _foil(context: DecisionContext, stimulus: Stimulus) -> str | None:
    """Do nothing: foil states are read from the rows, and the stimulus only wakes the Run."""
    return None


# ------------------------------------------------------------------ moves


def _advance(context: DecisionContext) -> bool:
    """Continue until the Run waits or ends. True: the next turn has more to do at once."""
    for _ in range(MAX_MOVES):
        if context.terminal:
            return False
        if context.pause:
            return True
        try:
            moved = _next(context)
        except FactPending as pending:
            moved = _read_fact(context, pending)
        except FAULTS as error:
            moved = _without_value(context, explained(context, error))
        if not moved:
            return False
    return not context.terminal


def _read_fact(context: DecisionContext, pending: FactPending) -> bool:
    """Read the fact that a formula needs. Its input may itself need another fact, or have no value."""
    while True:
        try:
            return start_facts.read_now(context, pending.fact)
        except FactPending as other:
            pending = other
        except FAULTS as error:
            return _without_value(context, explained(context, error))


def _without_value(context: DecisionContext, error: Exception) -> bool:
    """Open the Case of a formula that has no value."""
    if start_facts.without_facts(context, error):
        return False
    return reactions.expression_failed(context, error)


def _next(context: DecisionContext) -> bool:
    """Make the next move: end, undo, start a new round, begin, or execute the next step."""
    if context.state.ending:
        return reactions.ending(context)
    if context.undoing:
        return undo.advance(context)
    if context.state.back:
        return reactions.go_back(context)
    if not context.state.started or context.state.refresh:
        return start_facts.ready(context)
    return _move(context)


def _move(context: DecisionContext) -> bool:
    """Execute the active step. False: the Run must wait."""
    if _interrupt(context):
        return True
    frame = context.state.frames[-1]
    step = context.step_at(frame)
    if step is None:
        return reactions.end_of_block(context, frame, context.block(frame.block))
    st = context.state_of(step)
    if st.phase == "done":
        frame.index += 1
        return True
    if st.phase == "parked" and steps.arrives_late(context, step, st):
        st.phase, st.outcome, st.detail = "waiting", "", ""
    if st.phase in ("backoff", "queued", "parked", "reacting"):
        return reactions.resume(context, step, st)
    if st.phase == "new" and step.when is not None and not context.holds(step.when):
        st.phase = "done"
        return True
    if st.entered is None:
        st.entered = context.now
    moved = reactions.handle(context, step, st, _HANDLERS[type(step)](context, step, st))
    if moved and frame.kind == "item" and isinstance(step, d.Wait) and st.phase == "done":
        try:
            reactions.leave_if_over(context, frame)
        except FactPending:
            st.phase = "waiting"  # the condition is evaluated once the fact is there
            raise
    return moved


_HANDLERS: dict[type, Callable[[DecisionContext, Any, Any], StepResult]] = {
    d.Check: steps.check,
    d.Call: calls.call,
    d.Approve: steps.approve,
    d.Wait: steps.wait,
    d.Choose: steps.choose,
    d.Each: steps.each,
    d.Emit: steps.emit,
}


def _interrupt(context: DecisionContext) -> bool:
    """Enter a signal's block if its event has arrived, its state holds and no call is in flight.

    An event that arrives before the state waits for it.
    """
    if not context.definition.signals or not context.state.received or context.effect_in_flight():
        return False
    exact = {signal.event for signal in context.definition.signals}
    for n, signal in enumerate(context.definition.signals):
        for received in context.state.received:
            mark = f"{received['id']}|signal{n}"
            if received["type"] != signal.event or mark in context.state.used:
                continue
            if signal.states and context.business not in signal.states:
                continue
            if received.get("sent") in exact:
                continue  # another signal uses it in its own version
            if steps.fits(context, signal.where, received):
                context.state.used.append(mark)
                context.push(f"signal{n}", "signal", "", tag=str(received["id"]))
                return True
    return False


# ------------------------------------------------------------------ result


def _answer(context: DecisionContext, consumed: int, more: bool, stored: bool) -> Decision:
    ended = context.terminal
    if context.status is RunStatus.DONE:
        _compute_output(context)
    if ended:
        abandon.close_open_approvals(context)
    step_cases.close_left_cases(context)
    holding = not ended and context.effect_in_flight()
    if not ended:
        context.status = RunStatus.READY if more or holding else RunStatus.WAITING
    return Decision(
        status=context.status,
        direction=context.direction,
        state=context.business,
        due=None if ended else context.now if more else _due(context),
        consumed=consumed,
        ctx=context.state.dump() if stored else b"",
        hold=tuple(context.state.serials) if holding else (),
        commands=tuple(context.commands),
        waits=tuple(_topics(context)) if stored and not ended else (),
        ignored=tuple(context.ignored),
        ahead=tuple(context.ahead),
        after=None if ended else context.state,
    )


def _compute_output(context: DecisionContext) -> None:
    """Bind the facts and lets that the output of the finished Run reads. Its look-ups are answered with the output."""
    for part in context.definition.returns.fields.values():
        with suppress(FactPending, *FAULTS):
            fill(part, context.names())


def _due(context: DecisionContext) -> datetime:
    """Return the earliest future time at which time alone changes something; at most the heartbeat."""
    moments = [_heartbeat(context)]
    for st in context.state.steps.values():
        if st.phase not in ("done", "paused"):
            moments += [m for m in (st.until, st.retry_at, st.queue_until) if m is not None]
    starts_at = context.state.starts_at
    if not context.state.started and starts_at is not None and starts_at > context.now:
        moments[0] = starts_at
    return min(m for m in moments if m > context.now)


def _heartbeat(context: DecisionContext) -> datetime:
    """Return the time of the heartbeat. A due time that is near enough is kept: the index is not written then."""
    beat = ACTIVE_HEARTBEAT if context.effect_in_flight() else IDLE_HEARTBEAT
    due = context.run.due
    if due is not None and beat / 2 < due - context.now <= beat:
        return due
    return context.now + beat


def _topics(context: DecisionContext) -> list[WaitForTopic]:
    """Return the Run's topics: its waits and signals since its start, missing Links, and wake events."""
    since = context.run.created_at
    topics: dict[str, datetime | None] = {}
    for st in context.state.steps.values():
        if st.phase == "unlinked":
            topics[st.topic] = None
        elif st.phase == "queued" and st.topic:
            topics[f"event:{st.topic}"] = context.now
    for signal in context.definition.signals:
        topics[_topic(context, signal.event, signal.keys)] = since
    for frame in context.state.frames:
        step = context.step_at(frame)
        if isinstance(step, d.Wait) and step.event is not None:
            topics[_topic(context, step.event, step.keys)] = since
    return [WaitForTopic(topic, moment) for topic, moment in sorted(topics.items())]


def _topic(context: DecisionContext, event: str, keys: tuple[tuple[str, Any], ...]) -> str:
    """Return `event:<type>`, narrowed by the first key that has a value."""
    for field, expression in keys:
        if context.state.started:
            context.try_names(expression.names)
        try:
            narrow = event_topic(event, field, context.value(expression))
        except (*FAULTS, LookupNeeded):
            continue
        if narrow is not None:
            return narrow
    return f"event:{event}"


__all__ = ["Decision", "Direction", "LateBoundInput", "LookupRequest", "Stimulus", "decide"]
