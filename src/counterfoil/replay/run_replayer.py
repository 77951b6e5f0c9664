"""Replays one Run under one model: decides its turns and answers its calls from the recording.

Nothing is sent. A call with the recorded request gets the recorded outcome. Any other call is assumed to succeed, and
the assumption is counted. Time passes as far as it did for the recorded Run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.effect import Effect, EffectState, concluded, outcome_body, outcome_ref
from counterfoil.core.run import TERMINAL, Run
from counterfoil.model import Model
from counterfoil.model.blocks import blocks_of
from counterfoil.model.definition import Definition, OutboundMapping, Wait
from counterfoil.replay.assumed_results import assumed_result
from counterfoil.replay.recorded_answers import NotRecorded, RecordedAnswers, ReplaySide
from counterfoil.replay.replayed_run import (
    ReplayedApproval,
    ReplayedCall,
    ReplayedFoil,
    ReplayedRun,
    tier_text,
)
from counterfoil.rules.entities import entity_of_names
from counterfoil.rules.json_values import run_names
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.apply import DecidedChanges, RunRows, apply, changes_of, conclude, run_after
from counterfoil.rules.workflow.decide import decide
from counterfoil.rules.workflow.records import fault_ahead, request_of
from counterfoil.rules.workflow.state import RunState, names_of
from counterfoil.store.port.recorded import RecordedRun

MAX_TURNS = 300
"""Turns after which the replay of a Run stops."""
ASSUMED_ID = "0"
"""External id in assumed results. A number, because some systems require one."""
ANSWERS = "effects taken as done"
GRANTED = "approvals taken as granted"
MATCHED = "counterfoils taken as matched"
CARRIED = "missing objects taken as carried over"
SHORTENED = f"Runs left after {MAX_TURNS} turns"
FINAL_APPROVALS = frozenset({ApprovalState.GRANTED, ApprovalState.REJECTED, ApprovalState.EXPIRED})


class RunReplayer:
    """Replays Runs of one side."""

    def __init__(self, side: ReplaySide) -> None:
        self.side = side
        self._outbound: dict[tuple[Model, str], OutboundMapping | None] = {}
        self._waits_for_foils: dict[str, bool] = {}

    def replay(
        self,
        start: RoutedStart,
        ref: str,
        at: datetime,
        recorded: RecordedRun | None,
        answers: RecordedAnswers,
    ) -> ReplayedRun:
        """Replay a Run from its start until it ends or waits for something unrecorded. Raises NotRecorded.

        `ref`: id of the start event. `at`: start time if there is no recorded Run.
        """
        started_at = recorded.run.created_at if recorded is not None else at
        entity = entity_of_names(self.side.model, start.names)
        model = self.side.model.at(entity, started_at.date())
        definition = model.workflow(start.workflow)
        answers.of_run(recorded, _facts(definition, recorded), started_at, model)
        unrendered: dict[str, c.Unrendered] = {}
        while True:
            turns = _RunTurns(self, definition, start, ref, started_at, recorded, answers, unrendered)
            if turns.run():
                self.side.assumed += turns.assumed
                return turns.result

    def assumes_matches(self, definition: Definition) -> bool:
        """Return True if the workflow waits for counterfoils, which the replay assumes to be matched."""
        if definition.name not in self._waits_for_foils:
            self._waits_for_foils[definition.name] = _waits_for_foils(definition)
        return self._waits_for_foils[definition.name]

    def outbound(self, model: Model, operation: str) -> OutboundMapping | None:
        key = (model, operation)
        if key not in self._outbound:
            self._outbound[key] = model.outbound(operation)
        return self._outbound[key]


def _facts(definition: Definition, recorded: RecordedRun | None) -> dict[tuple[str, str], Any]:
    """Return the heads as the recorded Run read them last, by object and key."""
    objects = {fact.name: fact.target for fact in definition.facts if fact.source == "head"}
    if recorded is None or not objects:
        return {}
    names = names_of(recorded.run.ctx, objects)
    return {
        (objects[name], str(value["id"])): value
        for name, value in names.items()
        if isinstance(value, dict) and "id" in value
    }


def _waits_for_foils(definition: Definition) -> bool:
    return any(
        isinstance(step, Wait) and step.foils is not None
        for block in blocks_of(definition).values()
        for step in block.steps
    )


class _RunTurns:
    def __init__(
        self,
        replayer: RunReplayer,
        definition: Definition,
        start: RoutedStart,
        ref: str,
        started_at: datetime,
        recorded: RecordedRun | None,
        answers: RecordedAnswers,
        unrendered: dict[str, c.Unrendered],
    ) -> None:
        self.replayer = replayer
        self.side = replayer.side
        self.definition = definition
        self.recorded = recorded
        self.answers = answers
        self.unrendered = unrendered
        self.now = started_at
        self.row = Run(
            id=start.run,
            workflow=start.workflow,
            bkey=start.key,
            generation=start.generation,
            pin=definition.digest,
            arrival=0,
            created_at=started_at,
            entity=entity_of_names(replayer.side.model, start.names),
        )
        self.state = RunState()
        self.seq = 1
        self.stimuli = [c.Stimulus(kind="start", ref=ref, seq=1, at=started_at, body=start.names)]
        self.inbox = list(recorded.inbox) if recorded is not None else []
        """Recorded inbox items that are not delivered yet."""
        self.recorded_effects = {e.id: e for e in recorded.effects} if recorded is not None else {}
        self.until = (recorded.run.now or started_at) if recorded is not None else started_at
        self.rows = RunRows()
        self.sent: dict[str, tuple[bytes, Mapping[str, Any]]] = {}
        """Request and canonical input by effect."""
        self.approval_counts: dict[str, int] = {}
        self.result = ReplayedRun(workflow=start.workflow, key=start.key)
        self.assumed: Counter[str] = Counter()

    def run(self) -> bool:
        """Replay until the Run ends or waits. Returns False if a request could not be rendered: the replay must start
        again with this information."""
        for _ in range(MAX_TURNS):
            if not self._turn():
                return False
            if self.row.status in TERMINAL or not self._has_more():
                break
        else:
            self.assumed[SHORTENED] += 1
        if self.replayer.assumes_matches(self.definition):
            self.assumed[MATCHED] += 1
        for reserve in self.state.reserved.values():
            key = (reserve.scope, reserve.key)
            self.result.reserved[key] = self.result.reserved.get(key, 0) + reserve.amount
        self.result.state = ", ".join([self.row.state, *self.result.cases])
        return True

    # ------------------------------------------------------------------ one turn

    def _turn(self) -> bool:
        live = c.LateBoundInput(
            effects=self.rows.effects,
            approvals=self.rows.approvals,
            answers=self.answers,
            unrendered=self.unrendered,
        )
        self.answers.now = self.now
        decision = decide(self.definition, self.row, self.stimuli, self.now, live, self.state, stored=False)
        if any(self._fails_ahead(call, decision) for call in decision.ahead):
            return False
        self.stimuli = []
        self.due = decision.due
        if decision.after is not None:
            self.state = decision.after
        self.row = run_after(self.row, decision, self.now, decision.due)
        if decision.commands:
            changes = changes_of(decision.commands, self.definition, self.row.id, self.now, with_covers=False)
            self.rows = apply(self.rows, changes, self.now)
        return all(self._command(command) for command in decision.commands)

    def _command(self, command: c.Command) -> bool:
        """Record a command in the result, and answer calls and approvals. False: a request cannot be rendered."""
        match command:
            case c.PlanEffect():
                return self._plan(command)
            case c.SendAgain(effect):
                self._answer_call(effect)
            case c.DropEffect(effect):
                self.result.effects.pop(effect, None)
                self._drop_foils(effect)
            case c.AskApproval():
                self._answer_approval(command)
            case c.WriteFoil():
                foil = ReplayedFoil(rule=command.rule, key=command.key, legs=command.legs)
                self.result.foils[f"{command.effect}/{command.rule}"] = foil
            case c.ReverseFoils(effect):
                self._drop_foils(effect)
            case c.EmitEvent():
                self.result.events[command.event] = (command.type, command.data)
            case c.OpenCase():
                self.result.cases.append(f"case:{command.reason}")
        return True

    def _drop_foils(self, effect: str) -> None:
        for id_ in [f for f in self.result.foils if f.startswith(f"{effect}/")]:
            del self.result.foils[id_]

    def _has_more(self) -> bool:
        """Prepare the next turn. Returns False if there is no stimulus and no deadline within the recorded time."""
        self._deliver()
        if self.stimuli:
            return True
        if self.due is not None and self.due <= self.until:
            self.now = self._next_time(self.due)
            self.answers.forget("periods", "period", "cutoff", "table")
            return True
        return False

    def _next_time(self, due: datetime) -> datetime:
        """Return the first time from `due` on with a recorded effect. Turns in between had no effect."""
        times = [e.created_at for e in self.recorded_effects.values()] + [self.until]
        return min((t for t in times if t >= due and t > self.now), default=max(due, self.now))

    def _add_stimulus(self, kind: str, ref: str, body: Mapping[str, Any], at: datetime) -> None:
        self.seq += 1
        self.stimuli.append(c.Stimulus(kind=kind, ref=ref, seq=self.seq, at=at, body=body))
        self.now = max(self.now, at)

    def _deliver(self) -> None:
        """Add recorded inbox items: those from before the last stimulus, or the next one if there is no stimulus."""
        upto = self.stimuli[-1].at if self.stimuli else None
        if upto is None and self.due is not None and self.inbox and self.inbox[0].at > self.due:
            return  # the deadline is earlier
        before: list[c.Stimulus] = []
        while self.inbox and (upto is None or self.inbox[0].at <= upto):
            item = self.inbox.pop(0)
            before.append(
                c.Stimulus(kind=item.kind, ref=item.ref, seq=0, at=item.at, body=wire.loads(item.body))
            )
            if upto is None:
                self.now = max(self.now, item.at)
                break
        if before:
            first = self.seq - len(self.stimuli) + 1
            self.stimuli = [
                msgspec.structs.replace(s, seq=first + n) for n, s in enumerate([*before, *self.stimuli])
            ]
            self.seq = first + len(self.stimuli) - 1

    # ------------------------------------------------------------------ effects

    def _plan(self, plan: c.PlanEffect) -> bool:
        operation = self.definition.operations[plan.operation]
        request = self._render(plan)
        if request is None:
            return False
        if operation.writes:
            self.result.effects[plan.effect] = ReplayedCall(
                operation=plan.operation, input=plan.input, dates=plan.dates, request=request
            )
        self.sent[plan.effect] = (request, plan.input)
        self._answer_call(plan.effect)
        return True

    def _render(self, plan: c.PlanEffect) -> bytes | None:
        """Return the request. None: it cannot be rendered; `unrendered` then has the reason."""
        outbound = self.replayer.outbound(self.answers.model, plan.operation)
        names = run_names(self.row, self.row.state, self.row.direction)
        while isinstance(request := request_of(plan, outbound, names, self.answers), c.Unrendered):
            if not request.unresolved or not self._assume_link(request):
                self.unrendered[plan.effect] = request
                return None
        return request

    def _fails_ahead(self, call: c.AheadCall, decision: c.Decision) -> bool:
        """Return True if a later call could not be rendered; `unrendered` then has the reason.

        What was not recorded, and a missing Link, count as there: the recorded Run may have ended before that call.
        """
        names = run_names(self.row, decision.state, decision.direction)
        try:
            fault = fault_ahead(
                call, self.replayer.outbound(self.answers.model, call.operation), names, self.answers
            )
        except NotRecorded:
            return False
        if fault is None or fault.unresolved:
            return False
        self.unrendered[call.name] = fault
        return True

    def _assume_link(self, missing: c.Unrendered) -> bool:
        """Assume a Link if a `sync` workflow carries such objects over. Returns False otherwise."""
        kind = self.side.model.objects.get(missing.object)
        if kind is None or kind.sync is None:
            return False
        self.assumed[CARRIED] += 1
        self._add_link(missing.object, missing.canonical, missing.system)
        return True

    def _add_link(self, object_: str, canonical: str, system: str) -> None:
        self.answers.granted[object_, canonical, system] = ASSUMED_ID
        self.answers.forget("xref")

    def _answer_call(self, effect: str) -> None:
        """Conclude a call with the recorded outcome if the same request was sent; else assume that it was done."""
        planned = next(e for e in self.rows.effects if e.id == effect)
        call = msgspec.structs.replace(planned, attempt=planned.attempt + 1)
        recorded = self.recorded_effects.get(effect)
        request, inputs = self.sent[effect]
        if recorded is not None and recorded.operation == call.operation and recorded.request == request:
            if recorded.state is EffectState.CONFIRMED:
                result = None if recorded.result is None else wire.loads(recorded.result)
                self._confirm(call, result, recorded.ended_at)
                return
            if recorded.state in (EffectState.REFUSED, EffectState.ABSENT):
                self._conclude(
                    call,
                    recorded.state,
                    recorded.ended_at,
                    error_class=recorded.error_class,
                    error=recorded.error,
                )
                return
        self.assumed[ANSWERS] += 1
        outbound = self.replayer.outbound(self.answers.model, call.operation)
        operation = self.definition.operations[call.operation]
        result = assumed_result(operation, outbound, inputs, recorded, self.now)
        for object_ in outbound.links if outbound is not None else ():
            canonical = inputs.get(f"{object_}_id")
            link = (object_, str(canonical), call.system)
            if canonical is None or link in self.answers.granted:
                continue
            if recorded is None or self.answers["xref", link] is None:
                self._add_link(*link)
        self._confirm(call, result, recorded.ended_at if recorded is not None else None)

    def _confirm(self, call: Effect, result: Any, at: datetime | None) -> None:
        self._conclude(call, EffectState.CONFIRMED, at, result=result)

    def _conclude(
        self,
        call: Effect,
        state: EffectState,
        at: datetime | None,
        *,
        result: Any = None,
        error_class: Any = None,
        error: str = "",
    ) -> None:
        at = max(self.now, at or self.now)
        self.rows = conclude(self.rows, concluded(call, state, at, error_class=error_class, error=error), at)
        body = outcome_body(
            call.id,
            call.path,
            call.item,
            state,
            call.attempt,
            result=result,
            error_class=error_class,
            error=error,
        )
        self._add_stimulus("outcome", outcome_ref(call.id, call.attempt, state), body, at)

    # ------------------------------------------------------------------ approvals

    def _answer_approval(self, ask: c.AskApproval) -> None:
        """Decide an approval as recorded; else assume that it was granted."""
        nth = self.approval_counts[ask.path] = self.approval_counts.get(ask.path, 0) + 1
        tier = tier_text(ask.automatic, ask.roles, ask.quorum)
        place = f"{ask.path}#{nth}" if nth > 1 else ask.path
        self.result.approvals[place] = ReplayedApproval(policy=ask.policy, tier=tier, amount=ask.amount)
        if ask.automatic:
            return
        recorded = self._recorded_approval(ask, nth)
        if recorded is not None and recorded.state is ApprovalState.OPEN:
            return  # it is still open in the recording
        is_final = recorded is not None and recorded.state in FINAL_APPROVALS
        state = recorded.state if recorded is not None and is_final else ApprovalState.GRANTED
        if recorded is None or recorded.id != ask.approval or not is_final:
            self.assumed[GRANTED] += 1
        self.rows = apply(self.rows, DecidedChanges(close_approvals=((ask.approval, state),)), self.now)
        self._add_stimulus("approval", ask.approval, {"state": str(state), "comment": ""}, self.now)

    def _recorded_approval(self, ask: c.AskApproval, nth: int) -> Approval | None:
        """Return the recorded approval of the same subject, else the nth one of the same step."""
        if self.recorded is None:
            return None
        by_persons = [a for a in self.recorded.approvals if not a.automatic]
        same = next((a for a in by_persons if a.id == ask.approval), None)
        if same is not None:
            return same
        of_step: Sequence[Approval] = [a for a in by_persons if a.path == ask.path]
        return of_step[min(nth, len(of_step)) - 1] if of_step else None
