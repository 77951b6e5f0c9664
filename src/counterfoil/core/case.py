"""A Case: an exception that a person decides, with its reason, owner, deadline, next action and exposed money.

`core.case_reasons` lists the reasons; `core.cases` builds Cases.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from counterfoil.core.money import Money


class CaseState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


class Choice(StrEnum):
    """Decision that a person may take. Each Case offers only the choices that make sense for it."""

    RETRY = "retry"  # a Run's step, or the admission of a receipt or an event
    CONTINUE = "continue"  # the step counts as done
    UNDO = "undo"  # what was confirmed is taken back
    CLOSE = "close"  # the Run ends here, as closed
    WAIVE = "waive"  # the difference of a counterfoil is accepted
    DISMISS = "dismiss"  # no action is needed; the note says why


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Exception that waits for a person. Build it with `core.cases.open_case`."""

    id: str
    reason: str
    """A key of `core.case_reasons.CATALOGUE`: `mapping_failed`, `unrouted`, `refused`, `foil_broken`, ..."""
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
    observation: str | None = None
    exposure: tuple[Money, ...] = ()
    count: int = 1
    """Occurrences of its cause."""
    created_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    choice: Choice | None = None
    note: str = ""
    assignee: str = ""
    """The person who works on it. Empty: no one in particular; every person with the role of the owner may."""
    tags: tuple[str, ...] = ()
    """In order."""
    snoozed_until: datetime | None = None
    """Set aside until then: lists leave it out."""
    snooze_reason: str = ""
    cause: str = ""
    """Key that Cases of one cause share: the reason, and the operation, code, rule or system that it depends on."""
