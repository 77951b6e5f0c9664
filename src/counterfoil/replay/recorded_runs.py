"""Reads the result of a Run from its rows, instead of deciding it again.

Only for Runs that ended under the same model as the replay, without anything that a replay treats differently: no Case,
refusal, retry or rejected approval, no event received or emitted, and only dates that depend on the start event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.run import Direction, RunStatus
from counterfoil.expr import Expression
from counterfoil.model.blocks import blocks_of
from counterfoil.model.definition import Call, Definition, Emit, Formula, Literal, Template
from counterfoil.replay.recorded_answers import RecordedAnswers
from counterfoil.replay.replayed_run import ReplayedApproval, ReplayedCall, ReplayedRun, tier_text
from counterfoil.rules.workflow import calls
from counterfoil.rules.workflow.commands import LateBoundInput
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.port.recorded import RecordedRun


class RecordedRuns:
    """Reads replay results of one workflow's Runs from their rows."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._calls: dict[str, Call] = {}
        with_foil = {foil.operation for foil in definition.foils}
        steps = [step for block in blocks_of(definition).values() for step in block.steps]
        self.readable = not any(isinstance(step, Emit) for step in steps)
        """True if the rows alone determine the result of such a Run."""
        for step in steps:
            if isinstance(step, Call):
                self._calls[step.path] = step
                self.readable &= step.operation not in with_foil
                self.readable &= all(
                    _reads_event_only(t) for t in (step.document, step.posting, step.revenue)
                )
        self.readable &= not definition.casts

    def result(
        self, run: RecordedRun, names: Mapping[str, Any], answers: RecordedAnswers
    ) -> ReplayedRun | None:
        """Return the Run's result; None if it must be decided again."""
        r = run.run
        if not self.readable or r.status is not RunStatus.DONE or r.direction is not Direction.FORWARD:
            return None
        if run.cases or run.inbox or not all(a.state is ApprovalState.GRANTED for a in run.approvals):
            return None
        if len({a.path for a in run.approvals}) < len(run.approvals):
            return None
        effects = {}
        for effect in run.effects:
            planned = self._planned(run, effect, names, answers)
            if planned is None:
                return None
            effects[effect.id] = planned
        return ReplayedRun(
            workflow=r.workflow,
            key=r.bkey,
            state=r.state,
            effects=effects,
            approvals={
                a.path: ReplayedApproval(
                    policy=a.policy, tier=tier_text(a.automatic, a.roles, a.quorum), amount=a.amount
                )
                for a in run.approvals
            },
            reserved={(guard.scope, guard.key): guard.own for guard in run.guards},
        )

    def _planned(
        self, run: RecordedRun, effect: Effect, names: Mapping[str, Any], answers: RecordedAnswers
    ) -> ReplayedCall | None:
        step = self._calls.get(effect.path)
        is_plain = effect.state is EffectState.CONFIRMED and not effect.gen and effect.undoes is None
        if step is None or step.operation != effect.operation or not is_plain or effect.repeat == "read":
            return None
        answers.now = effect.created_at
        answers.forget("periods")
        state = RunState(names=dict(names))
        d = DecisionContext(
            self._definition, run.run, state, effect.created_at, LateBoundInput(answers=answers)
        )
        dates = calls.dates(d, step)
        if isinstance(dates, str):
            return None
        return ReplayedCall(
            operation=effect.operation, input=wire.loads(effect.input), dates=dates, request=effect.request
        )


def _reads_event_only(template: Template | None) -> bool:
    match template:
        case None | Literal():
            return True
        case Formula(expression):
            return _reads(expression) <= {"event"}
    return False


def _reads(expression: Expression) -> frozenset[str]:
    return frozenset(expression.names) | ({"?"} if expression.lookup_calls else frozenset())
