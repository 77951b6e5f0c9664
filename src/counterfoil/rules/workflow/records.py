"""Rows that the commands of a decision create: the same for the engine, the replay and the proof."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from counterfoil.core import cases
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.clock import micros
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import Run
from counterfoil.core.settle import settled_alone
from counterfoil.model.definition import Definition, OutboundMapping
from counterfoil.model.kinds.contracts import Event as EventKind
from counterfoil.rules import mapping
from counterfoil.rules.acceptance import key_of_object
from counterfoil.rules.lookup import Answers
from counterfoil.rules.mapping import MappingFailed, UnresolvedLink
from counterfoil.rules.workflow import commands as c


def effect_of(plan: c.PlanEffect, definition: Definition, run: str, now: datetime, **more: Any) -> Effect:
    """Return the planned effect; `more` are the fields that only a store needs."""
    operation = definition.operations[plan.operation]
    return Effect(
        id=plan.effect,
        run=run,
        path=plan.path,
        item=plan.item,
        gen=plan.gen,
        undoes=plan.undoes,
        operation=plan.operation,
        system=operation.system,
        repeat=operation.repeat,
        approvals=plan.approvals,
        created_at=now,
        **more,
    )


def request_of(
    plan: c.PlanEffect, outbound: OutboundMapping | None, run: dict[str, Any], answers: Answers
) -> bytes | c.Unrendered:
    """Return the request of a planned call, or why it has none. `run` are the names of the Run. Raises LookupsNeeded."""
    return _checked(mapping.render(outbound, plan.input, plan.dates, run, plan.effect, answers))


def fault_ahead(
    call: c.AheadCall, outbound: OutboundMapping | None, run: dict[str, Any], answers: Answers
) -> c.Unrendered | None:
    """Return why a later call could not be sent, as far as its request is known. Raises LookupsNeeded."""
    if outbound is None:
        return None
    partial = mapping.known_mapping(outbound, call.unknown, call.links)
    request = _checked(mapping.render(partial, call.input, call.dates, run, call.effect, answers))
    return request if isinstance(request, c.Unrendered) else None


def _checked(request: bytes | UnresolvedLink | MappingFailed) -> bytes | c.Unrendered:
    if isinstance(request, UnresolvedLink):
        link = {"object": request.object, "canonical": request.id, "system": request.system}
        return c.Unrendered(message=request.message, **link)
    return c.Unrendered(message=request.message) if isinstance(request, MappingFailed) else request


def foil_of(f: c.WriteFoil, run: str, now: datetime) -> Foil:
    """Return the counterfoil of an effect: provisional until the effect is confirmed."""
    row = Foil(
        id=f.foil,
        rule=f.rule,
        key=f.key,
        document=f.document,
        object=f.object,
        left=f.left,
        right=f.right,
        legs=f.legs,
        terms=f.terms,
        entity=f.entity,
        effective=f.effective,
        stood=False,
        provisional=True,
        reverses=f.reverses,
        names=f.names,
        within=f.within,
        due=f.due,
        state=FoilState.PROVISIONAL,
        run=run,
        effect=f.effect,
        cause=f.effect,
        owner=f.owner,
        created_at=now,
        known_from=now,
    )
    return settled_alone(row, now)


def case_of(x: c.OpenCase, run: str, now: datetime, exposure: tuple[Money, ...] = ()) -> Case:
    """Return the Case that a Run opens."""
    return cases.open_case(
        x.reason,
        id=x.case,
        message=x.message,
        owners=(x.owner,),
        at=now,
        names=x.names,
        choices=x.choices,
        deadline=timedelta(seconds=x.within),
        run=run,
        path=x.path,
        effect=x.effect,
        exposure=exposure,
    )


def approval_of(a: c.AskApproval, run: str, now: datetime, covers: bytes, entity: str = "") -> Approval:
    """Return the approval that a Run asks for: open, or granted at once by an automatic tier.

    `covers` is its content in stored form. Decisions do not read it: they compare the subject.
    """
    return Approval(
        id=a.approval,
        run=run,
        path=a.path,
        policy=a.policy,
        subject=a.subject,
        covers=covers,
        amount=a.amount,
        roles=a.roles,
        quorum=a.quorum,
        requester=a.requester,
        senders=a.senders,
        state=ApprovalState.GRANTED if a.automatic else ApprovalState.OPEN,
        expires=a.expires,
        created_at=now,
        entity=entity,
        automatic=a.automatic,
    )


def event_of(e: c.EmitEvent, run: Run, kind: EventKind, now: datetime, number: int) -> CanonicalEvent:
    """Return the event that a Run emits as the one with this number in its turn, from 0.

    Without an object, its key is the Run's. Each event of a turn is newer than those before it.
    """
    return CanonicalEvent(
        id=e.event,
        type=e.type,
        system="counterfoil",
        object=kind.object or "",
        key=key_of_object(kind, e.data, run.bkey),
        version=micros(now) + number,
        data=dict(e.data),
        legal_entity=str(e.data.get("legal_entity") or run.entity),
        occurred_at=now,
        effective_at=now,
        received_at=now,
        cause=run.id,
        correlation=run.id,
        senders=e.senders,
    )
