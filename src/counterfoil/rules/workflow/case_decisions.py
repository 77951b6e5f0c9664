"""Decisions of persons on a Run's Cases, applied to the steps that the Cases are about."""

from __future__ import annotations

from counterfoil.core.case import Choice
from counterfoil.core.run import RunStatus
from counterfoil.model.definition import Step
from counterfoil.rules.workflow import abandon, guards, reactions, run_deadline, start_facts, undo
from counterfoil.rules.workflow.commands import Stimulus
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import StepState


def absorb_case(context: DecisionContext, stimulus: Stimulus) -> str | None:
    """Apply a decision on a Case of this Run. A decision about a step that has moved on changes nothing."""
    choice = Choice(str(stimulus.body["choice"]))
    match = next(((k, s) for k, s in context.state.steps.items() if s.case == stimulus.ref), None)
    if match is None or match[1].phase != "parked":
        return "the step of the Case has moved on"
    key, st = match
    st.case = None
    if key.startswith(abandon.UNKNOWN):
        # The person's answer arrives as an outcome.
        st.phase, st.until = "waiting", context.now + abandon.LOOKUP_GRACE
        return None
    if choice is Choice.CLOSE:
        guards.give_back_unused(context)
        reactions.end(context, RunStatus.CLOSED, "closed")
        return None
    if key == run_deadline.PLACE and choice is Choice.CONTINUE:
        st.phase = "done"  # the Run continues, and no second Case is opened
        return None
    if key == run_deadline.PLACE and choice is Choice.UNDO:
        st.phase = "done"
        undo.begin(context, f"decided on {stimulus.ref}")
        return None
    if context.state.undo is not None:
        return undo.absorb_choice(context, st, choice)
    match choice:
        case Choice.RETRY:
            _try_again(context, st)
        case Choice.UNDO:
            undo.begin(context, f"decided on {stimulus.ref}")
        case Choice.CONTINUE if key.startswith("signal") and key not in _active_steps(context):
            st.phase = "done"
        case Choice.CONTINUE:
            step = _active_steps(context).get(key)
            if step is None:
                return "its step is no longer active"
            abandon.give_up_call(context, st)
            reactions.done(context, step, st)
        case _:
            st.case = str(stimulus.ref)
            return f"{choice} is not possible here"
    return None


def _try_again(context: DecisionContext, st: StepState) -> None:
    """Retry the step from its beginning with current facts; an approval that was closed is requested again."""
    st.tries, st.phase, st.retry_at, st.topic = 0, "backoff", context.now, ""
    st.queue_until = st.retry_after = None
    if st.back:
        context.state.back, st.back = st.back, ""
    if not context.state.confirmed and not context.state.refresh:
        start_facts.refresh_all(context)


def _active_steps(context: DecisionContext) -> dict[str, Step]:
    """Return the active steps by the key of their state, outermost first."""
    frames = enumerate(context.state.frames, start=1)
    active = ((depth, context.step_at(frame)) for depth, frame in frames)
    return {context.key(step, depth): step for depth, step in active if step is not None}
