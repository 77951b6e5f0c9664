"""Turns: a worker leases due Runs and commits what it decided about one."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.clock import latest_end
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.run import LANES, TERMINAL, Direction, Run, RunStatus
from counterfoil.store.port.effects import Conclude, ConcludeResult, SendAttempt
from counterfoil.store.port.records import RunStart
from counterfoil.store.port.transition import ALONE, Transition, wake_set
from counterfoil.store.port.wake import WakeKind

TurnVerdict: TypeAlias = Literal["done", "stale", "held", "limited"]


class WaitOn(msgspec.Struct, frozen=True, kw_only=True):
    """A Run waits on a topic. What was posted there at or after `since` is delivered at once."""

    topic: str
    since: datetime | None = None
    """None: everything that was ever posted there."""


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """`used + amount <= limit` on one guard row, in the policy's minor units, or the turn is refused."""

    scope: str
    key: str
    path: str
    amount: int
    limit: int | None
    expected_use: int | None = None
    """`used` when the turn was decided; another value refuses the turn, which is then decided again."""


class Claim(Transition[tuple[Run, ...]], frozen=True, kw_only=True):
    """Lease up to `limit` due Runs: lane by lane in the order given, oldest due first, leased ones skipped.

    Sets owner and lease_until. A lease that ends after `latest` was given by a clock that was ahead, and counts as over.
    """

    together = True

    worker: str
    limit: int
    lanes: tuple[int, ...] = LANES
    lease_until: datetime
    at: datetime

    @property
    def latest(self) -> datetime:
        return latest_end(self.at, self.lease_until)

    def keys(self) -> frozenset[str]:
        return _CLAIM


_CLAIM = frozenset(["claim"])


class TurnResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: TurnVerdict
    version: int = 0
    inbox_n: int = 0
    """`done`: the size of the inbox; equal to what was consumed unless another writer appended to it."""
    due: datetime | None = None
    started: tuple[str, ...] = ()
    """Effects of `send` that are sending now: their calls may be made."""
    used: tuple[tuple[str, str, int], ...] = ()
    """`limited`: scope, key and present use of the guards in `reserve`."""
    woken: tuple[str, ...] = ()


class Turn(Transition[TurnResult], frozen=True, kw_only=True):
    """Commit one turn's decision. Guarded by `version`: another one -> `stale`, nothing written.

    Also `stale`: the turn ends the Run and drops a call that was sent meanwhile. An ended Run could not undo it.

    In this order, all or nothing:

    1. Match rows of new foils are locked; the Run row moves to version + 1 with the new fields.
    2. `hold` is acquired. Another holder -> `held`: nothing is written, except that the Run waits for that serial,
       keeps its inbox and gets due None. The release wakes it, in arrival order.
    3. Reservations are taken; over the limit or another `expected_use` -> `limited`, nothing written.
    4. Approvals are inserted; `close_approvals` moves them.
    5. Effects are inserted (unique run, path, item, gen). `send` moves to sending where every approval of the effect
       is valid. Otherwise an effect that this turn plans stays planned; any other is dropped and the Run gets a
       `stale` item. `again` moves refused to planned. `drop` moves planned to dropped and voids provisional foils of
       planned or refused effects; an effect that was sent meanwhile stays as it is.
    6. Foils are inserted; foils of the effects in `reverse` are reversed; both are settled against observations.
    7. Cases open; those in `close_cases` are resolved with their note if they are open. Where a foil that such a Case
       was about is still broken, it gets a Case of its own. Events are inserted with a todo of kind `event`. Runs start.
    8. `release` gives guards back; `unhold` gives serials back, and the next waiting Run becomes due.
    9. Waits are replaced by `waits`, and what was posted is delivered. Leaf.

    Finally `due = at when inbox_n > consumed else due`; owner and lease are cleared. A terminal status drops waits,
    `unhold`, and live reservations that were not consumed.
    """

    together = True

    run: str
    version: int
    at: datetime
    status: RunStatus
    direction: Direction
    state: str
    due: datetime | None
    consumed: int
    ctx: bytes
    hold: tuple[str, ...] = ()
    """Serials that the Run does not hold yet and needs from now on."""
    unhold: tuple[str, ...] = ()
    """Serials that it holds and gives back."""
    reserve: tuple[Reserve, ...] = ()
    release: tuple[str, ...] = ()
    """Paths whose reservations are given back."""
    plan: tuple[Effect, ...] = ()
    send: tuple[SendAttempt, ...] = ()
    again: tuple[str, ...] = ()
    """Refused effects that are planned again, to be sent once a slot is free."""
    drop: tuple[str, ...] = ()
    foils: tuple[Foil, ...] = ()
    reverse: tuple[str, ...] = ()
    """Effects that were undone: their foils are reversed."""
    approvals: tuple[Approval, ...] = ()
    close_approvals: tuple[tuple[str, ApprovalState], ...] = ()
    waits: tuple[WaitOn, ...] = ()
    cases: tuple[Case, ...] = ()
    close_cases: tuple[tuple[str, str], ...] = ()
    """Case and note: Cases of steps that the Run has left."""
    events: tuple[CanonicalEvent, ...] = ()
    starts: tuple[RunStart, ...] = ()
    leaf: bytes = b"{}"
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset(
            [
                self.run,
                *([ALONE] if self.reserve or self.release else ()),
                *(f"guard/{r.scope}/{r.key}" for r in self.reserve),
                *(f"serial/{serial}" for serial in (*self.hold, *self.unhold)),
                *(f"{foil.rule}/{foil.key}" for foil in self.foils),
                *(f"{rule}/{key}" for foil in self.foils for rule, key in foil.caps),
                *(f"{foil.rule}/{foil.document}" for foil in self.foils),
                *(wait.topic for wait in self.waits),
                *(start.run for start in self.starts),
                *(effect.id for effect in self.plan),
                *(approval.id for approval in self.approvals),
                *(id_ for id_, _ in self.close_approvals),
                *(id_ for id_, _ in self.close_cases),
            ]
        )

    def effects_named(self) -> tuple[str, ...]:
        return (*self.drop, *self.reverse, *self.again, *(send.effect for send in self.send))

    def wakes(self, answer: TurnResult) -> frozenset[WakeKind]:
        return wake_set(turn=self.leaves_work(answer), admit=bool(self.events))

    def halts(self, answer: TurnResult) -> str | None:
        if answer.verdict == "done" and (self.approvals or self.status in TERMINAL):
            return self.run
        return None

    def leaves_work(self, answer: TurnResult) -> bool:
        """Report whether some Run is due now because of this turn."""
        soon = answer.due is not None and answer.due <= self.at
        return answer.verdict == "done" and (soon or bool(answer.woken or self.starts))


class ConcludeAndTurnResult(msgspec.Struct, frozen=True, kw_only=True):
    concluded: ConcludeResult
    turned: TurnResult


class ConcludeAndTurn(Transition[ConcludeAndTurnResult], frozen=True, kw_only=True):
    """Outcome n and intent n + 1 in one transaction: an effect's outcome, and the turn that was decided on it.

    The outcome is evidence: it is recorded even where the turn is refused. The turn counts only when its version is
    the present one and the outcome is the only inbox item behind what it consumed; otherwise it is `stale` and the
    Run is due. The turn takes from no guard and gives none back.
    """

    together = True

    conclude: Conclude
    turn: Turn

    def keys(self) -> frozenset[str]:
        return self.turn.keys() | self.conclude.keys()

    def effects_named(self) -> tuple[str, ...]:
        return (self.conclude.effect, *self.turn.effects_named())

    def wakes(self, answer: ConcludeAndTurnResult) -> frozenset[WakeKind]:
        refused = answer.turned.verdict != "done"
        turn = refused or self.turn.leaves_work(answer.turned)
        return wake_set(turn=turn, admit=bool(self.turn.events or self.conclude.links))

    def halts(self, answer: ConcludeAndTurnResult) -> str | None:
        return self.turn.halts(answer.turned)
