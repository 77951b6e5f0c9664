"""Changes that a decision or an outcome makes to a Run's rows, as pure functions of values.

The stores make the same changes in SQL and in the memory tables. The worker's Run snapshot, the proof and the replay
use this module. Matching of foils with observations is in `core.matching`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState, given_up, planned_again
from counterfoil.core.foil import Foil
from counterfoil.core.foil_versions import after_effect, next_foil, taken_back
from counterfoil.core.foil_versions import given_up as given_up_foil
from counterfoil.core.run import Direction, Run, RunStatus
from counterfoil.core.settle import settled_alone
from counterfoil.model.definition import Definition
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.records import approval_of, effect_of, foil_of


class RunRows(msgspec.Struct, frozen=True):
    """A Run's rows that decisions read."""

    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()


class RowChanges(Protocol):
    """Changes of one turn to a Run's rows. The store's `Turn` transition has the same fields."""

    @property
    def plan(self) -> tuple[Effect, ...]: ...
    @property
    def again(self) -> tuple[str, ...]: ...
    @property
    def drop(self) -> tuple[str, ...]: ...
    @property
    def foils(self) -> tuple[Foil, ...]: ...
    @property
    def reverse(self) -> tuple[str, ...]: ...
    @property
    def approvals(self) -> tuple[Approval, ...]: ...
    @property
    def close_approvals(self) -> tuple[tuple[str, ApprovalState], ...]: ...


class DecidedChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that the commands of one decision make."""

    plan: tuple[Effect, ...] = ()
    again: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    foils: tuple[Foil, ...] = ()
    reverse: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    close_approvals: tuple[tuple[str, ApprovalState], ...] = ()


class RunUpdate(Protocol):
    """Columns of the Run row that a turn writes: of a `Decision` or of a `Turn` transition."""

    @property
    def status(self) -> RunStatus: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def state(self) -> str: ...
    @property
    def consumed(self) -> int: ...
    @property
    def ctx(self) -> bytes: ...


_NO_CHANGES = DecidedChanges()


def changes_of(
    commands: Sequence[c.Command], definition: Definition, run: str, now: datetime, with_covers: bool = True
) -> DecidedChanges:
    """Return the row changes of a decision's commands. Without `with_covers`, approvals have no encoded content."""
    if not commands:
        return _NO_CHANGES
    fields: dict[str, list[Any]] = {}
    for command in commands:
        match command:
            case c.PlanEffect():
                fields.setdefault("plan", []).append(effect_of(command, definition, run, now))
            case c.SendAgain(effect):
                fields.setdefault("again", []).append(effect)
            case c.DropEffect(effect):
                fields.setdefault("drop", []).append(effect)
            case c.WriteFoil():
                fields.setdefault("foils", []).append(foil_of(command, run, now))
            case c.ReverseFoils(effect):
                fields.setdefault("reverse", []).append(effect)
            case c.AskApproval():
                covers = wire.dumps(dict(command.covers)) if with_covers else b"{}"
                fields.setdefault("approvals", []).append(approval_of(command, run, now, covers))
            case c.CloseApproval(approval, state):
                fields.setdefault("close_approvals", []).append((approval, state))
    return DecidedChanges(**{field: tuple(rows) for field, rows in fields.items()})


def apply(rows: RunRows, changes: RowChanges, now: datetime) -> RunRows:
    """Return the rows after the changes of one turn."""
    effects, approvals, foils = rows.effects, rows.approvals, rows.foils
    if changes.approvals or changes.close_approvals:
        existing = {a.id for a in approvals}
        new = (a for a in changes.approvals if a.id not in existing)
        approvals = _close((*approvals, *new), dict(changes.close_approvals))
    if changes.plan:
        effects = (*effects, *changes.plan)
    if changes.again or changes.drop:
        effects = tuple(_move_effect(effect, changes, now) for effect in effects)
    if changes.drop:
        # A call that was sent meanwhile is not given up: its outcome decides about its foils.
        dropped = {e.id for e in effects if e.id in changes.drop and e.state not in IN_FLIGHT}
        foils = _change(foils, dropped, given_up_foil, now)
    if changes.foils or changes.reverse:
        foils = _change(_merge(foils, changes.foils), set(changes.reverse), taken_back, now)
    return RunRows(effects, approvals, foils)


def conclude(rows: RunRows, effect: Effect, at: datetime) -> RunRows:
    """Return the rows with an effect that has its outcome: its provisional foils open or become void."""
    effects = tuple(effect if e.id == effect.id else e for e in rows.effects)
    foils = _change(rows.foils, {effect.id}, lambda foil, at: after_effect(foil, effect.state, at), at)
    return RunRows(effects, rows.approvals, foils)


def drop_stale(rows: RunRows, effect: str, at: datetime) -> RunRows:
    """Return the rows without a call whose approval is not valid any more: dropped, its provisional foils void."""
    return RunRows(
        tuple(
            msgspec.structs.replace(e, state=EffectState.DROPPED, ended_at=at) if e.id == effect else e
            for e in rows.effects
        ),
        rows.approvals,
        _change(rows.foils, {effect}, given_up_foil, at),
    )


def run_after(run: Run, turn: RunUpdate, now: datetime, due: datetime | None) -> Run:
    """Return the Run row after a turn that consumed its whole inbox."""
    return msgspec.structs.replace(
        run,
        status=turn.status,
        direction=turn.direction,
        state=turn.state,
        due=due,
        consumed=turn.consumed,
        inbox_n=turn.consumed,
        ctx=turn.ctx,
        now=now if run.now is None else max(run.now, now),
        version=run.version + 1,
        owner=None,
        lease_until=None,
    )


def _move_effect(effect: Effect, changes: RowChanges, now: datetime) -> Effect:
    if effect.id in changes.again:
        return planned_again(effect)
    if effect.id in changes.drop:
        return given_up(effect, now)
    return effect


def _close(approvals: Iterable[Approval], closed: dict[str, ApprovalState]) -> tuple[Approval, ...]:
    return tuple(msgspec.structs.replace(a, state=closed[a.id]) if a.id in closed else a for a in approvals)


def _change(
    foils: tuple[Foil, ...], effects: set[str], change: Callable[[Foil, datetime], Foil], now: datetime
) -> tuple[Foil, ...]:
    """Return the foils with those of the effects changed, as they are without the other side."""
    changed = []
    for foil in foils:
        after = change(foil, now) if foil.effect in effects else foil
        changed.append(foil if after is foil else settled_alone(after, now))
    return tuple(changed)


def _merge(foils: tuple[Foil, ...], new: Iterable[Foil]) -> tuple[Foil, ...]:
    """Return the foils with new versions; a document has one row."""
    rows = {foil.id: foil for foil in foils}
    for foil in new:
        after = next_foil(rows.get(foil.id), foil)
        if after is not None:
            rows[foil.id] = after
    return tuple(rows.values())
