"""Invariant 0: a worker's snapshot of a Run equals the Run's rows.

It is checked before every decision and after every commit of a turn, in every seed. A snapshot that another writer has
outdated is not compared: the store's guards refuse what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from counterfoil.core.effect import Effect, EffectState
from counterfoil.flow.runs.snapshot import RunSnapshot, after_turn, from_rows
from counterfoil.flow.runs.turn import PlannedTurn
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.turns import ConcludeAndTurn, Turn

LEASE_FIELDS = ("due", "owner", "lease_until")
"""Fields of a Run that claims change: no decision reads them."""


class SnapshotCheck:
    """Compares snapshots with rows; `say` reports a violation."""

    def __init__(self, store: MemoryStore, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._planned: dict[tuple[str, str], tuple[RunSnapshot, PlannedTurn]] = {}
        self.compared = 0

    async def before_decision(self, worker: str, snapshot: RunSnapshot, outcome: Conclude | None) -> None:
        """Compare what a decision reads. An outcome that is not committed yet is not in the rows."""
        rows = await self._rows(snapshot.run.id)
        if rows is None or _place(rows) != _place(snapshot):
            return
        same_lease = {field: getattr(rows.run, field) for field in LEASE_FIELDS}
        run = msgspec.structs.replace(snapshot.run, **same_lease)
        snapshot = msgspec.structs.replace(snapshot, run=run)
        effect = None
        if outcome is not None:
            effect = outcome.effect
            snapshot = msgspec.structs.replace(snapshot, stimuli=())
        self._compare(f"{worker} before a decision", _steady(snapshot), _steady(rows), effect)

    def remember(self, worker: str, snapshot: RunSnapshot, planned: PlannedTurn) -> None:
        """Keep what a turn was planned from, until it is committed."""
        self._planned[worker, snapshot.run.id] = (snapshot, planned)

    async def after_commit(self, worker: str, transition: Any, answer: Any) -> None:
        """Compare the snapshot that the worker goes on with, field by field, with nothing left out."""
        match transition:
            case Turn():
                turn, turned = transition, answer
            case ConcludeAndTurn():
                turn, turned = transition.turn, answer.turned
            case _:
                return
        before, planned = self._planned.pop((worker, turn.run), (None, None))
        if before is None or planned is None or planned.transition is not turn:
            return
        rows = await self._rows(turn.run)
        assert rows is not None
        if turned.verdict != "done":
            recorded = isinstance(transition, ConcludeAndTurn) and answer.concluded.verdict == "won"
            if (
                recorded
                and rows.run.version == before.run.version
                and rows.run.inbox_n == before.stimuli[-1].seq
            ):
                run = rows.run
                self._compare(f"{worker} after an outcome", msgspec.structs.replace(before, run=run), rows)
            return
        after = after_turn(before, turn, turned, planned.state, planned.scope)
        if after is None:
            return
        if after.state is not None and after.state.dump() != rows.run.ctx:
            self._say(f"0: {worker} after a commit: the state of {turn.run} is not its ctx")
        self._compare(f"{worker} after a commit", after, _before_other_moves(rows, before, after))

    async def _rows(self, run: str) -> RunSnapshot | None:
        rows = await self._store.load(run)
        return None if rows is None else from_rows(rows)

    def _compare(
        self, when: str, snapshot: RunSnapshot, rows: RunSnapshot, effect: str | None = None
    ) -> None:
        """Report each part that differs; `effect` and its foils are left out."""
        self.compared += 1
        for field in rows.run.__struct_fields__:
            mine, stored = getattr(snapshot.run, field), getattr(rows.run, field)
            unknown = field == "arrival" and mine == 0  # assigned by the store
            if mine != stored and not unknown:
                self._say(
                    f"0: {when}: {field} of {rows.run.id} is {mine!r} in the snapshot, {stored!r} stored"
                )
        parts: tuple[tuple[str, str], ...] = (
            ("stimuli", "ref"),
            ("effects", "id"),
            ("approvals", "id"),
            ("foils", "id"),
        )
        for part, key in parts:
            both = [
                {getattr(row, key): row for row in getattr(side, part) if not _of(row, effect)}
                for side in (snapshot, rows)
            ]
            if both[0] != both[1]:
                differing = sorted(
                    k for k in both[0].keys() | both[1].keys() if both[0].get(k) != both[1].get(k)
                )
                self._say(
                    f"0: {when}: the {part} of {rows.run.id} differ from the rows: {', '.join(differing)}"
                )
        if snapshot.holds != rows.holds:
            self._say(f"0: {when}: {rows.run.id} holds {rows.holds}, and {snapshot.holds} in the snapshot")


def _before_other_moves(rows: RunSnapshot, before: RunSnapshot, after: RunSnapshot) -> RunSnapshot:
    """Return the rows without intents and look-ups that were committed between the loading of a turn and its commit.

    These move neither the version nor the inbox of the Run. They guard the effect: a second intent is lost.
    """
    untouched = {e.id: e for e in after.effects if e in before.effects}
    effects = tuple(
        untouched[e.id] if e.id in untouched and _only_moved(untouched[e.id], e) else e for e in rows.effects
    )
    return msgspec.structs.replace(rows, effects=effects)


def _only_moved(before: Effect, after: Effect) -> bool:
    sent = after.state is EffectState.SENDING and after.attempt > before.attempt
    return sent or msgspec.structs.replace(before, look_at=after.look_at, looks=after.looks) == after


def _place(snapshot: RunSnapshot) -> tuple[int, int]:
    return snapshot.run.version, snapshot.run.inbox_n


def _of(row: Any, effect: str | None) -> bool:
    return effect is not None and effect in (
        row.id if isinstance(row, Effect) else "",
        getattr(row, "effect", ""),
    )


def _steady(snapshot: RunSnapshot) -> RunSnapshot:
    """Return the snapshot without what look-ups count: no decision reads it, and any worker may look up."""
    effects = tuple(msgspec.structs.replace(e, look_at=None, looks=0) for e in snapshot.effects)
    return msgspec.structs.replace(snapshot, effects=effects)
