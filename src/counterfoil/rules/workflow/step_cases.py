"""Cases of a Run's steps: opened where a step waits for a person, and closed once it no longer does."""

from __future__ import annotations

from collections.abc import Mapping

from counterfoil.core import ids
from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import reason_row
from counterfoil.rules.workflow.commands import CloseCase, OpenCase
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import StepState


def open_case(
    context: DecisionContext,
    step_key: str,
    st: StepState,
    reason: str,
    message: str,
    names: Mapping[str, str],
    choices: tuple[Choice, ...] | None = None,
    effect: str | None = None,
) -> None:
    """Open the Case of a step. It replaces the one that the step had."""
    _close(context, st)
    st.cases += 1
    st.case = ids.derive("case", context.run.id, step_key, reason, st.cases)
    owners = context.definition.exception_owners or context.definition.owners
    context.commands.append(
        OpenCase(
            case=st.case,
            reason=reason,
            message=message,
            path=step_key,
            owner=owners[0] if owners else "",
            within=context.definition.failure.case_within,
            choices=reason_row(reason).choices if choices is None else choices,
            names=names,
            effect=effect,
        )
    )


def close_left_cases(context: DecisionContext) -> None:
    """Close the Cases whose decision nothing waits for any more: their step was left, or the Run has ended."""
    for st in context.state.steps.values():
        if context.terminal or st.phase != "parked":
            _close(context, st)


def _close(context: DecisionContext, st: StepState) -> None:
    """Close the Case of a step, if it has one. One that this decision opens is not opened at all."""
    case, st.case = st.case, None
    if case is None:
        return
    opened = [c for c in context.commands if isinstance(c, OpenCase) and c.case == case]
    if opened:
        context.commands.remove(opened[0])
        return
    what = "ended" if context.terminal else "went on"
    state = f" and is {context.business}" if context.business else ""
    context.commands.append(CloseCase(case=case, note=f"The Run {what}{state}"))
