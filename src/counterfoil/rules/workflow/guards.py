"""Reservations of a Run on guard rows: limits, caps, once-only rules."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.model.definition import Step
from counterfoil.rules.workflow.commands import ReleaseGuards, ReserveGuard
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import ReservedGuard


def mine(d: DecisionContext, scope: str, key: str) -> int:
    """What this Run has reserved on a guard row already."""
    return sum(r.amount for r in d.s.reserved.values() if (r.scope, r.key) == (scope, key))


def reserve(
    d: DecisionContext, step: Step, scope: str, key: str, amount: int, limit: int | None, others: int
) -> None:
    """Hold `amount` of a row for this step, in all: what the step holds already counts, what `others` have
    was seen. A reservation is topped up, never lowered: what was consumed is given back by undo alone."""
    item = d.item()
    held = sum(
        r.amount
        for r in d.s.reserved.values()
        if (r.scope, r.key, r.step, r.item) == (scope, key, step.path, item)
    )
    more = amount - held
    if more <= 0:
        return
    path = d.key(step) + (f"#{d.s.reservations}" if d.s.reservations else "")
    d.s.reservations += 1
    seen = others + mine(d, scope, key)
    d.commands.append(ReserveGuard(scope=scope, key=key, path=path, amount=more, limit=limit, seen=seen))
    d.s.reserved[path] = ReservedGuard(
        scope=scope, key=key, amount=more, step=step.path, item=item, after=len(d.s.confirmed)
    )


def give_back(d: DecisionContext, paths: Sequence[str]) -> None:
    """Release reservations; what is given back is committed before anything is asked for again."""
    if not paths:
        return
    for path in paths:
        del d.s.reserved[path]
    made = {c.path for c in d.commands if isinstance(c, ReserveGuard)}
    d.commands = [c for c in d.commands if not (isinstance(c, ReserveGuard) and c.path in paths)]
    committed = tuple(p for p in paths if p not in made)
    if committed:
        d.commands.append(ReleaseGuards(committed))
    d.pause = True


def give_back_unused(d: DecisionContext, beside: str = "") -> None:
    """What no effect has consumed: a Run that stops before any was confirmed, other than by the reaction that
    leads to the stop (`beside`), takes nothing of its limits."""
    spent = [n for n, c in enumerate(d.s.confirmed) if not (beside and c.path.startswith(f"{beside}/"))]
    last = spent[-1] if spent else -1
    give_back(d, [path for path, r in d.s.reserved.items() if r.after > last])
