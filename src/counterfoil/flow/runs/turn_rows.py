"""Rows that a turn commits, built from the commands of its decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.cases import MAX_MESSAGE_CHARS, case_of_break, largest_amounts, unsettled_foil
from counterfoil.core.effect import Effect
from counterfoil.core.foil import NEEDS_CASE, Foil
from counterfoil.core.money import Money
from counterfoil.core.run import RETRY, Direction
from counterfoil.flow.dispatch.limiter import Slot
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.commands import Decision
from counterfoil.rules.workflow.records import approval_of, case_of, effect_of, event_of, foil_of
from counterfoil.store.port.effects import SendAttempt
from counterfoil.store.port.turns import Reserve

SlotSource = Callable[[str, str, int, bool], Slot | None]
"""Takes a slot for (system, operation, lane, whether the call is a retry); None if there is none."""

MAX_SEND_DELAY_SECONDS = 30.0
"""Longest time between a call's intent and its first byte. A later call is not made."""


START_NAMES = ("event", "input", "object")
"""Names of what started a Run."""


def effect_money(effect: Effect) -> tuple[Money, ...]:
    """Return the money of a call, by its input."""
    return largest_amounts(wire.loads(effect.input)) if effect.input else ()


class TurnRows:
    """Rows of one decision."""

    def __init__(
        self,
        model: Model,
        snapshot: RunSnapshot,
        decision: Decision,
        now: datetime,
        worker: str,
        requests: Mapping[str, bytes],
    ) -> None:
        self.model, self.run = model, snapshot.run
        self.definition = model.workflow(self.run.workflow)
        self.decision, self.requests = decision, requests
        self.now, self.worker = now, worker
        self.effects = {e.id: e for e in snapshot.effects}
        self.foils = snapshot.foils
        self.approvals, self.stimuli = snapshot.approvals, snapshot.stimuli
        self.commands: dict[type[Any], list[Any]] = {}
        for command in decision.commands:
            self.commands.setdefault(type(command), []).append(command)

    def of(self, kind: type[Any], build: Any) -> tuple[Any, ...]:
        commands = self.commands.get(kind)
        return tuple(map(build, commands)) if commands else ()

    def take_slots(self, take_slot: SlotSource) -> dict[str, Slot]:
        """Take a slot for each call, as far as there are any. Calls that the decision gives up again need none."""
        slots = {}
        for command in self.decision.commands:
            if isinstance(command, c.PlanEffect):
                system = self.definition.operations[command.operation].system
                slot = take_slot(system, command.operation, self.run.lane, False)
            elif isinstance(command, c.SendAgain):
                effect = self.effects[command.effect]
                slot = take_slot(effect.system, effect.operation, max(self.run.lane, RETRY), True)
            else:
                continue
            if slot is not None:
                slots[command.effect] = slot
        return slots

    def sends(self, slots: Mapping[str, Slot]) -> tuple[SendAttempt, ...]:
        """Return the intents of the calls that have a slot."""
        return tuple(
            self.send(command.effect, command.operation if isinstance(command, c.PlanEffect) else None)
            for command in self.decision.commands
            if isinstance(command, c.PlanEffect | c.SendAgain) and command.effect in slots
        )

    def effect(self, plan: c.PlanEffect) -> Effect:
        return effect_of(
            plan,
            self.definition,
            self.run.id,
            self.now,
            request=self.requests[plan.effect],
            input=wire.dumps(dict(plan.input)),
            lane=self.run.lane,
        )

    def send(self, effect_id: str, planned_operation: str | None) -> SendAttempt:
        effect = self.effects.get(effect_id)
        assert planned_operation is not None or effect is not None
        name = planned_operation or (effect.operation if effect is not None else "")
        operation = self.definition.operations[name]
        attempt = effect.attempt + 1 if effect is not None else 1
        return next_send(effect_id, attempt, self.worker, self.now, operation.timeout, operation.horizon)

    def reserve(self, r: c.ReserveGuard) -> Reserve:
        row = {"scope": r.scope, "key": r.key, "path": r.path}
        return Reserve(**row, amount=r.amount, limit=r.limit, expected_use=r.seen)

    def foil(self, f: c.WriteFoil) -> Foil:
        return foil_of(f, self.run.id, self.now)

    def approval(self, a: c.AskApproval) -> Approval:
        return approval_of(a, self.run.id, self.now, wire.dumps(dict(a.covers)), self.run.entity)

    def case(self, x: c.OpenCase) -> Case:
        """Return the Case of a step. Where the cause shows on a foil, it is about that foil, with its difference."""
        case = case_of(x, self.run.id, self.now, self._at_stake(x))
        foil = self._foil(x)
        if foil is None:
            return case
        if foil.state not in NEEDS_CASE:
            return msgspec.structs.replace(case, foil=foil.id)
        broken = case_of_break(foil, self.now)
        message = f"{case.message}. {broken.message}"[:MAX_MESSAGE_CHARS]
        return msgspec.structs.replace(case, foil=foil.id, exposure=broken.exposure, message=message)

    def _foil(self, x: c.OpenCase) -> Foil | None:
        """Return the unsettled foil that the step's system must show, or that the step waits for; a broken one first."""
        if x.reason in ANSWERED_BY_EVIDENCE or self.decision.direction is Direction.UNDO:
            return None
        step = self._steps.get(_step_of(x.path))
        match step:
            case d.Call(operation=operation):
                system = self.model.family(self.definition.operations[operation].system)
                return unsettled_foil(f for f in self.foils if f.right == system)
            case d.Wait(foils=tuple(rules)):
                return unsettled_foil(f for f in self.foils if rules == ("all",) or f.rule in rules)
        return None

    @cached_property
    def _steps(self) -> dict[str, d.Step]:
        return {step.path: step for block in blocks_of(self.definition).values() for step in block.steps}

    def _at_stake(self, x: c.OpenCase) -> tuple[Money, ...]:
        """Return the money at stake: of the step's call, else of its approval, else of what started the Run."""
        step = _step_of(x.path)
        plans = [p for p in self.commands.get(c.PlanEffect, ()) if x.effect in (None, p.effect)]
        effects = [
            e for e in self.effects.values() if e.id == x.effect or (not x.effect and e.path == x.path)
        ]
        approvals = [*self.approvals, *self.commands.get(c.AskApproval, ())]
        names = self.decision.after.names if self.decision.after is not None else {}
        candidates: tuple[Any, ...] = (
            [p.input for p in plans if x.effect or p.path == x.path],
            effect_money(effects[-1]) if effects else (),
            [a.amount for a in approvals if _step_of(a.path) == step][-1:],
            [names.get(name) for name in START_NAMES],
            [stimulus.body for stimulus in self.stimuli if stimulus.kind == "start"],
            [a.amount for a in approvals][-1:],
        )
        return next((money for value in candidates if (money := largest_amounts(value))), ())

    def events(self) -> tuple[CanonicalEvent, ...]:
        """Return the events that the turn emits, each newer than those before it."""
        emitted = enumerate(self.commands.get(c.EmitEvent, ()))
        return tuple(event_of(e, self.run, self.model.events[e.type], self.now, n) for n, e in emitted)


def _step_of(key: str) -> str:
    """Return the path of a step without its round and item."""
    return key.partition("[")[0].partition("~")[0]


def next_send(
    effect: str, attempt: int, worker: str, now: datetime, timeout: float, horizon: float
) -> SendAttempt:
    """Return the intent of an attempt: when its call may begin and end, and when a look-up may prove it absent."""
    send_by = now + timedelta(seconds=min(timeout, MAX_SEND_DELAY_SECONDS))
    return SendAttempt(
        effect=effect,
        attempt=attempt,
        worker=worker,
        send_by=send_by,
        call_until=send_by + timedelta(seconds=timeout),
        conclude_at=send_by + timedelta(seconds=horizon),
    )


_LEAF_WORDS = {c.PlanEffect: "Plan", c.SendAgain: "Send", c.DropEffect: "Drop", c.AskApproval: "Ask"}
"""Words of commands in leaves; other commands use their class name. Both are stored and never change."""


def command_name(command: c.Command) -> str:
    """Return the name of a command in its turn's leaf: its word and the id of what it changes."""
    word = _LEAF_WORDS.get(type(command), type(command).__name__)
    for field in ("effect", "approval", "foil", "case", "event", "canonical", "scope"):
        if field in command.__struct_fields__:
            return f"{word}:{getattr(command, field)}"
    return f"{word}:{wire.digest([str(v) for v in msgspec.structs.astuple(command)])[:12]}"
