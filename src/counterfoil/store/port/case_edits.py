"""Edits of Cases by persons: assignee, comments, tags and snooze. `people.Resolve` records the decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.case import Case, CaseState
from counterfoil.core.case_edits import (
    EDIT_NAMES,
    MAX_CASE_COMMENTS,
    MAX_CASE_TAGS,
    AssignCase,
    CaseComment,
    CaseEdit,
    CommentCase,
    SnoozeCase,
    TagCase,
    edited,
    is_repeat,
)
from counterfoil.core.notice import NewNotice
from counterfoil.core.people import Person
from counterfoil.store.port.refusals import RefusedAttempt, refusal_key
from counterfoil.store.port.transition import ALONE, Transition

EditRefusal: TypeAlias = Literal[
    "not_found", "closed", "inactive", "role", "receiver", "assignee", "tags", "comments", "overdue", "past"
]
EditVerdict: TypeAlias = Literal["done", "same", EditRefusal]
"""`same`: the Case was so already; nothing is recorded. `receiver`: the new assignee may not decide the Case. `assignee`:
another person has it by now."""


class EditCaseResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: EditVerdict


class EditCase(Transition[EditCaseResult], frozen=True, kw_only=True):
    """Record an edit of an open Case by a person.

    Refused when the Case is resolved, or the person is inactive or has no role that owns it; a comment needs no such role.
    A new assignee must have the role too. Leaf, also of a refusal.
    """

    case: str
    person: str
    edit: CaseEdit
    at: datetime
    idle: frozenset[str] = frozenset()
    """Roles by which the person does not act for the legal entity of the Case."""
    override: bool = False
    """The person may decide any Case of the legal entity (an administrator)."""
    receiver_idle: frozenset[str] = frozenset()
    """Roles by which the new assignee does not act for the legal entity of the Case."""
    receiver_override: bool = False
    notice: NewNotice | None = None
    """Written for the new assignee once the edit is done."""

    def keys(self) -> frozenset[str]:
        shared = () if self.notice is None else ("notices", ALONE)
        return frozenset([self.case, refusal_key(self.person), *shared])

    @property
    def receiver(self) -> str:
        """The new assignee; empty for an edit that names none."""
        return self.edit.assignee if isinstance(self.edit, AssignCase) else ""

    def refusal(
        self, case: Case, person: Person | None, receiver: Person | None, comments: Sequence[CaseComment]
    ) -> EditRefusal | None:
        if case.state is not CaseState.OPEN:
            return "closed"
        if person is None or not person.active:
            return "inactive"
        if not isinstance(self.edit, CommentCase) and not (
            self.override or case.owner in set(person.roles) - self.idle
        ):
            return "role"
        match self.edit:
            case AssignCase(former=former) if case.assignee not in (former, self.receiver):
                return "assignee"
            case AssignCase(assignee=assignee) if assignee:
                return None if self._is_fit(case, receiver) else "receiver"
            case TagCase() if len(edited(case, self.edit).tags) > MAX_CASE_TAGS:
                return "tags"
            case CommentCase() if len(comments) >= MAX_CASE_COMMENTS:
                return "comments"
            case SnoozeCase(until=until) if until is not None:
                if case.deadline <= self.at:
                    return "overdue"
                return "past" if until <= self.at else None
        return None

    def _is_fit(self, case: Case, receiver: Person | None) -> bool:
        """Report whether the new assignee may decide the Case."""
        if receiver is None or not receiver.active:
            return False
        return self.receiver_override or case.owner in set(receiver.roles) - self.receiver_idle

    def is_same(self, case: Case, comments: Sequence[CaseComment]) -> bool:
        """Report whether the edit changes nothing: a form that was sent twice."""
        if isinstance(self.edit, CommentCase):
            return is_repeat(comments, self.person, self.edit.text)
        return edited(case, self.edit) == case

    def refused(self, verdict: EditRefusal, run: str | None) -> RefusedAttempt:
        """Return the record of a refused edit."""
        return RefusedAttempt(
            kind="decision.refused", person=self.person, at=self.at, action=EDIT_NAMES[type(self.edit)],
            subject=self.case, verdict=verdict, run=run,
        )  # fmt: skip
