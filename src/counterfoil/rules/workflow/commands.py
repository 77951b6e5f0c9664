"""What `decide` reads besides the Run's own state, and what it answers: commands with derived ids.

Commands are complete: whoever carries them out decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypeAlias

import msgspec

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Legs
from counterfoil.core.money import Money
from counterfoil.core.run import Direction, RunStatus
from counterfoil.rules.workflow.state import RunState

# ------------------------------------------------------------------ what it reads


class LiveContext(msgspec.Struct, frozen=True, kw_only=True):
    """What is late-bound and recorded with the turn: rows of the Run and answers to its look-ups."""

    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()
    answers: Mapping[tuple[str, tuple[Any, ...]], Any] = {}
    """Answers by (look-up, arguments): heads, links, table rows, guard use, period lists."""
    unrendered: Mapping[str, Unrendered] = {}
    """Effects planned in this turn whose request could not be rendered, by effect id."""


class Unrendered(msgspec.Struct, frozen=True, kw_only=True):
    """Why no request exists: a Link is missing, or the mapping refused."""

    message: str
    object: str = ""
    canonical: str = ""
    system: str = ""

    @property
    def unresolved(self) -> bool:
        return bool(self.object)


class Stimulus(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a Run is told. `kind` and `body` as in the inbox; a look at the clock is `tick`."""

    kind: str
    ref: str = ""
    seq: int = 0
    at: datetime
    body: Mapping[str, Any] = {}


# ------------------------------------------------------------------ what it answers


class LookUp(msgspec.Struct, frozen=True):
    """A look-up whose answer is needed before this turn can be decided: nothing else is decided."""

    name: str
    args: tuple[Any, ...]


class PlanEffect(msgspec.Struct, frozen=True, kw_only=True):
    """An outward call, planned."""

    effect: str
    path: str
    item: str
    gen: int
    undoes: str | None
    operation: str
    input: Mapping[str, Any]
    dates: Mapping[str, date | None]
    approvals: tuple[str, ...]


class SendAgain(msgspec.Struct, frozen=True):
    """A refused effect goes out again: same generation, same bytes, same key."""

    effect: str


class DropEffect(msgspec.Struct, frozen=True):
    """An effect is given up: planned becomes dropped, foils of a refused one are void."""

    effect: str


class AskApproval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval is asked for, or granted by the matrix itself."""

    approval: str
    path: str
    policy: str
    subject: str
    covers: Mapping[str, Any]
    amount: Money | None
    roles: tuple[str, ...]
    quorum: int
    requester: str
    expires: datetime
    automatic: bool


class CloseApproval(msgspec.Struct, frozen=True):
    approval: str
    state: ApprovalState


class WriteFoil(msgspec.Struct, frozen=True, kw_only=True):
    """A provisional foil, written with the effect that will assert it."""

    foil: str
    rule: str
    key: str
    object: str
    left: str
    right: str
    legs: Legs
    due: datetime
    tolerance: int
    exact: bool
    effect: str
    owner: str


class ReverseFoils(msgspec.Struct, frozen=True):
    effect: str


class ReserveGuard(msgspec.Struct, frozen=True, kw_only=True):
    scope: str
    key: str
    path: str
    amount: int
    limit: int | None
    seen: int


class ReleaseGuards(msgspec.Struct, frozen=True):
    paths: tuple[str, ...]


class EmitEvent(msgspec.Struct, frozen=True, kw_only=True):
    event: str
    type: str
    data: Mapping[str, Any]


class OpenCase(msgspec.Struct, frozen=True, kw_only=True):
    case: str
    reason: str
    message: str
    path: str
    owner: str
    within: float
    choices: tuple[Choice, ...]
    names: Mapping[str, str] = {}
    """For the placeholders of the next action."""
    effect: str | None = None


class StartSync(msgspec.Struct, frozen=True):
    """The object's sync workflow is to run for this canonical id."""

    object: str
    canonical: str


class WaitForTopic(msgspec.Struct, frozen=True):
    topic: str
    since: datetime | None


Command: TypeAlias = (
    PlanEffect
    | SendAgain
    | DropEffect
    | AskApproval
    | CloseApproval
    | WriteFoil
    | ReverseFoils
    | ReserveGuard
    | ReleaseGuards
    | EmitEvent
    | OpenCase
    | StartSync
)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer of one turn. With `looks` nothing else counts: answer them and decide again."""

    looks: tuple[LookUp, ...] = ()
    status: RunStatus = RunStatus.READY
    direction: Direction = Direction.FORWARD
    state: str = ""
    due: datetime | None = None
    consumed: int = 0
    ctx: bytes = b"{}"
    hold: tuple[str, ...] = ()
    """Serial keys to hold; empty: release them."""
    commands: tuple[Command, ...] = ()
    waits: tuple[WaitForTopic, ...] = ()
    ignored: tuple[str, ...] = ()
    """Stimuli that changed nothing, with the reason."""
    after: RunState | None = None
    """The state that `ctx` holds, for whoever decides about this Run next without reading it again."""
