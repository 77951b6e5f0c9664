"""Giving up calls, steps and approvals of a Run, and asking a person about calls of unknown outcome.

Step handlers, reactions and undo all use these functions; nothing here decides how the Run goes on.
"""

from __future__ import annotations

from datetime import timedelta

from counterfoil.core.approval import APPROVAL_MOVES, ApprovalState
from counterfoil.core.case_choices import UNKNOWN_CHOICES
from counterfoil.core.effect import EffectState
from counterfoil.model.blocks import approvals_of
from counterfoil.model.definition import Approve
from counterfoil.rules.workflow import run_deadline, step_cases
from counterfoil.rules.workflow.commands import CloseApproval, DropEffect, PlanEffect, SendAgain, WriteFoil
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import StepState

LOOKUP_GRACE = timedelta(minutes=15)
"""Time in which look-ups may find the outcome of a call before a person is asked. Look-ups go on afterwards."""
UNKNOWN = "unknown:"
"""Prefix of the state key under which a question about an effect's outcome is kept."""


# ------------------------------------------------------------------ calls


def drop(context: DecisionContext, effect: str) -> None:
    """Give up an effect that is planned or refused."""
    row = context.effects.get(effect)
    if effect in context.planned and row is None:
        _remove(context, effect, (PlanEffect, WriteFoil))
    elif row is not None and row.state in (EffectState.PLANNED, EffectState.REFUSED):
        _remove(context, effect, (SendAgain, DropEffect))
        context.commands.append(DropEffect(effect))


def _remove(
    context: DecisionContext,
    effect: str,
    kinds: tuple[type[PlanEffect | WriteFoil | SendAgain | DropEffect], ...],
) -> None:
    """Remove the commands of these kinds that this decision has given for the effect."""
    context.commands = [c for c in context.commands if not (isinstance(c, kinds) and c.effect == effect)]
    context.planned.discard(effect)


def give_up_call(context: DecisionContext, st: StepState) -> None:
    """Give up the call of a step, if it has one that may still be sent."""
    if st.effect is not None:
        drop(context, st.effect)


def abandon(context: DecisionContext) -> None:
    """Leave every unfinished step: none of its calls is sent any more. Outcomes of sent calls are waited for."""
    for key, st in context.state.steps.items():
        if st.phase != "done" and key != run_deadline.PLACE:
            give_up_call(context, st)
            st.phase = "done"
            st.until = st.retry_at = st.queue_until = None
            st.topic = ""
    for effect in context.effects.values():
        if effect.state is EffectState.PLANNED:
            drop(context, effect.id)
    context.state.items = {}


def ask_what_happened(context: DecisionContext) -> None:
    """Open a Case for each call of unknown outcome: at once where no look-up exists, else after `LOOKUP_GRACE`.

    Until its outcome is recorded the Run cannot end, go back or undo.
    """
    for effect in context.effects.values():
        if effect.state is not EffectState.UNKNOWN:
            continue
        key = f"{UNKNOWN}{effect.id}"
        st = context.state.steps.setdefault(key, StepState(entered=context.now, phase="waiting"))
        if st.until is None:
            st.until = context.now if effect.repeat == "blind" else context.now + LOOKUP_GRACE
        if st.phase == "waiting" and st.until <= context.now:
            st.phase = "parked"
            names = {"system": effect.system, "operation": effect.operation}
            message = f"The outcome of {effect.operation} is unknown"
            step_cases.open_case(
                context, key, st, "unknown", message, names, UNKNOWN_CHOICES, effect=effect.id
            )


# ------------------------------------------------------------------ approvals


def in_force(context: DecisionContext) -> list[tuple[Approve, StepState]]:
    """Return the granted approvals on the way to the Run's position, each from its latest round."""
    active: dict[int, tuple[Approve, StepState]] = {}
    for step in approvals_of(context.definition):
        for depth in range(len(context.state.frames) + 1):
            keys = (context.key(step, depth, n) for n in range(context.state.round, -1, -1))
            st = next((context.state.steps[k] for k in keys if k in context.state.steps), None)
            if st is not None and st.phase == "done" and st.outcome == "granted":
                active[id(st)] = (step, st)
    return list(active.values())


def close_approval(context: DecisionContext, st: StepState, state: ApprovalState) -> None:
    """Close the approval of a step; a grant is not valid any more."""
    approval = context.approvals.get(st.approval or "")
    closing = {c.approval for c in context.commands if isinstance(c, CloseApproval)}
    if approval is not None and approval.id not in closing and state in APPROVAL_MOVES[approval.state]:
        context.commands.append(CloseApproval(approval.id, state))
    st.subject = ""
    if st.outcome == "granted":
        st.outcome = str(state)


def close_open_approvals(context: DecisionContext) -> None:
    """Void the open approvals of a Run that ends, goes back or undoes."""
    closing = {c.approval for c in context.commands if isinstance(c, CloseApproval)}
    for approval in context.live.approvals:
        if approval.state is ApprovalState.OPEN and approval.id not in closing:
            context.commands.append(CloseApproval(approval.id, ApprovalState.VOID))
