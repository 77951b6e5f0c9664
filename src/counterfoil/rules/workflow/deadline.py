"""The deadline of a Run: one Case when it is not through in time. The Run goes on meanwhile.

Only time in which we owe an action counts: while the Run stands in a `wait`, for others or for a date, it does not.
"""

from __future__ import annotations

from datetime import timedelta

from counterfoil.core import wire
from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import RUN_CHOICES
from counterfoil.model.definition import Wait
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import StepState

PLACE = "deadline:"
"""Where it is kept how much time is left: `waiting` while it counts, `paused` since `entered` while it does not."""


def resume(d: DecisionContext) -> None:
    """The time that passed since the last turn counts, unless the Run stood in a wait."""
    st = d.s.steps.get(PLACE)
    if st is not None and st.phase == "paused" and st.until is not None and st.entered is not None:
        st.until += d.now - st.entered
        st.phase = "waiting"


def look(d: DecisionContext) -> None:
    """Begin to count, tell that the time is over, or stop counting, as the Run stands at the end of a turn."""
    if d.terminal:
        return
    st = d.s.steps.get(PLACE) or _begin(d)
    if st is None or st.phase != "waiting" or st.until is None:
        return
    if st.until <= d.now:
        _open(d, st)
    elif _waits(d):
        st.phase, st.entered = "paused", d.now


def _begin(d: DecisionContext) -> StepState | None:
    allowed = d.definition.deadline
    begun = d.s.started or d.s.starts_at is None or d.s.starts_at <= d.now
    if allowed is None or not begun:
        return None
    # A Run that was under way before anybody counted has its time before it.
    since = d.run.created_at if d.run.consumed == 0 and d.s.starts_at is None else d.now
    st = d.s.steps[PLACE] = StepState(
        phase="waiting", entered=since, until=since + timedelta(seconds=allowed)
    )
    return st


def _open(d: DecisionContext, st: StepState) -> None:
    st.phase = "parked"
    due, st.until = st.until, None
    choices = tuple(c for c in RUN_CHOICES if not (d.undoing and c is Choice.UNDO))
    d.open_case(
        PLACE,
        st,
        "deadline",
        f"the run was to be through by {wire.time_text(due) if due else 'now'}",
        {},
        choices,
    )


def _waits(d: DecisionContext) -> bool:
    if not d.s.frames or d.undoing or d.s.ending or d.s.back:
        return False
    frame = d.s.frames[-1]
    steps = d.block(frame.block).steps
    step = steps[frame.index] if frame.index < len(steps) else None
    if not isinstance(step, Wait):
        return False
    st = d.s.steps.get(d.key(step))
    return st is not None and st.phase == "waiting"
