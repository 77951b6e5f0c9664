"""Edits of an open Case that decide nothing: assignee, comments, tags and snooze.

Pure. `store.port.case_edits` has the transition that records an edit with its leaf.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.case import Case
from counterfoil.core.clock import micros

MAX_COMMENT_CHARS = 4000
MAX_CASE_COMMENTS = 500
MAX_CASE_TAGS = 12
MAX_REASON_CHARS = 500
"""Of a snooze."""
TAG = re.compile(r"[a-z0-9](?:[a-z0-9 _.-]{0,38}[a-z0-9])?", re.ASCII)
"""A tag: at most 40 characters, in lower case."""


class CaseComment(msgspec.Struct, frozen=True, kw_only=True):
    """Comment of a person on a Case. It never changes."""

    id: str
    about: str
    """The Case."""
    person: str
    at: datetime
    text: str


class AssignCase(msgspec.Struct, frozen=True):
    """Give a Case to a person who works on it. An empty text: to no one."""

    assignee: str
    former: str = ""
    """The assignee that the person saw. Another one in the meantime refuses the edit."""


class CommentCase(msgspec.Struct, frozen=True):
    text: str


class TagCase(msgspec.Struct, frozen=True):
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class SnoozeCase(msgspec.Struct, frozen=True):
    """Set a Case aside until a time; None ends the snooze."""

    until: datetime | None
    reason: str = ""


CaseEdit: TypeAlias = AssignCase | CommentCase | TagCase | SnoozeCase
EDIT_NAMES: dict[type[CaseEdit], str] = {
    AssignCase: "case.assigned",
    CommentCase: "case.commented",
    TagCase: "case.tagged",
    SnoozeCase: "case.snoozed",
}
"""Kind of the leaf of each edit."""


def edited(case: Case, edit: CaseEdit) -> Case:
    """Return the Case after an edit. A snooze ends at the deadline of the Case at the latest."""
    match edit:
        case AssignCase(assignee=assignee):
            return replace(case, assignee=assignee)
        case TagCase(add=add, remove=remove):
            return replace(case, tags=tuple(sorted({*case.tags, *add} - set(remove))))
        case SnoozeCase(until=until, reason=reason):
            if until is None:
                return replace(case, snoozed_until=None, snooze_reason="")
            return replace(case, snoozed_until=min(until, case.deadline), snooze_reason=reason)
        case CommentCase():
            return case


def comment_of(case: Case, person: str, text: str, at: datetime, comments: int) -> CaseComment:
    """Return a comment; `comments` is the number of those before it."""
    id_ = ids.derive("comment", case.id, comments, person, micros(at))
    return CaseComment(id=id_, about=case.id, person=person, at=at, text=text)


def edit_body(case: Case, edit: CaseEdit, comment: CaseComment | None) -> bytes:
    """Return the body of an edit's leaf. It has the digest of a comment, so that its text can be erased."""
    body: dict[str, Any]
    match edit:
        case AssignCase(assignee=assignee, former=former):
            body = {"assignee": assignee, "former": former}
        case TagCase():
            body = {"tags": list(case.tags)}
        case SnoozeCase():
            until = case.snoozed_until
            body = {"until": None if until is None else micros(until), "reason": case.snooze_reason}
        case CommentCase(text=text):
            body = {"comment": "" if comment is None else comment.id, "digest": wire.digest(text.encode())}
    return wire.dumps(body)


def is_snoozed(case: Case, at: datetime) -> bool:
    """Report whether a Case is set aside at a time. A resolved one is not."""
    return case.resolved_at is None and case.snoozed_until is not None and case.snoozed_until > at


def is_repeat(comments: Sequence[CaseComment], person: str, text: str) -> bool:
    """Report whether a comment says the same as the newest one, by the same person: a form that was sent twice."""
    return bool(comments) and (comments[-1].person, comments[-1].text) == (person, text)
