"""A Case: an exception with reason, owner, deadline, next action and the money exposed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from counterfoil.core.money import Money


class CaseState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


CASE_MOVES: dict[CaseState, frozenset[CaseState]] = {
    CaseState.OPEN: frozenset({CaseState.RESOLVED}),
    CaseState.RESOLVED: frozenset(),
}


class Choice(StrEnum):
    """What a person may decide; which are offered depends on what the Case is about."""

    RETRY = "retry"  # a Run's step, a receipt's or event's admission
    CONTINUE = "continue"  # the step counts as done
    UNDO = "undo"  # take back what was confirmed
    CLOSE = "close"  # the Run ends here, as closed
    WAIVE = "waive"  # a broken foil is accepted
    DISMISS = "dismiss"  # nothing is to be done; the reason is the note


class Case(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    reason: str
    """A short stable word: `mapping_failed`, `unrouted`, `refused`, `foil_broken`, ..."""
    message: str
    owner: str
    """The role that owns it."""
    deadline: datetime
    next_action: str
    choices: tuple[Choice, ...]
    state: CaseState = CaseState.OPEN
    run: str | None = None
    path: str | None = None
    receipt: int | None = None
    event: str | None = None
    effect: str | None = None
    foil: str | None = None
    exposure: tuple[Money, ...] = ()
    created_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    choice: Choice | None = None
    note: str = ""
