"""Edits of Cases that decide nothing: assignee, comments, tags and snooze. `decisions` resolves Cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

import msgspec
from litestar import get, post
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.case_edits import (
    MAX_CASE_COMMENTS,
    MAX_CASE_TAGS,
    MAX_COMMENT_CHARS,
    MAX_REASON_CHARS,
    TAG,
    AssignCase,
    CaseEdit,
    CommentCase,
    SnoozeCase,
    TagCase,
)
from counterfoil.store.port.case_edits import EditRefusal
from counterfoil.store.port.views import CaseRow
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.shapes import CaseShape
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    S,
    WebRequest,
    application,
    caller,
    decode_json,
    require_json,
    requires,
    trusted_caller,
)

_REFUSALS: dict[EditRefusal, tuple[int, str, str]] = {
    "not_found": (404, "", "There is no Case {id}."),
    "closed": (409, "", "Case {id} is already resolved. Nothing was changed."),
    "inactive": (403, "", "{person} is not active and cannot work on Cases."),
    "role": (403, "", "Case {id} belongs to a role that {person} does not have for its legal entity."),
    "receiver": (
        422,
        "assignee",
        "{receiver} cannot decide Case {id}: choose an active person with the role of its owner, for its legal entity.",
    ),
    "assignee": (409, "assignee", "{holder} has Case {id} by now. Nothing was changed."),
    "tags": (422, "tags", f"A Case has at most {MAX_CASE_TAGS} tags. Remove one first."),
    "comments": (
        409,
        "text",
        f"Case {{id}} has {MAX_CASE_COMMENTS} comments, which is the most. Decide it instead.",
    ),
    "overdue": (409, "until", "The deadline of Case {id} has passed, so it cannot be snoozed. Decide it."),
    "past": (422, "until", "Snooze a Case until a time in the future."),
}
"""Status, field and sentence of each refusal. The kind of the problem is the name of the refusal."""


class Assignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    assignee: str
    """Id of the person who works on the Case; empty for no one."""
    former: str = ""
    """The assignee that the caller saw. If another person has the Case by now, nothing is changed."""


class Comment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class Tags(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    add: list[str] = []
    remove: list[str] = []


class Snooze(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    until: datetime | None
    """With an offset or `Z`. The deadline of the Case ends the snooze at the latest; null ends it now."""
    reason: str = ""


class CommentShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    person: str
    name: str
    """Name of the person."""
    at: datetime
    text: str


class CommentList(msgspec.Struct, frozen=True):
    """Comments of persons on a Case, oldest first."""

    items: list[CommentShape]


@get(
    "/v1/cases/{case_id:str}/comments",
    opt=requires(Permission.CASES_ANY_READ),
    tags=["cases"],
    summary="List the comments on a Case",
)
async def list_comments(request: WebRequest, case_id: FromPath[str]) -> CommentList:
    app = application(request)
    return CommentList(await comments_of(app, case_id, caller(request).person.id))


@post(
    "/v1/cases/{case_id:str}/comments",
    opt=requires(Permission.CASES_OWN_RESOLVE, RequestBody(JSON, Comment)),
    status_code=200,
    tags=["cases"],
    summary="Comment on a Case",
)
async def comment(request: WebRequest, case_id: FromPath[str]) -> CommentList:
    app, (person, body) = application(request), await _decoded(request, Comment)
    await edit_case(app, case_id, person, comment_edit(body.text))
    return CommentList(await comments_of(app, case_id, person))


@post(
    "/v1/cases/{case_id:str}/assignment",
    opt=requires(Permission.CASES_OWN_RESOLVE, RequestBody(JSON, Assignment)),
    status_code=200,
    tags=["cases"],
    summary="Assign a Case to a person",
)
async def assign(request: WebRequest, case_id: FromPath[str]) -> CaseShape:
    person, body = await _decoded(request, Assignment)
    return await _edited(request, case_id, person, AssignCase(body.assignee, body.former))


@post(
    "/v1/cases/{case_id:str}/tags",
    opt=requires(Permission.CASES_OWN_RESOLVE, RequestBody(JSON, Tags)),
    status_code=200,
    tags=["cases"],
    summary="Add and remove tags of a Case",
)
async def tag(request: WebRequest, case_id: FromPath[str]) -> CaseShape:
    person, body = await _decoded(request, Tags)
    return await _edited(request, case_id, person, tags_edit(body.add, body.remove))


@post(
    "/v1/cases/{case_id:str}/snooze",
    opt=requires(Permission.CASES_OWN_RESOLVE, RequestBody(JSON, Snooze)),
    status_code=200,
    tags=["cases"],
    summary="Snooze a Case, or end its snooze",
)
async def snooze(request: WebRequest, case_id: FromPath[str]) -> CaseShape:
    person, body = await _decoded(request, Snooze)
    return await _edited(request, case_id, person, snooze_edit(body.until, body.reason))


def comment_edit(text: str) -> CommentCase:
    """Return the edit of a comment. Raises Problem 422 for a text that is empty or too long."""
    text = text.strip()
    if not text:
        raise Problem(422, "Write a comment.", field="text")
    if len(text) > MAX_COMMENT_CHARS:
        raise Problem(
            422, f"A comment has at most {MAX_COMMENT_CHARS} characters; this one has {len(text)}.", field="text"
        )  # fmt: skip
    return CommentCase(text)


def tags_edit(add: Iterable[str], remove: Iterable[str] = ()) -> TagCase:
    """Return the edit of tags, in lower case. Raises Problem 422 for a tag of another form."""
    names = [text.strip().lower() for text in add]
    for name in names:
        if not TAG.fullmatch(name):
            raise Problem(
                422, f"{name[:60]!r} is no tag. A tag has up to 40 letters, digits, spaces, dots, dashes or underscores.",
                field="tags",
            )  # fmt: skip
    return TagCase(tuple(names), tuple(text.strip().lower() for text in remove))


def snooze_edit(until: datetime | None, reason: str) -> SnoozeCase:
    """Return the edit of a snooze. Raises Problem 422 for a time without offset, and without a reason."""
    reason = reason.strip()[:MAX_REASON_CHARS]
    if until is None:
        return SnoozeCase(None)
    if until.tzinfo is None:
        raise Problem(422, "The time needs an offset, such as `Z`.", field="until")
    if not reason:
        raise Problem(422, "Enter a reason: readers of the Case need to know what it waits for.", field="reason")  # fmt: skip
    return SnoozeCase(until, reason)


async def edit_case(app: Application, case_id: str, person: str, edit: CaseEdit) -> None:
    """Edit a Case for a person. Raises Problem for a refusal."""
    verdict = await app.edit_case(case_id, person, edit)
    if verdict in ("done", "same"):
        return
    status, field, sentence = _REFUSALS[cast(EditRefusal, verdict)]
    row = await app.store.case(case_id)
    holder = "Another person" if row is None else row.case.assignee
    who = await app.store.person(holder)
    names = {
        "id": case_id[:100],
        "person": person,
        "receiver": (edit.assignee if isinstance(edit, AssignCase) else "")[:100],
        "holder": holder or "No one" if who is None else who.name,
    }
    raise Problem(status, sentence.format(**names), kind=verdict.replace("_", "-"), field=field)


async def comments_of(app: Application, case_id: str, reader: str) -> list[CommentShape]:
    """Return the comments on a Case that the caller sees, with the names of their authors. Raises Problem 404.

    They are prose: names that the caller may not read are those of the Case's documents, which are read with it. What
    the reader wrote stays as it is.
    """
    await case_shapes(app, [await case_row_of(app, case_id)])
    comments = await app.views.case_comments(case_id)
    if app.mask is not None:
        app.mask.echo(comment.text for comment in comments if comment.person == reader)
    names = {person.id: person.name for person in await app.store.persons()} if comments else {}
    return [
        CommentShape(id=c.id, person=c.person, name=names.get(c.person, c.person), at=c.at, text=c.text)
        for c in comments
    ]


async def case_row_of(app: Application, case_id: str) -> CaseRow:
    """Return a Case that the caller sees. Raises Problem 404."""
    row = await app.store.case(case_id)
    if row is None:
        raise Problem(404, f"There is no Case {case_id[:100]}.")
    return row


async def _edited(request: WebRequest, case_id: str, person: str, edit: CaseEdit) -> CaseShape:
    app = application(request)
    await edit_case(app, case_id, person, edit)
    shapes: Sequence[CaseShape] = await case_shapes(app, [await case_row_of(app, case_id)])
    return shapes[0]


async def _decoded(request: WebRequest, kind: type[S]) -> tuple[str, S]:
    """Return the caller's id and the decoded body. Raises Problem."""
    person = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    return person, decode_json(body, kind)


ROUTES = [list_comments, comment, assign, tag, snooze]
