"""Reservations of a Run on guard rows: limits, caps, once-only rules."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.model.definition import Step
from counterfoil.rules.workflow.commands import ReleaseGuards, ReserveGuard
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import ReservedGuard


def mine(context: DecisionContext, scope: str, key: str) -> int:
    """Return the amount that this Run has already reserved on a guard row."""
    return sum(r.amount for r in context.state.reserved.values() if (r.scope, r.key) == (scope, key))


def reserve(
    context: DecisionContext, step: Step, scope: str, key: str, amount: int, limit: int | None, others: int
) -> None:
    """Reserve `amount` of a guard row for this step in total; `others` is the usage of other Runs.

    An amount counts without its sign, so that negative amounts use a limit too. An existing reservation is increased if needed, never lowered: only undo gives back what was consumed.
    """
    item = context.item()
    place = (scope, key, step.path, item)
    own = [r for r in context.state.reserved.values() if (r.scope, r.key, r.step, r.item) == place]
    more = abs(amount) - sum(r.amount for r in own)
    if more <= 0:
        return
    path = context.key(step) + (f"#{context.state.reservations}" if context.state.reservations else "")
    context.state.reservations += 1
    usage = others + mine(context, scope, key)
    context.commands.append(
        ReserveGuard(scope=scope, key=key, path=path, amount=more, limit=limit, seen=usage)
    )
    context.state.reserved[path] = ReservedGuard(
        scope=scope, key=key, amount=more, step=step.path, item=item, after=len(context.state.confirmed)
    )


def give_back(context: DecisionContext, paths: Sequence[str]) -> None:
    """Release reservations. The release is committed before the next step may reserve again."""
    if not paths:
        return
    for path in paths:
        del context.state.reserved[path]
    new = {c.path for c in context.commands if isinstance(c, ReserveGuard)}
    context.commands = [c for c in context.commands if not (isinstance(c, ReserveGuard) and c.path in paths)]
    committed = tuple(p for p in paths if p not in new)
    if committed:
        context.commands.append(ReleaseGuards(committed))
    context.pause = True


def give_back_unused(context: DecisionContext, ignored: str = "") -> None:
    """Release the reservations after the last confirmed call: nothing has consumed them.

    Calls of the reaction at address `ignored`, which leads to the stop, do not count.
    """
    calls = enumerate(context.state.confirmed)
    last = max((n for n, c in calls if not (ignored and c.path.startswith(f"{ignored}/"))), default=-1)
    give_back(context, [path for path, r in context.state.reserved.items() if r.after > last])
