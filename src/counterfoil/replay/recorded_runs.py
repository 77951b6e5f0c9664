"""A Run that ended under the very model that replays it: what it did stands in its rows, and need not be decided again.

Only where nothing came in between that a replay would take otherwise: no Case, no refusal, no second try, nobody's word
against it, no event told or emitted, and dates that its event alone gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.run import Direction, RunStatus
from counterfoil.expr import Expression
from counterfoil.model.definition import Call, Definition, Emit, Formula, Literal, Template
from counterfoil.replay.recorded_answers import RecordedAnswers
from counterfoil.replay.run_replayer import AskedApproval, PlannedCall, ReplayedRun, tier_of
from counterfoil.rules.workflow import calls
from counterfoil.rules.workflow.commands import LiveContext
from counterfoil.rules.workflow.context import DecisionContext, blocks_of
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.port.recorded import RecordedRun


class RecordedRuns:
    """What Runs of one workflow did, read from their rows."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._calls: dict[str, Call] = {}
        owed = {foil.operation for foil in definition.foils}
        steps = [step for block in blocks_of(definition).values() for step in block.steps]
        self.readable = not any(isinstance(step, Emit) for step in steps)
        """Whether rows alone tell what such a Run did."""
        for step in steps:
            if isinstance(step, Call):
                self._calls[step.path] = step
                self.readable &= step.operation not in owed
                self.readable &= all(_of_event(t) for t in (step.document, step.posting, step.revenue))
        self.readable &= not definition.casts

    def played(
        self, run: RecordedRun, names: Mapping[str, Any], answers: RecordedAnswers
    ) -> ReplayedRun | None:
        """None where it must be decided to be known."""
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
                a.path: AskedApproval(
                    policy=a.policy, tier=tier_of(a.automatic, a.roles, a.quorum), amount=a.amount
                )
                for a in run.approvals
            },
            reserved={(seen.scope, seen.key): seen.taken for seen in run.guards},
        )

    def _planned(
        self, run: RecordedRun, effect: Effect, names: Mapping[str, Any], answers: RecordedAnswers
    ) -> PlannedCall | None:
        step = self._calls.get(effect.path)
        plain = effect.state is EffectState.CONFIRMED and not effect.gen and effect.undoes is None
        if step is None or step.operation != effect.operation or not plain or effect.repeat == "read":
            return None
        answers.now = effect.created_at
        answers.forget("periods")
        state = RunState(names=dict(names))
        d = DecisionContext(self._definition, run.run, state, effect.created_at, LiveContext(answers=answers))
        dates = calls.dates(d, step)
        if isinstance(dates, str):
            return None
        return PlannedCall(
            operation=effect.operation,
            input=wire.loads(effect.input),
            dates=dates,
            request=effect.request,
        )


def _of_event(template: Template | None) -> bool:
    """Whether it reads the event that began the Run and nothing else."""
    match template:
        case None | Literal():
            return True
        case Formula(expression):
            return _reads(expression) <= {"event"}
    return False


def _reads(expression: Expression) -> frozenset[str]:
    return frozenset(expression.names) | ({"?"} if expression.lookup_calls else frozenset())
