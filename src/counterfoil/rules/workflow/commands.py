"""Input of `decide` besides the Run's own state, and its result: commands with derived ids.

Commands are complete: carrying them out involves no further decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypeAlias

import msgspec

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.document import Within
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.money import Money
from counterfoil.core.run import Direction, RunStatus
from counterfoil.core.terms import Legs, Terms
from counterfoil.rules.workflow.state import RunState

# ------------------------------------------------------------------ input


class LateBoundInput(msgspec.Struct, frozen=True, kw_only=True):
    """Late-bound input, recorded with the turn: rows of the Run and answers to its look-ups."""

    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()
    answers: Mapping[tuple[str, tuple[Any, ...]], Any] = {}
    """Answers by (look-up, arguments): heads, links, table rows, guard use, period lists."""
    unrendered: Mapping[str, Unrendered] = {}
    """Effects planned in this turn whose request could not be rendered, by effect id; and later calls, by name."""


class Unrendered(msgspec.Struct, frozen=True, kw_only=True):
    """Reason why a planned effect has no request: a Link is missing, or the mapping failed."""

    message: str
    object: str = ""
    canonical: str = ""
    system: str = ""

    @property
    def unresolved(self) -> bool:
        return bool(self.object)


class Stimulus(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a Run's inbox. A turn that only checks the time has none."""

    kind: str
    ref: str = ""
    seq: int = 0
    at: datetime
    body: Mapping[str, Any] = {}


# ------------------------------------------------------------------ result


class LookupRequest(msgspec.Struct, frozen=True):
    """A look-up that must be answered before this turn can be decided."""

    name: str
    args: tuple[Any, ...]


class PlanEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Plan an outward call."""

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
    """Send a refused effect again: same generation, same bytes, same key."""

    effect: str


class DropEffect(msgspec.Struct, frozen=True):
    """Give up an effect: a planned one is dropped, and provisional foils become void."""

    effect: str


class AskApproval(msgspec.Struct, frozen=True, kw_only=True):
    """Request an approval. An automatic tier of the matrix grants it at once."""

    approval: str
    path: str
    policy: str
    subject: str
    covers: Mapping[str, Any]
    amount: Money | None
    roles: tuple[str, ...]
    quorum: int
    requester: str
    senders: tuple[str, ...]
    expires: datetime
    automatic: bool


class CloseApproval(msgspec.Struct, frozen=True):
    approval: str
    state: ApprovalState


class WriteFoil(msgspec.Struct, frozen=True, kw_only=True):
    """Write a provisional foil with the effect that will assert it."""

    foil: str
    rule: str
    key: str
    document: str
    object: str
    left: str
    right: str
    legs: Legs
    terms: Terms
    entity: str
    effective: str
    reverses: str
    names: tuple[str, ...]
    due: datetime
    effect: str
    owner: str
    within: tuple[Within, ...] = ()


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
    senders: tuple[str, ...] = ()


class OpenCase(msgspec.Struct, frozen=True, kw_only=True):
    case: str
    reason: str
    message: str
    path: str
    owner: str
    within: float
    choices: tuple[Choice, ...]
    names: Mapping[str, str] = {}
    """Values for the placeholders of the next action."""
    effect: str | None = None


class CloseCase(msgspec.Struct, frozen=True, kw_only=True):
    """Close the Case of a step that the Run has left. A Case that is resolved already stays as it is."""

    case: str
    note: str
    """State of the Run when it left the step, in words."""


class StartSync(msgspec.Struct, frozen=True):
    """Start the sync workflow of an object for this canonical id."""

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
    | CloseCase
    | StartSync
)


class AheadCall(msgspec.Struct, frozen=True, kw_only=True):
    """A later call as far as it is known before the Run's first write. It is rendered dry, and nothing is stored."""

    name: str
    """Its key in `LateBoundInput.unrendered`."""
    effect: str
    operation: str
    input: Mapping[str, Any]
    dates: Mapping[str, date | None]
    unknown: frozenset[str]
    """Names of the outbound mapping, as dotted paths, that have no value yet."""
    links: bool
    """True if every Link that it needs must exist already: no earlier call of the Run writes to its system."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one turn. With `looks` all other fields are empty: answer them and decide again."""

    looks: tuple[LookupRequest, ...] = ()
    status: RunStatus = RunStatus.READY
    direction: Direction = Direction.FORWARD
    state: str = ""
    due: datetime | None = None
    consumed: int = 0
    ctx: bytes = b"{}"
    hold: tuple[str, ...] = ()
    """Serial keys to hold. Empty: release them."""
    commands: tuple[Command, ...] = ()
    waits: tuple[WaitForTopic, ...] = ()
    ignored: tuple[str, ...] = ()
    """Stimuli that changed nothing, with the reason."""
    ahead: tuple[AheadCall, ...] = ()
    """Later calls to render dry. Put what cannot be rendered into `unrendered` and decide again."""
    after: RunState | None = None
    """Decoded `ctx`, for the caller's next decision about this Run."""
