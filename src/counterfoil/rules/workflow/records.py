"""What the commands of a decision are as rows: the same for the engine, for a replay and for a proof."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, FoilState
from counterfoil.model.definition import Definition
from counterfoil.rules.workflow import commands as c


def effect_of(plan: c.PlanEffect, definition: Definition, run: str, now: datetime, **more: Any) -> Effect:
    """The effect that a plan begins; `more` are the fields that only a store needs."""
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


def foil_of(f: c.WriteFoil, run: str, now: datetime) -> Foil:
    """The counterfoil of an effect, provisional until the effect is confirmed."""
    return Foil(
        id=f.foil,
        rule=f.rule,
        key=f.key,
        object=f.object,
        left=f.left,
        right=f.right,
        legs=f.legs,
        due=f.due,
        state=FoilState.PROVISIONAL,
        tolerance=f.tolerance,
        exact=f.exact,
        run=run,
        effect=f.effect,
        cause=f.effect,
        owner=f.owner,
        created_at=now,
    )
