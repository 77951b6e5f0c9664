"""Reactions: what follows an outcome. A verb, or steps that may end in one; Cases and their resolutions."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import STEP_CHOICES
from counterfoil.core.run import RunStatus
from counterfoil.model.definition import (
    Approve,
    Block,
    Call,
    Check,
    Choose,
    Each,
    QueuePolicy,
    Reaction,
    RetryPolicy,
    Step,
    Verb,
)
from counterfoil.rules.workflow import calls, cancel, deadline, facts, guards, retry, steps, undo
from counterfoil.rules.workflow.commands import Stimulus
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import BlockFrame, StepState
from counterfoil.rules.workflow.step_result import (
    DONE,
    MOVED,
    NeedsPerson,
    StepOutcome,
    StepProgress,
    StepResult,
)


def done(d: DecisionContext, step: Step, st: StepState) -> bool:
    """The step is through: its business state holds and the next one is up."""
    st.phase = "done"
    st.until = st.retry_at = st.queue_until = None
    if step.becomes is not None:
        d.business = step.becomes
    return True


def handle(d: DecisionContext, step: Step, st: StepState, result: StepResult) -> bool:
    """Carry out the result of a step's handler. False: the Run must wait."""
    match result:
        case StepProgress():
            if result is DONE:
                return done(d, step, st)
            return result is MOVED
        case StepOutcome():
            return _react(d, step, st, result)
        case NeedsPerson(name, detail):
            st.outcome, st.detail = name, detail
            return park(d, step, st)


def _react(d: DecisionContext, step: Step, st: StepState, outcome: StepOutcome) -> bool:
    """Apply the step's own reaction to an outcome; else that of the failure policy; else park."""
    name, detail, other = outcome
    st.outcome, st.detail = name, detail[:2000]
    for owner in (step,) if other is None else (other, step):
        reaction = owner.outcomes.get(name)
        if reaction is not None:
            return apply(d, step, st, reaction, f"{owner.path}/{name}")
    return apply(d, step, st, d.definition.failure.reactions.get(name, Verb("park")), f"failure/{name}")


def apply(d: DecisionContext, step: Step, st: StepState, reaction: Reaction, address: str) -> bool:
    """`address` says where the reaction stands: `again` counts by it, and its steps are known by it."""
    if not isinstance(reaction, Block):
        return verb(d, step, st, reaction, address)
    st.phase = "reacting"
    st.reactions += 1
    of = step.path if address.startswith("failure/") else ""
    nth = f"n{st.reactions}" if st.reactions > 1 else ""
    d.push(address, "outcome", d.key(step), tag="~".join(t for t in (of, nth) if t))
    return True


def verb(d: DecisionContext, step: Step, st: StepState, v: Verb, address: str) -> bool:
    failure = d.definition.failure
    match v.name:
        case "retry":
            return _retry(d, step, st, v.retry or failure.retry, address)
        case "queue":
            return _queue(d, step, st, v.queue or failure.queue)
        case "continue":
            cancel.give_up_call(d, st)
            return done(d, step, st)
        case "undo":
            return undo.begin(d, f"{step.path}: {st.outcome}")
        case "stop":
            guards.give_back_unused(d, address)
            return end(d, RunStatus.DONE, v.state or d.business)
        case "again":
            return _again(d, step, st, v, address)
        case _:
            return park(d, step, st)


def end(d: DecisionContext, status: RunStatus, state: str) -> bool:
    """The Run ends so, once nothing is under way."""
    cancel.abandon(d)
    d.s.frames = []
    d.s.back = d.s.refresh = ""
    d.s.ending, d.s.stop_state = str(status), state
    return True


def ending(d: DecisionContext) -> bool:
    if d.under_way():
        cancel.ask_what_happened(d)
        return False
    d.finish(RunStatus(d.s.ending), d.s.stop_state)
    return False


# ------------------------------------------------------------------ retry, queue, park, again


def _retry(d: DecisionContext, step: Step, st: StepState, policy: RetryPolicy, address: str) -> bool:
    st.tries += 1
    at = retry.next_try(policy, st.tries, f"{d.run.id}/{d.key(step)}", d.now, st.retry_after)
    if at is None:
        return verb(d, step, st, Verb(policy.then), address)
    st.phase, st.retry_at = "backoff", at
    return True


def _queue(d: DecisionContext, step: Step, st: StepState, policy: QueuePolicy) -> bool:
    """Wait for the obstacle to go: until woken by an event, every so often, and not for ever."""
    if st.queue_until is None:
        st.queue_until = d.now + timedelta(seconds=policy.until)
    if st.queue_until <= d.now:
        return verb(d, step, st, Verb(policy.then), step.path)
    st.phase, st.topic, st.then = "queued", policy.wake or "", policy.then
    st.retry_at = min(d.now + timedelta(seconds=policy.every), st.queue_until)
    return True


def park(d: DecisionContext, step: Step, st: StepState) -> bool:
    """A person decides: a Case with its owner, deadline and next action."""
    each = _item_of(d)
    if each is not None and each[1].on_item == "stop":
        return _leave_loop(d, *each)
    if each is not None and each[1].on_item == "undo_all":
        return undo.begin(d, f"{step.path}: {st.outcome}")
    what = step.operation if isinstance(step, Call) else step.path
    message = f"{what}: {st.outcome}" + (f": {st.detail}" if st.detail else "")
    held = d.effects.get(st.effect or "")
    names = {"operation": what} | ({"system": held.system} if held is not None else {})
    st.phase, st.retry_at, st.until = "parked", None, None
    choices: tuple[Choice, ...] = STEP_CHOICES
    if isinstance(step, Approve) or st.outcome == "stale" or _ends_ungranted(d, step, st):
        # Nobody approves by a Case: behind a call whose approval fell, others would go out that rest on it.
        choices = tuple(c for c in choices if c is not Choice.CONTINUE)
    d.open_case(d.key(step), st, st.outcome or "parked", message, names, choices, effect=st.effect)
    return True


def _ends_ungranted(d: DecisionContext, step: Step, st: StepState) -> bool:
    """Would an approval be gone round by passing over the step? It says whether one is asked for at all, or it stands in
    what follows a refused one, and nothing behind it keeps the Run from going on. Of an unknown call a person says what
    became of it: that passes over nothing."""
    if st.outcome == "unknown":
        return False
    if isinstance(step, Check | Choose | Each):
        inside = (block for at, block in d.blocks.items() if at.startswith(f"{step.path}/"))
        if any(isinstance(other, Approve) for block in inside for other in block.steps):
            return True
    for below, frame in reversed(list(pairwise(d.s.frames))):
        if frame.kind == "signal":
            return False
        if frame.kind != "outcome":
            continue
        refused = isinstance(d.block(below.block).steps[below.index], Approve)
        verb_ = d.block(frame.block).verb
        goes_on = verb_ is None or verb_.name == "continue"
        if goes_on and (refused or d.s.steps[frame.step].outcome == "stale"):
            return True
    return False


def expression_failed(d: DecisionContext, message: str) -> bool:
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
    raise AssertionError("a formula was evaluated where no step is up")


def _again(d: DecisionContext, step: Step, st: StepState, v: Verb, address: str) -> bool:
    """The only way back: to a step or the start, counted by the reaction that leads there."""
    target = v.target or "start"
    if not _counted(d, address, target, v.at_most):
        st.detail = f"{st.detail} (again from {target} {v.at_most} times)".strip()
        return park(d, step, st)
    d.s.back = target
    return True


def _counted(d: DecisionContext, address: str, target: str, at_most: int) -> bool:
    count = d.s.agains.get(f"{address}>{target}", 0) + 1
    if count > at_most:
        return False
    d.s.agains[f"{address}>{target}"] = count
    return True


def go_back(d: DecisionContext) -> bool:
    """Begin a new round at a step of the workflow, once nothing is under way: a call of unknown outcome is
    never made again under another key. Approvals behind the place fall; what was confirmed stays."""
    if d.under_way():
        cancel.ask_what_happened(d)
        return False
    target, d.s.back = d.s.back, ""
    main = d.block("")
    found = [n for n, s in enumerate(main.steps) if target in (s.id, s.path)]
    cancel.abandon(d)
    if not d.s.confirmed:
        guards.give_back(d, list(d.s.reserved))
    before = {s.path for s in main.steps[: found[0]]} if found else set()
    for asked, st in cancel.in_force(d):
        if asked.path.split("/")[0] not in before:
            cancel.close_approval(d, st, ApprovalState.VOID)
    cancel.close_open_approvals(d)
    d.s.round += 1
    d.s.frames = d.s.frames[:1]
    d.s.frames[0].index = found[0] if found else 0
    if found:
        d.s.refresh = "recheck"
    else:
        facts.anew(d)
    return True


def resume(d: DecisionContext, step: Step, st: StepState) -> bool:
    """A step that was put off: has its time come, or its Case been decided?"""
    match st.phase:
        case "queued" if st.queue_until is not None and st.queue_until <= d.now:
            return verb(d, step, st, Verb(st.then), step.path)
        case "backoff" | "queued":
            if st.retry_at is not None and st.retry_at > d.now:
                return False
            st.retry_at = None
            return _once_more(d, step, st)
        case "reacting":
            return done(d, step, st)
        case _:
            return False


def _once_more(d: DecisionContext, step: Step, st: StepState) -> bool:
    if isinstance(step, Call):
        return handle(d, step, st, calls.once_more(d, step, st))
    st.phase, st.outcome, st.retry_after, st.entered = "new", "", None, d.now
    return True


# ------------------------------------------------------------------ ends of blocks


def end_of_block(d: DecisionContext, frame: BlockFrame, block: Block) -> bool:
    """A block is through: apply its verb to whoever entered it, or go on behind that."""
    if frame.kind == "main":
        verb_ = block.verb
        return end(d, RunStatus.DONE, (verb_.state if verb_ and verb_.name == "stop" else None) or d.business)
    if frame.kind == "signal":
        return _end_of_signal(d, frame, block)
    d.s.frames.pop()
    step = _entered_by(d)
    st = d.s.steps[frame.step]
    if block.verb is not None:
        return verb(d, step, st, block.verb, frame.block)
    if frame.kind == "item":
        st.position += 1
        assert isinstance(step, Each)
        return handle(d, step, st, steps.next_item(d, step, st))
    return done(d, step, st)


def _end_of_signal(d: DecisionContext, frame: BlockFrame, block: Block) -> bool:
    """After a signal's steps the Run goes on where it was, unless a verb says otherwise."""
    name = block.verb.name if block.verb is not None else "continue"
    st = d.s.steps.setdefault(f"{frame.block}[{frame.tag}]", StepState(entered=d.now))
    if st.phase == "parked":
        return False
    if st.phase != "done" and block.verb is not None:
        if name == "stop":
            guards.give_back_unused(d, frame.block)
            return end(d, RunStatus.DONE, block.verb.state or d.business)
        if name == "undo":
            return undo.begin(d, frame.block)
        target = block.verb.target or "start"
        if name == "again" and _counted(d, frame.block, target, block.verb.at_most):
            d.s.back = target
            st.phase = "done"
            return True
        if name in ("park", "again"):
            st.phase = "parked"
            event = d.definition.signals[int(frame.block.removeprefix("signal"))].event
            message = f"{event} interrupted the run" + (
                " too often to begin again" if name == "again" else ""
            )
            d.open_case(f"{frame.block}[{frame.tag}]", st, "signal", message, {})
            return False
    st.phase = "done"
    d.s.frames.pop()
    return True


def _entered_by(d: DecisionContext) -> Step:
    """The step whose reaction, branch or list has just been left: the one that the top frame stands on."""
    below = d.s.frames[-1]
    return d.block(below.block).steps[below.index]


def _item_of(d: DecisionContext) -> tuple[BlockFrame, Each] | None:
    """The innermost list item that the Run is inside of; a signal's steps are inside of none."""
    for at in range(len(d.s.frames) - 1, 0, -1):
        frame, below = d.s.frames[at], d.s.frames[at - 1]
        if frame.kind == "signal":
            return None
        if frame.kind == "item":
            each = d.block(below.block).steps[below.index]
            assert isinstance(each, Each)
            return frame, each
    return None


def leave_if_over(d: DecisionContext, frame: BlockFrame) -> None:
    """After a wait inside a list's item, time has passed: nothing more of the list is done when its `until`
    holds by now."""
    found = _item_of(d)
    if found is not None and found[0] is frame and found[1].until is not None and d.holds(found[1].until):
        _leave_loop(d, *found)


def _leave_loop(d: DecisionContext, frame: BlockFrame, each: Each) -> bool:
    """The list is left at an item that failed: nothing of it is sent any more."""
    at = d.s.frames.index(frame)
    inside = d.item()
    for key, st in d.s.steps.items():
        if st.phase != "done" and key.endswith(f"[{inside}]"):
            cancel.give_up_call(d, st)
            st.phase = "done"
    del d.s.frames[at:]
    d.s.items.pop(each.name, None)
    return done(d, each, d.s.steps[frame.step])


# ------------------------------------------------------------------ a person decided


def absorb_case(d: DecisionContext, stimulus: Stimulus) -> str | None:
    """A Case of this Run was resolved. A decision about what has gone on since decides nothing."""
    choice = Choice(str(stimulus.body["choice"]))
    found = next(((k, s) for k, s in d.s.steps.items() if s.case == stimulus.ref), None)
    if found is None or found[1].phase != "parked":
        return "what it was about has gone on since"
    key, st = found
    st.case = None
    if key.startswith(cancel.UNKNOWN):
        st.phase, st.until = "waiting", d.now + cancel.LOOKUP_GRACE  # the person's word comes as an outcome
        return None
    if choice is Choice.CLOSE:
        guards.give_back_unused(d)
        end(d, RunStatus.CLOSED, "closed")
        return None
    if key == deadline.PLACE and choice is Choice.CONTINUE:
        st.phase = "done"  # it goes on anyway, and nobody is asked again
        return None
    if key == deadline.PLACE and choice is Choice.UNDO:
        st.phase = "done"
        undo.begin(d, f"decided on {stimulus.ref}")
        return None
    if d.s.undo is not None:
        return undo.absorb_choice(d, st, choice)
    match choice:
        case Choice.RETRY:
            _try_again(d, st)
        case Choice.UNDO:
            undo.begin(d, f"decided on {stimulus.ref}")
        case Choice.CONTINUE if key.startswith("signal") and key not in _places(d):
            st.phase = "done"
        case Choice.CONTINUE:
            step = _places(d).get(key)
            if step is None:
                return "its step is not up any more"
            cancel.give_up_call(d, st)
            done(d, step, st)
        case _:
            st.case = str(stimulus.ref)
            return f"{choice} decides nothing here"
    return None


def _try_again(d: DecisionContext, st: StepState) -> None:
    """From the beginning, with the facts as they are now; what was approved and fell is approved anew."""
    st.tries, st.phase, st.retry_at, st.topic = 0, "backoff", d.now, ""
    st.queue_until = st.retry_after = None
    if st.back:
        d.s.back, st.back = st.back, ""
    if not d.s.confirmed and not d.s.refresh:
        facts.anew(d)


def _places(d: DecisionContext) -> dict[str, Step]:
    """The steps that are up, outermost first, by the key of their state."""
    found = {}
    for depth, frame in enumerate(d.s.frames, start=1):
        block = d.block(frame.block)
        if frame.index < len(block.steps):
            step = block.steps[frame.index]
            found[d.key(step, depth)] = step
    return found
