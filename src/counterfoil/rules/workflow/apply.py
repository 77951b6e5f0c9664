"""Changes that a decision or an outcome makes to a Run's rows, as pure functions of values.

The stores make the same changes in SQL and in the memory tables. The worker's Run snapshot, the proof and the replay
use this module. Matching of foils with observations is in `core.foil.settle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState, given_up, planned_again
from counterfoil.core.foil import FOIL_MOVES, GIVEN_UP, TAKEN_BACK, Foil, FoilState, after_effect, move
from counterfoil.core.run import Direction, Run, RunStatus
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
        foils = tuple(_void(foil, dropped, now) for foil in foils)
    if changes.foils or changes.reverse:
        foils = tuple(_reverse((*foils, *changes.foils), changes.reverse, now))
    return RunRows(effects, approvals, foils)


def conclude(rows: RunRows, effect: Effect, at: datetime) -> RunRows:
    """Return the rows with an effect that has its outcome: its provisional foils open or become void."""
    effects = tuple(effect if e.id == effect.id else e for e in rows.effects)
    after = after_effect(effect.state)
    if after is None:
        return RunRows(effects, rows.approvals, rows.foils)
    foils = tuple(
        move(foil, *after, at) if foil.effect == effect.id and foil.state is FoilState.PROVISIONAL else foil
        for foil in rows.foils
    )
    return RunRows(effects, rows.approvals, foils)


def drop_stale(rows: RunRows, effect: str, at: datetime) -> RunRows:
    """Return the rows without a call whose approval is not valid any more: dropped, its provisional foils void."""
    dropped = {"state": EffectState.DROPPED, "ended_at": at}
    effects = tuple(msgspec.structs.replace(e, **dropped) if e.id == effect else e for e in rows.effects)
    return RunRows(effects, rows.approvals, tuple(_void(foil, {effect}, at) for foil in rows.foils))


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


def _void(foil: Foil, effects: set[str], now: datetime) -> Foil:
    if foil.effect in effects and foil.state is FoilState.PROVISIONAL:
        return move(foil, FoilState.VOID, GIVEN_UP, now)
    return foil


def _reverse(foils: Iterable[Foil], effects: tuple[str, ...], now: datetime) -> Iterable[Foil]:
    for foil in foils:
        reverses = foil.effect in effects and FoilState.REVERSED in FOIL_MOVES[foil.state]
        yield move(foil, FoilState.REVERSED, TAKEN_BACK, now) if reverses else foil
