"""What one decision becomes: commands made into the rows that a turn commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.clock import micros
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.run import RETRY
from counterfoil.flow.dispatch.limiter import Slot
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.model import Model
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.commands import Decision
from counterfoil.rules.workflow.records import effect_of, foil_of
from counterfoil.store.port.transitions import Reserve, Send

Slots = Callable[[str, str, int, bool], Slot | None]
"""System, operation, lane, and whether it is a call made again, to a slot in hand; None where there is none."""

SEND_WITHIN = 30.0
"""Seconds after its intent in which a call begins, or is not made."""


class TurnRows:
    """The rows of one decision."""

    def __init__(
        self,
        model: Model,
        known: RunSnapshot,
        decision: Decision,
        now: datetime,
        worker: str,
        requests: Mapping[str, bytes],
    ) -> None:
        self.model = model
        self.definition = model.workflow(known.run.workflow)
        self.run = known.run
        self.decision = decision
        self.now = now
        self.worker = worker
        self.requests = requests
        self.effects = {e.id: e for e in known.effects}
        self.commands: dict[type[Any], list[Any]] = {}
        for command in decision.commands:
            self.commands.setdefault(type(command), []).append(command)

    def of(self, kind: type[Any], make: Any) -> tuple[Any, ...]:
        return tuple(make(command) for command in self.commands.get(kind, ()))

    def tickets(self, slots: Slots) -> dict[str, Slot]:
        """A slot for each call that can be had at once; those that the decision gives up again need none."""
        found = {}
        for command in self.decision.commands:
            if isinstance(command, c.PlanEffect):
                system = self.definition.operations[command.operation].system
                ticket = slots(system, command.operation, self.run.lane, False)
            elif isinstance(command, c.SendAgain):
                held = self.effects[command.effect]
                ticket = slots(held.system, held.operation, max(self.run.lane, RETRY), True)
            else:
                continue
            if ticket is not None:
                found[command.effect] = ticket
        return found

    def sends(self, tickets: Mapping[str, Slot]) -> tuple[Send, ...]:
        """The intents of the calls that have a slot."""
        return tuple(
            self.send(command.effect, command.operation if isinstance(command, c.PlanEffect) else None)
            for command in self.decision.commands
            if isinstance(command, c.PlanEffect | c.SendAgain) and command.effect in tickets
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

    def send(self, effect: str, planned: str | None) -> Send:
        held = self.effects.get(effect)
        assert planned is not None or held is not None
        operation = self.definition.operations[planned or (held.operation if held is not None else "")]
        attempt = held.attempt + 1 if held is not None else 1
        return times(effect, attempt, self.worker, self.now, operation.timeout, operation.horizon)

    def reserve(self, r: c.ReserveGuard) -> Reserve:
        return Reserve(scope=r.scope, key=r.key, path=r.path, amount=r.amount, limit=r.limit, seen=r.seen)

    def foil(self, f: c.WriteFoil) -> Foil:
        return foil_of(f, self.run.id, self.now)

    def approval(self, a: c.AskApproval) -> Approval:
        return Approval(
            id=a.approval,
            run=self.run.id,
            path=a.path,
            policy=a.policy,
            subject=a.subject,
            covers=wire.dumps(dict(a.covers)),
            amount=a.amount,
            roles=a.roles,
            quorum=a.quorum,
            requester=a.requester,
            state=ApprovalState.GRANTED if a.automatic else ApprovalState.OPEN,
            expires=a.expires,
            created_at=self.now,
            automatic=a.automatic,
        )

    def case(self, x: c.OpenCase) -> Case:
        exposed = {
            (leg.currency, leg.minor): leg
            for command in self.decision.commands
            if isinstance(command, c.WriteFoil)
            for leg in command.legs.values()
        }
        return Case(
            id=x.case,
            reason=x.reason,
            message=x.message[:4000],
            owner=x.owner,
            deadline=self.now + timedelta(seconds=x.within),
            next_action=x.next_action,
            choices=x.choices,
            run=self.run.id,
            path=x.path,
            effect=x.effect,
            exposure=tuple(exposed.values()),
            created_at=self.now,
        )

    def event(self, e: c.EmitEvent) -> CanonicalEvent:
        kind = self.model.events[e.type]
        key = (
            str(e.data.get(kind.key or f"{kind.object}_id", self.run.bkey)) if kind.object else self.run.bkey
        )
        return CanonicalEvent(
            id=e.event,
            type=e.type,
            system="counterfoil",
            object=kind.object or "",
            key=key,
            version=micros(self.now),
            data=dict(e.data),
            occurred_at=self.now,
            effective_at=self.now,
            received_at=self.now,
            cause=self.run.id,
            correlation=self.run.id,
        )


def times(effect: str, attempt: int, worker: str, now: datetime, timeout: float, horizon: float) -> Send:
    """When a call may begin, until when it may take, and when a look-up may say that nothing happened."""
    send_by = now + timedelta(seconds=min(timeout, SEND_WITHIN))
    call_until = send_by + timedelta(seconds=timeout)
    return Send(
        effect=effect,
        attempt=attempt,
        worker=worker,
        send_by=send_by,
        call_until=call_until,
        conclude_at=send_by + timedelta(seconds=horizon),
    )


_LEAF_WORDS = {c.PlanEffect: "Plan", c.SendAgain: "Send", c.DropEffect: "Drop", c.AskApproval: "Ask"}
"""Leaves name commands by these words, or else by their class; both are stored and never change."""


def name_of(command: c.Command) -> str:
    """Return the name of a command in its turn's leaf: its word and the id of what it changes."""
    word = _LEAF_WORDS.get(type(command), type(command).__name__)
    for field in ("effect", "approval", "foil", "case", "event", "canonical", "scope"):
        if field in command.__struct_fields__:
            return f"{word}:{getattr(command, field)}"
    return f"{word}:{wire.digest([str(v) for v in msgspec.structs.astuple(command)])[:12]}"
