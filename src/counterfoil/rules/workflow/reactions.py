"""Reactions to outcomes: a verb, or a block of steps that may end in one. Also the ends of blocks and of Runs."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.case_choices import FACT_CHOICES, STEP_CHOICES
from counterfoil.core.run import RunStatus
from counterfoil.model import definition as d
from counterfoil.rules.workflow import abandon, calls, guards, start_facts, step_cases, steps, undo
from counterfoil.rules.workflow.context import (
    DONE,
    MOVED,
    DecisionContext,
    NameFault,
    NeedsPerson,
    StepOutcome,
    StepProgress,
    StepResult,
)
from counterfoil.rules.workflow.state import BlockFrame, StepState


def done(context: DecisionContext, step: d.Step, st: StepState) -> bool:
    """Complete the step: set its business state and go on with the next one."""
    st.phase = "done"
    st.until = st.retry_at = st.queue_until = None
    if step.becomes is not None:
        context.business = step.becomes
    return True


def handle(context: DecisionContext, step: d.Step, st: StepState, result: StepResult) -> bool:
    """Carry out the result of a step's handler. False: the Run must wait."""
    match result:
        case StepProgress():
            if result is DONE:
                return done(context, step, st)
            return result is MOVED
        case StepOutcome():
            return _react(context, step, st, result)
        case NeedsPerson(name, detail, choices):
            st.outcome, st.detail = name, detail
            return park(context, step, st, choices)


def _react(context: DecisionContext, step: d.Step, st: StepState, outcome: StepOutcome) -> bool:
    """Apply the step's own reaction to an outcome; else that of the failure policy; else park."""
    name, detail, other = outcome
    st.outcome, st.detail = name, detail[:2000]
    for owner in (step,) if other is None else (other, step):
        reaction = owner.outcomes.get(name)
        if reaction is not None:
            return apply(context, step, st, reaction, f"{owner.path}/{name}")
    reaction = context.definition.failure.reactions.get(name, d.Verb("park"))
    return apply(context, step, st, reaction, f"failure/{name}")


def apply(context: DecisionContext, step: d.Step, st: StepState, reaction: d.Reaction, address: str) -> bool:
    """Apply a reaction. `address` is its place in the workflow: `again` counts by it, and its block is found by it."""
    if not isinstance(reaction, d.Block):
        return verb(context, step, st, reaction, address)
    st.phase = "reacting"
    st.reactions += 1
    of = step.path if address.startswith("failure/") else ""
    nth = f"n{st.reactions}" if st.reactions > 1 else ""
    context.push(address, "outcome", context.key(step), tag="~".join(t for t in (of, nth) if t))
    return True


def verb(context: DecisionContext, step: d.Step, st: StepState, v: d.Verb, address: str) -> bool:
    failure = context.definition.failure
    match v.name:
        case "retry":
            return _retry(context, step, st, v, address)
        case "queue":
            return _queue(context, step, st, v.queue or failure.queue)
        case "continue":
            abandon.give_up_call(context, st)
            return done(context, step, st)
        case "undo":
            return undo.begin(context, f"{step.path}: {st.outcome}")
        case "stop":
            guards.give_back_unused(context, address)
            return end(context, RunStatus.DONE, v.state or context.business)
        case "again":
            return _again(context, step, st, v, address)
        case _:
            return park(context, step, st)


def end(context: DecisionContext, status: RunStatus, state: str) -> bool:
    """End the Run with this status and business state, once no call is in flight."""
    abandon.abandon(context)
    context.state.frames = []
    context.state.back = context.state.refresh = ""
    context.state.ending, context.state.stop_state = str(status), state
    return True


def ending(context: DecisionContext) -> bool:
    """Finish the Run that should end, or wait for the outcomes of its calls."""
    if context.under_way():
        abandon.ask_what_happened(context)
        return False
    context.finish(RunStatus(context.state.ending), context.state.stop_state)
    return False


# ------------------------------------------------------------------ retry, queue, park, again


def _retry(context: DecisionContext, step: d.Step, st: StepState, v: d.Verb, address: str) -> bool:
    st.tries += 1
    policy = v.retry or context.definition.failure.retry
    at = context.next_try(policy, st, context.key(step))
    if at is None:
        return verb(context, step, st, d.Verb(policy.then), address)
    st.phase, st.retry_at = "backoff", at
    return True


def _queue(context: DecisionContext, step: d.Step, st: StepState, policy: d.QueuePolicy) -> bool:
    """Queue the step: retry at every interval and when the wake event arrives, until the queue time is over."""
    if st.queue_until is None:
        st.queue_until = context.now + timedelta(seconds=policy.until)
    if st.queue_until <= context.now:
        return verb(context, step, st, d.Verb(policy.then), step.path)
    st.phase, st.topic, st.then = "queued", policy.wake or "", policy.then
    st.retry_at = min(context.now + timedelta(seconds=policy.every), st.queue_until)
    return True


def park(
    context: DecisionContext, step: d.Step, st: StepState, choices: tuple[Choice, ...] = STEP_CHOICES
) -> bool:
    """Open a Case and wait for a person's decision. A list item may be left, or everything undone, instead."""
    each = _item_of(context)
    if each is not None and each[1].on_item == "stop":
        return _leave_loop(context, *each)
    if each is not None and each[1].on_item == "undo_all":
        return undo.begin(context, f"{step.path}: {st.outcome}")
    name = step.operation if isinstance(step, d.Call) else step.path
    message = f"{name}: {st.outcome}" + (f": {st.detail}" if st.detail else "")
    effect = context.effects.get(st.effect or "")
    names = {"operation": name} | ({"system": effect.system} if effect is not None else {})
    st.phase, st.retry_at, st.until = "parked", None, None
    if isinstance(step, d.Approve) or st.outcome == "stale" or _bypasses_approval(context, step, st):
        # A Case must not replace an approval: later calls that need the approval would be sent without it.
        choices = tuple(c for c in choices if c is not Choice.CONTINUE)
    reason = st.outcome or "parked"
    step_cases.open_case(context, context.key(step), st, reason, message, names, choices, effect=st.effect)
    return True


def _bypasses_approval(context: DecisionContext, step: d.Step, st: StepState) -> bool:
    """Return True if skipping this step would bypass an approval.

    The step decides whether an approval is asked for, or it belongs to the reaction to a refused approval after which
    the Run continues. For a call of unknown outcome the decision only says what happened, and skips nothing.
    """
    if st.outcome == "unknown":
        return False
    if isinstance(step, d.Check | d.Choose | d.Each):
        inside = (block for at, block in context.blocks.items() if at.startswith(f"{step.path}/"))
        if any(isinstance(other, d.Approve) for block in inside for other in block.steps):
            return True
    for below, frame in reversed(list(pairwise(context.state.frames))):
        if frame.kind == "signal":
            return False
        if frame.kind != "outcome":
            continue
        refused = isinstance(context.step_at(below), d.Approve)
        verb_ = context.block(frame.block).verb
        goes_on = verb_ is None or verb_.name == "continue"
        if goes_on and (refused or context.state.steps[frame.step].outcome == "stale"):
            return True
    return False


def expression_failed(context: DecisionContext, error: Exception) -> bool:
    """Park the Run at the active step, because a formula cannot be evaluated.

    Where a fact or let has no value, a person cannot skip the step: later ones may need that value too.
    """
    for frame in reversed(context.state.frames):
        step = context.step_at(frame)
        if step is not None:
            st = context.state_of(step)
            if st.phase == "parked":
                return False
            st.outcome, st.detail = "invalid", str(error)
            return park(
                context, step, st, FACT_CHOICES if isinstance(error.__cause__, NameFault) else STEP_CHOICES
            )
    raise AssertionError("a formula was evaluated while no step is active")


def _again(context: DecisionContext, step: d.Step, st: StepState, v: d.Verb, address: str) -> bool:
    """Go back to a step or to the start, at most as often as the reaction allows. No other reaction goes back."""
    target = v.target or "start"
    if not _may_repeat(context, address, target, v.at_most):
        st.detail = f"{st.detail} (repeated from {target} {v.at_most} times)".strip()
        return park(context, step, st)
    context.state.back = target
    return True


def _may_repeat(context: DecisionContext, address: str, target: str, at_most: int) -> bool:
    count = context.state.agains.get(f"{address}>{target}", 0) + 1
    if count > at_most:
        return False
    context.state.agains[f"{address}>{target}"] = count
    return True


def go_back(context: DecisionContext) -> bool:
    """Start a new round at a step of the workflow, once no call is in flight.

    A call of unknown outcome is never repeated under another key. Later approvals are voided; confirmed calls stay.
    """
    if context.under_way():
        abandon.ask_what_happened(context)
        return False
    target, context.state.back = context.state.back, ""
    main = context.block("")
    targets = [n for n, s in enumerate(main.steps) if target in (s.id, s.path)]
    abandon.abandon(context)
    if not context.state.confirmed:
        guards.give_back(context, list(context.state.reserved))
    before = {s.path for s in main.steps[: targets[0]]} if targets else set()
    for approval, st in abandon.in_force(context):
        if approval.path.split("/")[0] not in before:
            abandon.close_approval(context, st, ApprovalState.VOID)
    abandon.close_open_approvals(context)
    context.state.round += 1
    context.state.frames = context.state.frames[:1]
    context.state.frames[0].index = targets[0] if targets else 0
    if targets:
        context.state.refresh = "recheck"
    else:
        start_facts.refresh_all(context)
    return True


def resume(context: DecisionContext, step: d.Step, st: StepState) -> bool:
    """Continue a step that waits for a retry, for its queue or for its reaction."""
    match st.phase:
        case "queued" if st.queue_until is not None and st.queue_until <= context.now:
            return verb(context, step, st, d.Verb(st.then), step.path)
        case "backoff" | "queued":
            if st.retry_at is not None and st.retry_at > context.now:
                return False
            st.retry_at = None
            if isinstance(step, d.Call):
                return handle(context, step, st, calls.once_more(context, step, st))
            st.phase, st.outcome, st.retry_after, st.entered = "new", "", None, context.now
            return True
        case "reacting":
            return done(context, step, st)
        case _:
            return False


# ------------------------------------------------------------------ ends of blocks


def end_of_block(context: DecisionContext, frame: BlockFrame, block: d.Block) -> bool:
    """Finish a block: apply its verb to the step that entered it, or complete that step."""
    if frame.kind == "main":
        state = block.verb.state if block.verb is not None and block.verb.name == "stop" else None
        return end(context, RunStatus.DONE, state or context.business)
    if frame.kind == "signal":
        return _end_of_signal(context, frame, block)
    context.state.frames.pop()
    step = context.step_at(context.state.frames[-1])  # its reaction, branch or list has just ended
    assert step is not None
    st = context.state.steps[frame.step]
    if block.verb is not None:
        return verb(context, step, st, block.verb, frame.block)
    if frame.kind == "item":
        st.position += 1
        assert isinstance(step, d.Each)
        return handle(context, step, st, steps.next_item(context, step, st))
    return done(context, step, st)


def _end_of_signal(context: DecisionContext, frame: BlockFrame, block: d.Block) -> bool:
    """Return to where the signal interrupted the Run, unless the block's verb leads elsewhere."""
    name = block.verb.name if block.verb is not None else "continue"
    st = context.state.steps.setdefault(f"{frame.block}[{frame.tag}]", StepState(entered=context.now))
    if st.phase == "parked":
        return False
    if st.phase != "done" and block.verb is not None:
        if name == "stop":
            guards.give_back_unused(context, frame.block)
            return end(context, RunStatus.DONE, block.verb.state or context.business)
        if name == "undo":
            return undo.begin(context, frame.block)
        target = block.verb.target or "start"
        if name == "again" and _may_repeat(context, frame.block, target, block.verb.at_most):
            context.state.back = target
            st.phase = "done"
            return True
        if name in ("park", "again"):
            st.phase = "parked"
            event = context.definition.signals[int(frame.block.removeprefix("signal"))].event
            repeated = " and has already restarted it as often as allowed" if name == "again" else ""
            message = f"{event} interrupted the Run{repeated}"
            step_cases.open_case(context, f"{frame.block}[{frame.tag}]", st, "signal", message, {})
            return False
    st.phase = "done"
    context.state.frames.pop()
    return True


def _item_of(context: DecisionContext) -> tuple[BlockFrame, d.Each] | None:
    """Return the innermost list item that the Run is in. The steps of a signal are in none."""
    for at in range(len(context.state.frames) - 1, 0, -1):
        frame, below = context.state.frames[at], context.state.frames[at - 1]
        if frame.kind == "signal":
            return None
        if frame.kind == "item":
            each = context.step_at(below)
            assert isinstance(each, d.Each)
            return frame, each
    return None


def leave_if_over(context: DecisionContext, frame: BlockFrame) -> None:
    """Leave the list after a wait in one of its items, if its `until` condition has become true meanwhile."""
    item = _item_of(context)
    if item is not None and item[0] is frame and item[1].until is not None and context.holds(item[1].until):
        _leave_loop(context, *item)


def _leave_loop(context: DecisionContext, frame: BlockFrame, each: d.Each) -> bool:
    """Leave the list at the current item: none of its calls is sent any more."""
    at = context.state.frames.index(frame)
    item = context.item()
    for key, st in context.state.steps.items():
        if st.phase != "done" and key.endswith(f"[{item}]"):
            abandon.give_up_call(context, st)
            st.phase = "done"
    del context.state.frames[at:]
    context.state.items.pop(each.name, None)
    return done(context, each, context.state.steps[frame.step])
