"""One Run through one model: decided turn after turn, its calls answered as they were or else taken as done.

Nothing is sent. An effect that was recorded with the same input has the outcome that was recorded; of any other a
successful one is assumed, which is counted. Time passes as far as it did for the recorded Run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.effect import Effect, EffectState, concluded, outcome_body, outcome_ref
from counterfoil.core.foil import Legs
from counterfoil.core.money import Money
from counterfoil.core.run import TERMINAL, Run
from counterfoil.model.definition import Definition, OutboundMapping, Wait
from counterfoil.replay.recorded_answers import RecordedAnswers, ReplaySide
from counterfoil.rules import mapping
from counterfoil.rules.mapping import MappingFailed, RenderedRequest, UnresolvedLink
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.values import plain
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.apply import DecidedChanges, RunRows, apply, changes_of, conclude, run_after
from counterfoil.rules.workflow.context import blocks_of
from counterfoil.rules.workflow.decide import decide
from counterfoil.rules.workflow.state import RunState, names_of
from counterfoil.store.port.recorded import RecordedRun

MAX_TURNS = 300
"""Turns after which a Run is left where it stands."""
ASSUMED_ID = "0"
"""External id of what was assumed to be done; a number, which is what some systems want."""
ANSWERS = "effects taken as done"
GRANTED = "approvals taken as granted"
MATCHED = "counterfoils taken as matched"
CARRIED = "missing objects taken as carried over"
SHORTENED = f"Runs left after {MAX_TURNS} turns"
DECIDED = frozenset({ApprovalState.GRANTED, ApprovalState.REJECTED, ApprovalState.EXPIRED})


class PlannedCall(msgspec.Struct, frozen=True, kw_only=True):
    """An outward call that the Run would make."""

    operation: str
    input: Mapping[str, Any]
    dates: Mapping[str, date | None]
    request: bytes | None
    """None: it could not be rendered."""


class AskedApproval(msgspec.Struct, frozen=True, kw_only=True):
    policy: str
    tier: str
    amount: Money | None


class OwedFoil(msgspec.Struct, frozen=True, kw_only=True):
    """A counterfoil that an effect asserts."""

    rule: str
    key: str
    legs: Legs


class ReplayedRun(msgspec.Struct, kw_only=True):
    """What one model makes of a Run."""

    workflow: str
    key: str
    state: str = "started"
    effects: dict[str, PlannedCall] = {}
    approvals: dict[str, AskedApproval] = {}
    """By the step that asks and how many times it has."""
    foils: dict[str, OwedFoil] = {}
    events: dict[str, tuple[str, Mapping[str, Any]]] = {}
    """Emitted: type and data by id."""
    cases: list[str] = []
    reserved: dict[tuple[str, str], int] = {}
    """What it holds of limits in the end."""


class RunReplayer:
    """Plays Runs of one side."""

    def __init__(self, side: ReplaySide) -> None:
        self.side = side
        self._outbound: dict[str, OutboundMapping | None] = {}
        self._matched: dict[str, bool] = {}

    def play(
        self,
        start: RoutedStart,
        ref: str,
        at: datetime,
        recorded: RecordedRun | None,
        answers: RecordedAnswers,
    ) -> ReplayedRun:
        """The Run from its start to where it rests or ends. Raises NotRecorded."""
        definition = self.side.model.workflow(start.workflow)
        began = recorded.run.created_at if recorded is not None else at
        answers.of_run(recorded, _facts(definition, recorded), began)
        unrendered: dict[str, c.Unrendered] = {}
        while True:
            turns = _Turns(self, definition, start, ref, began, recorded, answers, unrendered)
            if turns.run_to_rest():
                self.side.assumed += turns.assumed
                return turns.played

    def takes_as_matched(self, definition: Definition) -> bool:
        """Whether its Runs wait for counterfoils somewhere."""
        if definition.name not in self._matched:
            self._matched[definition.name] = _waits_for_foils(definition)
        return self._matched[definition.name]

    def outbound(self, operation: str) -> OutboundMapping | None:
        if operation not in self._outbound:
            self._outbound[operation] = self.side.model.outbound(operation)
        return self._outbound[operation]


def _facts(definition: Definition, recorded: RecordedRun | None) -> dict[tuple[str, str], Any]:
    """Heads as the recorded Run bound them last."""
    wanted = {fact.name: fact.target for fact in definition.facts if fact.source == "head"}
    if recorded is None or not wanted:
        return {}
    names = names_of(recorded.run.ctx, wanted)
    return {
        (wanted[name], str(value["id"])): value
        for name, value in names.items()
        if isinstance(value, dict) and "id" in value
    }


def tier_of(automatic: bool, roles: Sequence[str], quorum: int) -> str:
    """A tier of a matrix, in words."""
    return "automatic" if automatic else f"{', '.join(roles)} x{quorum}"


def _waits_for_foils(definition: Definition) -> bool:
    return any(
        isinstance(step, Wait) and step.foils is not None
        for block in blocks_of(definition).values()
        for step in block.steps
    )


class _Turns:
    """The turns of one Run."""

    def __init__(
        self,
        player: RunReplayer,
        definition: Definition,
        start: RoutedStart,
        ref: str,
        began: datetime,
        recorded: RecordedRun | None,
        answers: RecordedAnswers,
        unrendered: dict[str, c.Unrendered],
    ) -> None:
        self.player = player
        self.side = player.side
        self.definition = definition
        self.recorded = recorded
        self.answers = answers
        self.unrendered = unrendered
        self.now = began
        self.run = Run(
            id=start.run,
            workflow=start.workflow,
            bkey=start.key,
            generation=start.generation,
            pin=definition.digest,
            arrival=0,
            created_at=began,
        )
        self.about = {
            "id": start.run,
            "key": start.key,
            "generation": start.generation,
            "workflow": start.workflow,
        }
        self.state = RunState()
        self.seq = 1
        self.stimuli = [c.Stimulus(kind="start", ref=ref, seq=1, at=began, body=start.names)]
        self.told = list(recorded.inbox) if recorded is not None else []
        self.done = {e.id: e for e in recorded.effects} if recorded is not None else {}
        self.until = (recorded.run.now or began) if recorded is not None else began
        self.rows = RunRows()
        self.sent: dict[str, tuple[bytes, Mapping[str, Any]]] = {}
        """Request and canonical input by effect."""
        self.asked: dict[str, int] = {}
        self.reserves: dict[str, c.ReserveGuard] = {}
        self.played = ReplayedRun(workflow=start.workflow, key=start.key)
        self.assumed: Counter[str] = Counter()

    def run_to_rest(self) -> bool:
        """False: a request could not be rendered, and the Run must be told so from its beginning."""
        for _ in range(MAX_TURNS):
            if not self._turn():
                return False
            if self.run.status in TERMINAL or not self._goes_on():
                break
        else:
            self.assumed[SHORTENED] += 1
        if self.player.takes_as_matched(self.definition):
            self.assumed[MATCHED] += 1
        for reserve in self.reserves.values():
            key = (reserve.scope, reserve.key)
            self.played.reserved[key] = self.played.reserved.get(key, 0) + reserve.amount
        self.played.state = ", ".join([self.run.state, *self.played.cases])
        return True

    # ------------------------------------------------------------------ one turn

    def _turn(self) -> bool:
        live = c.LiveContext(
            effects=self.rows.effects,
            approvals=self.rows.approvals,
            answers=self.answers,
            unrendered=self.unrendered,
        )
        self.answers.now = self.now
        decision = decide(self.definition, self.run, self.stimuli, self.now, live, self.state, stored=False)
        self.stimuli = []
        self.due = decision.due
        if decision.after is not None:
            self.state = decision.after
        self.run = run_after(self.run, decision, self.now, decision.due)
        changes = changes_of(decision.commands, self.definition, self.run.id, self.now)
        self.rows = apply(self.rows, changes, self.now)
        return all(self._command(command) for command in decision.commands)

    def _command(self, command: c.Command) -> bool:
        """Report a command, and answer it where it asks for something. False: a request cannot be rendered."""
        match command:
            case c.PlanEffect():
                return self._plan(command)
            case c.SendAgain(effect):
                self._outcome(effect)
            case c.DropEffect(effect):
                self.played.effects.pop(effect, None)
                self._drop_foils(effect)
            case c.AskApproval():
                self._ask(command)
            case c.WriteFoil():
                owed = OwedFoil(rule=command.rule, key=command.key, legs=command.legs)
                self.played.foils[f"{command.effect}/{command.rule}"] = owed
            case c.ReverseFoils(effect):
                self._drop_foils(effect)
            case c.ReserveGuard():
                self.reserves[command.path] = command
            case c.ReleaseGuards(paths):
                for path in paths:
                    self.reserves.pop(path, None)
            case c.EmitEvent():
                self.played.events[command.event] = (command.type, command.data)
            case c.OpenCase():
                self.played.cases.append(f"case:{command.reason}")
        return True

    def _drop_foils(self, effect: str) -> None:
        for id_ in [f for f in self.played.foils if f.startswith(f"{effect}/")]:
            del self.played.foils[id_]

    def _goes_on(self) -> bool:
        """Whether there is something to tell the Run, or time in which it did something."""
        self._deliver()
        if self.stimuli:
            return True
        if self.due is not None and self.due <= self.until:
            self.now = self._next_moment(self.due)
            self.answers.forget("periods", "period", "cutoff", "table")
            return True
        return False

    def _next_moment(self, due: datetime) -> datetime:
        """The first time from when it is due at which anything was recorded: looks in between changed nothing."""
        moments = [e.created_at for e in self.done.values()] + [self.until]
        return min((m for m in moments if m >= due and m > self.now), default=max(due, self.now))

    def _tell(self, kind: str, ref: str, body: Mapping[str, Any], at: datetime) -> None:
        self.seq += 1
        self.stimuli.append(c.Stimulus(kind=kind, ref=ref, seq=self.seq, at=at, body=body))
        self.now = max(self.now, at)

    def _deliver(self) -> None:
        """Events that it was told then: those that came before what else it is told now, or all when it rests."""
        upto = self.stimuli[-1].at if self.stimuli else None
        if upto is None and self.due is not None and self.told and self.told[0].at > self.due:
            return  # the clock comes first
        before: list[c.Stimulus] = []
        while self.told and (upto is None or self.told[0].at <= upto):
            item = self.told.pop(0)
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
            self.played.effects[plan.effect] = PlannedCall(
                operation=plan.operation, input=plan.input, dates=plan.dates, request=request
            )
        self.sent[plan.effect] = (request, plan.input)
        self._outcome(plan.effect)
        return True

    def _render(self, plan: c.PlanEffect) -> bytes | None:
        """The request. None: it cannot be rendered, which the Run is to be told."""
        outbound = self.player.outbound(plan.operation)
        if outbound is None:
            return wire.write_json(plain(dict(plan.input)))
        while True:
            made = mapping.render(outbound, plan.input, plan.dates, self.about, plan.effect, self.answers)
            match made:
                case RenderedRequest(body):
                    return body
                case UnresolvedLink() if self._carried(made):
                    continue
                case UnresolvedLink():
                    self.unrendered[plan.effect] = c.Unrendered(
                        message=f"{made.object} {made.id} has no id in {made.system}",
                        object=made.object,
                        canonical=made.id,
                        system=made.system,
                    )
                case MappingFailed(message):
                    self.unrendered[plan.effect] = c.Unrendered(message=message)
            return None

    def _carried(self, missing: UnresolvedLink) -> bool:
        """An object that has a workflow of its own to carry it over is taken as carried."""
        kind = self.side.model.objects.get(missing.object)
        if kind is None or kind.sync is None:
            return False
        self.assumed[CARRIED] += 1
        self._grant(missing.object, missing.id, missing.system)
        return True

    def _grant(self, object_: str, canonical: str, system: str) -> None:
        self.answers.granted[object_, canonical, system] = ASSUMED_ID
        self.answers.forget("xref")

    def _outcome(self, effect: str) -> None:
        """What became of a call: as recorded where the same was sent, else done."""
        planned = next(e for e in self.rows.effects if e.id == effect)
        held = msgspec.structs.replace(planned, attempt=planned.attempt + 1)
        was = self.done.get(effect)
        request, given = self.sent[effect]
        if was is not None and was.operation == held.operation and was.request == request:
            if was.state is EffectState.CONFIRMED:
                result = None if was.result is None else wire.loads(was.result)
                self._confirm(held, result, was.ended_at)
                return
            if was.state in (EffectState.REFUSED, EffectState.ABSENT):
                self._conclude(held, was.state, was.ended_at, error_class=was.error_class, error=was.error)
                return
        self.assumed[ANSWERS] += 1
        outbound = self.player.outbound(held.operation)
        result = self._assumed_result(held, was, outbound, given)
        for object_ in outbound.links if outbound is not None else ():
            own = given.get(f"{object_}_id")
            if own is not None and (object_, str(own), held.system) not in self.answers.granted:
                known = self.answers["xref", (object_, str(own), held.system)] if was is not None else None
                if known is None:
                    self._grant(object_, str(own), held.system)
        self._confirm(held, result, was.ended_at if was is not None else None)

    def _assumed_result(
        self, held: Effect, was: Effect | None, outbound: OutboundMapping | None, given: Mapping[str, Any]
    ) -> Any:
        """An answer in the form of the operation's output: what was answered then, with what is compared put right;
        else the input's values and placeholders."""
        before = None
        if was is not None and was.operation == held.operation and was.result is not None:
            before = wire.loads(was.result)
        schema = self.definition.operations[held.operation].output_schema
        if isinstance(before, dict):
            compared = outbound.compare if outbound is not None else ()
            return {**before, **{f: given[f] for f in compared if f in given and f in before}}
        required = schema.get("required", ())
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        assert isinstance(required, list | tuple)
        return {name: self._placeholder(name, properties.get(name, {}), given) for name in required}

    def _placeholder(self, name: str, schema: Any, given: Mapping[str, Any]) -> Any:
        if name in given:
            return given[name]
        match schema.get("x-type") or schema.get("type"):
            case "money":  # XXX is ISO 4217's word for no currency
                return next((v for v in given.values() if isinstance(v, Money)), Money(0, "XXX"))
            case "date":
                return self.now.date()
            case "timestamp":
                return self.now
            case "integer" | "decimal" | "number":
                return 0
            case "boolean":
                return True
            case "array":
                return []
            case "object":
                return {}
        return schema["enum"][0] if schema.get("enum") else "assumed"

    def _confirm(self, held: Effect, result: Any, at: datetime | None) -> None:
        self._conclude(held, EffectState.CONFIRMED, at, result=result)

    def _conclude(
        self,
        held: Effect,
        state: EffectState,
        at: datetime | None,
        *,
        result: Any = None,
        error_class: Any = None,
        error: str = "",
    ) -> None:
        at = max(self.now, at or self.now)
        self.rows = conclude(self.rows, concluded(held, state, at, error_class=error_class, error=error), at)
        body = outcome_body(
            held.id,
            held.path,
            held.item,
            state,
            held.attempt,
            result=result,
            error_class=error_class,
            error=error,
        )
        self._tell("outcome", outcome_ref(held.id, held.attempt, state), body, at)

    # ------------------------------------------------------------------ approvals

    def _ask(self, ask: c.AskApproval) -> None:
        nth = self.asked[ask.path] = self.asked.get(ask.path, 0) + 1
        tier = tier_of(ask.automatic, ask.roles, ask.quorum)
        place = f"{ask.path}#{nth}" if nth > 1 else ask.path
        self.played.approvals[place] = AskedApproval(policy=ask.policy, tier=tier, amount=ask.amount)
        if ask.automatic:
            return
        was = self._decided(ask, nth)
        if was is not None and was.state is ApprovalState.OPEN:
            return  # it waits to this day
        state = was.state if was is not None and was.state in DECIDED else ApprovalState.GRANTED
        if was is None or was.id != ask.approval or was.state not in DECIDED:
            self.assumed[GRANTED] += 1
        self.rows = apply(self.rows, DecidedChanges(close_approvals=((ask.approval, state),)), self.now)
        self._tell("approval", ask.approval, {"state": str(state), "comment": ""}, self.now)

    def _decided(self, ask: c.AskApproval, nth: int) -> Approval | None:
        """What persons decided then: on this very subject, else where the Run asked the same step."""
        if self.recorded is None:
            return None
        persons = [a for a in self.recorded.approvals if not a.automatic]
        same = next((a for a in persons if a.id == ask.approval), None)
        if same is not None:
            return same
        there: Sequence[Approval] = [a for a in persons if a.path == ask.path]
        return there[min(nth, len(there)) - 1] if there else None
