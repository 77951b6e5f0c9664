"""Reactions: what follows an outcome. A verb, or steps that may end in one; Cases and their resolutions."""

from __future__ import annotations

from datetime import timedelta

from counterfoil.core.case import Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.run import RunStatus
from counterfoil.model.definition import (
    Block,
    Call,
    Each,
    QueuePolicy,
    Reaction,
    RetryPolicy,
    Step,
    Verb,
)
from counterfoil.rules import calls, retry, steps, undo
from counterfoil.rules.commands import ReleaseGuards, Stimulus
from counterfoil.rules.deciding import Deciding
from counterfoil.rules.state import Frame, StepState

CHOICES = (Choice.RETRY, Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)


def done(d: Deciding, step: Step, st: StepState) -> bool:
    """The step is through: its business state holds and the next one is up."""
    st.phase = "done"
    st.until = st.retry_at = None
    if step.becomes is not None:
        d.business = step.becomes
    return True


def react(d: Deciding, step: Step, st: StepState, outcome: str, detail: str) -> bool:
    """The reaction to an outcome: the step's own, else its workflow's failure policy's, else park."""
    st.outcome, st.detail = outcome, detail[:2000]
    own = step.outcomes.get(outcome)
    if own is not None:
        return apply(d, step, st, own, f"{step.path}/{outcome}")
    reaction = d.definition.failure.reactions.get(outcome, Verb("park"))
    return apply(d, step, st, reaction, f"failure/{outcome}")


def apply(d: Deciding, step: Step, st: StepState, reaction: Reaction, address: str) -> bool:
    if isinstance(reaction, Block):
        st.phase = "reacting"
        st.tries += 1
        d.push(address, "outcome", d.key(step), tag=f"n{st.tries}" if st.tries > 1 else "")
        return True
    return verb(d, step, st, reaction)


def verb(d: Deciding, step: Step, st: StepState, v: Verb) -> bool:
    failure = d.definition.failure
    match v.name:
        case "retry":
            return _retry(d, step, st, v.retry or failure.retry)
        case "queue":
            return _queue(d, step, st, v.queue or failure.queue)
        case "continue":
            _give_up(d, st)
            return done(d, step, st)
        case "undo":
            _give_up(d, st)
            return undo.begin(d, f"{step.path}: {st.outcome}")
        case "stop":
            _give_up(d, st)
            st.phase = "done"
            _release_everything(d)
            d.finish(RunStatus.DONE, v.state or d.business)
            return True
        case "again":
            return _again(d, step, st, v)
        case _:
            return park(d, step, st)


def _give_up(d: Deciding, st: StepState) -> None:
    """The step's call will not be made any more."""
    if st.effect is not None:
        calls.drop(d, st.effect)


def _release_everything(d: Deciding) -> None:
    """A Run that stops before any effect was confirmed consumed nothing of its limits."""
    if d.s.reserved and not d.s.confirmed:
        d.commands.append(ReleaseGuards(tuple(d.s.reserved)))
        d.s.reserved = []


# ------------------------------------------------------------------ retry, queue, park, again


def _retry(d: Deciding, step: Step, st: StepState, policy: RetryPolicy) -> bool:
    st.tries += 1
    at = retry.next_try(policy, st.tries, f"{d.run.id}/{d.key(step)}", d.now, st.retry_after)
    if at is None:
        return verb(d, step, st, Verb(policy.then))
    st.phase, st.retry_at = "backoff", at
    return True


def _queue(d: Deciding, step: Step, st: StepState, policy: QueuePolicy) -> bool:
    """Wait for the obstacle to go: until woken by an event, every so often, and not for ever."""
    if st.phase != "queued" and not st.topic:
        st.until = d.now + timedelta(seconds=policy.until)
    if st.until is not None and st.until <= d.now:
        return verb(d, step, st, Verb(policy.then))
    st.phase = "queued"
    st.topic = policy.wake or "-"
    st.retry_at = d.now + timedelta(seconds=policy.every)
    return True


def park(d: Deciding, step: Step, st: StepState) -> bool:
    """A person decides: a Case with its owner, deadline and next action."""
    frame = next((f for f in reversed(d.s.frames) if f.kind == "item"), None)
    if frame is not None and st.phase != "parked":
        each = _step_of(d, frame)
        if each.on_item == "stop":
            return _leave_loop(d, frame, each)
        if each.on_item == "undo_all":
            return undo.begin(d, f"{step.path}: {st.outcome}")
    what = step.operation if isinstance(step, Call) else step.path
    message = f"{what}: {st.outcome}" + (f": {st.detail}" if st.detail else "")
    next_action = {
        "unknown": f"Look in the other system whether {what} was done, then continue or retry",
        "period_closed": "Reopen the period or agree on another posting date, then retry",
        "unauthorized": "Restore the credentials of the system, then retry",
        "timeout": "Find out why the other side did not answer, then retry or continue",
    }.get(st.outcome, f"Correct what {what} was refused for, then retry; or undo what was done")
    st.phase, st.retry_at, st.until = "parked", None, None
    d.open_case(d.key(step), st, st.outcome or "parked", message, CHOICES, next_action, effect=st.effect)
    return True


def no_rate(d: Deciding, step: Step, st: StepState, have: str, want: str) -> bool:
    st.outcome, st.detail = "invalid", f"no rate from {have} to {want} is on file"
    return park(d, step, st)


def expression_failed(d: Deciding, message: str) -> bool:
    """A formula that cannot be evaluated parks the Run where it stands; it never loses it."""
    for frame in reversed(d.s.frames):
        block = d.block(frame.block)
        if frame.index < len(block.steps):
            step = block.steps[frame.index]
            st = d.state_of(step)
            if st.phase == "parked":
                return False
            st.outcome, st.detail = "invalid", message
            return park(d, step, st)
    d.finish(RunStatus.CLOSED, "failed")
    return False


def _again(d: Deciding, step: Step, st: StepState, v: Verb) -> bool:
    """The only way back: to a step or the start, counted."""
    target = v.target or "start"
    count = d.s.agains.get(f"{step.path}>{target}", 0) + 1
    if count > v.at_most:
        st.detail = f"{st.detail} (again from {target} {v.at_most} times)".strip()
        return park(d, step, st)
    d.s.agains[f"{step.path}>{target}"] = count
    _give_up(d, st)
    st.phase = "done"
    if d.s.reserved and not d.s.confirmed:
        d.commands.append(ReleaseGuards(tuple(d.s.reserved)))
        d.s.reserved = []
        d.pause = True  # what is given back must be committed before it is asked for again
    d.s.round += 1
    main = d.s.frames[0]
    d.s.frames = [main]
    d.s.items = {}
    main.index = 0
    if target == "start":
        steps.read_facts(d, only_recheck=False)
    else:
        main.index = next(n for n, s in enumerate(d.block("").steps) if target in (s.id, s.path))
        steps.read_facts(d, only_recheck=True)
    return True


def resume(d: Deciding, step: Step, st: StepState) -> bool:
    """A step that was put off: has its time come, or its Case been decided?"""
    match st.phase:
        case "backoff" | "queued":
            if st.retry_at is not None and st.retry_at > d.now:
                return False
            if st.phase == "queued" and st.until is not None and st.until <= d.now:
                return _queue(d, step, st, d.definition.failure.queue)
            st.retry_at = None
            return _once_more(d, step, st)
        case "reacting":
            return done(d, step, st)
        case _:
            return False


def _once_more(d: Deciding, step: Step, st: StepState) -> bool:
    if isinstance(step, Call):
        return calls.once_more(d, step, st)
    st.phase, st.outcome, st.retry_after = "new", "", None
    return True


# ------------------------------------------------------------------ ends of blocks


def end_of_block(d: Deciding, frame: Frame, block: Block) -> bool:
    """A block is through: apply its verb to whoever entered it, or go on behind that."""
    if frame.kind == "main":
        if block.verb is not None and block.verb.name == "stop":
            d.finish(RunStatus.DONE, block.verb.state or d.business)
        else:
            d.finish(RunStatus.DONE, d.business)
        return True
    d.s.frames.pop()
    if frame.kind == "signal":
        return _end_of_signal(d, block)
    step = _entered_by(d, frame)
    st = d.s.steps[frame.step]
    if block.verb is not None:
        return verb(d, step, st, block.verb)
    if frame.kind == "item":
        st.position += 1
        assert isinstance(step, Each)
        return steps.next_item(d, step, st)
    return done(d, step, st)


def _end_of_signal(d: Deciding, block: Block) -> bool:
    """After a signal's steps the Run goes on where it was, unless a verb says otherwise."""
    if block.verb is None or block.verb.name == "continue":
        return True
    if block.verb.name == "stop":
        _release_everything(d)
        d.finish(RunStatus.DONE, block.verb.state or d.business)
        return True
    if block.verb.name == "undo":
        return undo.begin(d, "signal")
    top = d.s.frames[-1]
    step = d.block(top.block).steps[top.index]
    return verb(d, step, d.state_of(step), block.verb)


def _entered_by(d: Deciding, frame: Frame) -> Step:
    """The step whose reaction, branch or list a frame is: the one that the frame below stands on."""
    below = d.s.frames[-1]
    return d.block(below.block).steps[below.index]


def _step_of(d: Deciding, frame: Frame) -> Each:
    at = d.s.frames.index(frame)
    below = d.s.frames[at - 1]
    step = d.block(below.block).steps[below.index]
    assert isinstance(step, Each)
    return step


def _leave_loop(d: Deciding, frame: Frame, each: Each) -> bool:
    del d.s.frames[d.s.frames.index(frame) :]
    d.s.items.pop(each.name, None)
    return done(d, each, d.s.steps[frame.step])


# ------------------------------------------------------------------ a person decided


def absorb_case(d: Deciding, stimulus: Stimulus) -> str | None:
    """A Case of this Run was resolved."""
    choice = Choice(str(stimulus.body["choice"]))
    if d.s.undo is not None:
        return undo.absorb_case(d, str(stimulus.ref), choice)
    found = next(((k, s) for k, s in d.s.steps.items() if s.case == stimulus.ref), None)
    if found is None or found[1].phase != "parked":
        if choice is Choice.CLOSE and not d.effect_in_flight():
            d.finish(RunStatus.CLOSED, "closed")
            return None
        return "no step waits for it"
    key, st = found
    st.case, st.retry_after = None, None
    match choice:
        case Choice.RETRY:
            st.tries, st.phase, st.retry_at, st.topic = 0, "backoff", d.now, ""
        case Choice.CONTINUE:
            step = _current(d, key)
            if step is None:
                return "its step is not up any more"
            _give_up(d, st)
            done(d, step, st)
        case Choice.UNDO:
            _give_up(d, st)
            undo.begin(d, f"decided on {stimulus.ref}")
        case Choice.CLOSE:
            _give_up(d, st)
            if _unfinished(d):
                st.phase, st.case = "parked", str(stimulus.ref)
                return "a call is still in flight"
            d.finish(RunStatus.CLOSED, "closed")
        case _:
            return f"{choice} decides nothing here"
    return None


def _unfinished(d: Deciding) -> bool:
    return any(
        e.state in (EffectState.SENDING, EffectState.UNKNOWN, EffectState.ACCEPTED)
        for e in d.effects.values()
    )


def _current(d: Deciding, key: str) -> Step | None:
    for frame in reversed(d.s.frames):
        block = d.block(frame.block)
        if frame.index < len(block.steps) and d.key(block.steps[frame.index]) == key:
            return block.steps[frame.index]
    return None
