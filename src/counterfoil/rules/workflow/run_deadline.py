"""Deadline of a Run: one Case if it does not finish in time. The Run continues meanwhile.

Only time in which we owe an action counts. Time in a `wait`, for other parties or for a date, does not.
"""

from __future__ import annotations

from datetime import timedelta

from counterfoil.core import wire
from counterfoil.core.case import Choice
from counterfoil.core.case_choices import RUN_CHOICES
from counterfoil.model.definition import Wait
from counterfoil.rules.workflow import step_cases
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import StepState

PLACE = "deadline:"
"""State key of the remaining time: phase `waiting` while time counts, `paused` since `entered` while it does not."""


def resume(context: DecisionContext) -> None:
    """Move the deadline by the time that the Run spent in a wait since its last turn."""
    st = context.state.steps.get(PLACE)
    if st is not None and st.phase == "paused" and st.until is not None and st.entered is not None:
        st.until += context.now - st.entered
        st.phase = "waiting"


def look(context: DecisionContext) -> None:
    """Start the deadline, pause it or open its Case, by the Run's position at the end of a turn."""
    if context.terminal:
        return
    st = context.state.steps.get(PLACE) or _begin(context)
    if st is None or st.phase != "waiting" or st.until is None:
        return
    if st.until <= context.now:
        _open(context, st)
    elif _waits(context):
        st.phase, st.entered = "paused", context.now


def _begin(context: DecisionContext) -> StepState | None:
    seconds, starts_at = context.definition.deadline, context.state.starts_at
    is_due = context.state.started or starts_at is None or starts_at <= context.now
    if seconds is None or not is_due:
        return None
    # A Run that was in progress when its workflow got a deadline has the whole time ahead of it.
    is_new = context.run.consumed == 0 and starts_at is None
    since = context.run.created_at if is_new else context.now
    until = since + timedelta(seconds=seconds)
    return context.state.steps.setdefault(PLACE, StepState(phase="waiting", entered=since, until=until))


def _open(context: DecisionContext, st: StepState) -> None:
    st.phase = "parked"
    due, st.until = st.until, None
    choices = tuple(c for c in RUN_CHOICES if not (context.undoing and c is Choice.UNDO))
    message = f"The Run did not finish by {wire.time_text(due) if due else 'now'}"
    step_cases.open_case(context, PLACE, st, "deadline", message, {}, choices)


def _waits(context: DecisionContext) -> bool:
    if not context.state.frames or context.undoing or context.state.ending or context.state.back:
        return False
    step = context.step_at(context.state.frames[-1])
    if not isinstance(step, Wait):
        return False
    st = context.state.steps.get(context.key(step))
    return st is not None and st.phase == "waiting"
