"""Notices of the caller: listed within their permissions and legal entities, counted, and marked as read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.notice import COMPANY, Notice, NoticeKind
from counterfoil.core.notice_text import notice_path, notice_title
from counterfoil.rules.notices import READS
from counterfoil.store.port.notices import NoticeFilter, ReadNotices
from counterfoil.web.api.case_lists import cause_about
from counterfoil.web.api.queries import Cursor, Limit, checked_cursor
from counterfoil.web.api.shapes import Amount, amounts
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Open, Permission, scope_of
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    WebRequest,
    caller,
    decode_json,
    require_json,
    requires,
    trusted_caller,
    whole_application,
)

MAX_READ_IDS = 200


class NoticeState(StrEnum):
    UNREAD = "unread"
    ALL = "all"


NoticeStateText = Annotated[
    str | None,
    QueryParameter(name="state", enum=[*NoticeState], description="`unread`, the default, or `all`."),
]


class NoticeShape(msgspec.Struct, frozen=True, kw_only=True):
    """Notice of one cause."""

    id: str
    kind: NoticeKind
    title: str
    """What happened, in plain words."""
    about: str
    """The document, or what Cases of the cause depend on; empty if there is neither."""
    exposure: list[Amount]
    """Sum of each currency."""
    count: int
    """Cases of the cause since the last reading."""
    due: datetime
    """The earliest deadline or expiry."""
    at: datetime
    read: bool
    legal_entity: str | None
    """None: the company as a whole."""
    subject: str
    """The newest Case or approval."""
    link: str
    """The page of the Case, of the Cases of the cause, or of the approval."""


class NoticeList(msgspec.Struct, frozen=True):
    """Notices, the newest first. `unread` counts all unread ones."""

    items: list[NoticeShape]
    unread: int
    next: str | None


class ReadBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Notices that the caller has read."""

    until: datetime
    """When the caller saw them: what came later stays unread."""
    ids: list[str] | None = None
    """Without it, all."""


class ReadNoticesAnswer(msgspec.Struct, frozen=True):
    read: int
    unread: int


@get("/v1/notices", opt=requires(Open.SIGNED_IN), tags=["people"], summary="List the notices of the caller")
async def list_notices(
    request: WebRequest,
    in_state: NoticeStateText = NoticeState.UNREAD,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> NoticeList:
    return await notice_list(request, caller(request), in_state != NoticeState.ALL, limit, cursor)


@post(
    "/v1/notices/read",
    opt=requires(Open.SIGNED_IN, RequestBody(JSON, ReadBody)),
    status_code=200,
    tags=["people"],
    summary="Mark notices of the caller as read",
)
async def read_notices(request: WebRequest) -> ReadNoticesAnswer:
    identity = trusted_caller(request)
    body = await request.body()
    require_json(request)
    about = decode_json(body, ReadBody)
    count = await mark_read(request, identity, about.ids, about.until)
    return ReadNoticesAnswer(count, await unread_notices(request, identity))


async def notice_list(
    request: WebRequest, identity: Identity, unread: bool, limit: int, cursor: str | None
) -> NoticeList:
    """Return a page of the notices that a person sees. Raises Problem for an invalid cursor."""
    app = whole_application(request)
    scopes = _scopes(request, identity)
    by_kind = tuple(((str(kind),), scope.stored) for kind, scope in scopes.items())
    page = NoticeFilter(
        person=identity.person.id, scopes=by_kind, unread=unread, limit=limit, cursor=checked_cursor(cursor)
    )
    rows, after = await app.views.notices(page)
    return NoticeList([notice_shape(row) for row in rows], await unread_notices(request, identity), after)


async def unread_notices(request: WebRequest, identity: Identity) -> int:
    """Return how many unread notices a person sees, from the counts that the store keeps."""
    scopes = _scopes(request, identity)
    counts = await whole_application(request).views.unread_counts(identity.person.id)
    return sum(
        row.unread
        for row in counts
        if (scope := scopes.get(NoticeKind(row.kind))) is not None and scope.sees(row.entity)
    )


async def mark_read(
    request: WebRequest, identity: Identity, ids: Iterable[str] | None, until: datetime
) -> int:
    """Mark notices of a person as read; return how many were unread. Raises Problem 422."""
    chosen = None if ids is None else tuple(ids)
    if chosen is not None and len(chosen) > MAX_READ_IDS:
        raise Problem(422, f"At most {MAX_READ_IDS} notices at once.", field="ids")
    if until.tzinfo is None:
        raise Problem(422, "The time needs an offset, such as `Z`.", field="until")
    store = whole_application(request).store
    now = await store.now()
    change = ReadNotices(person=identity.person.id, ids=chosen, until=min(until, now), at=now)
    return await store.apply(change)


def notice_shape(notice: Notice) -> NoticeShape:
    is_one = notice.count == 1
    return NoticeShape(
        id=notice.id,
        kind=notice.kind,
        title=notice_title(notice),
        about=notice.document if is_one or notice.kind is NoticeKind.APPROVAL else cause_about(notice.cause),
        exposure=amounts(notice.amounts),
        count=notice.count,
        due=notice.due,
        at=notice.at,
        read=notice.read_at is not None,
        legal_entity=None if notice.entity == COMPANY else notice.entity,
        subject=notice.subject,
        link=notice_path(notice),
    )


def _scopes(request: WebRequest, identity: Identity) -> dict[NoticeKind, EntityScope]:
    """Return the legal entities whose notices a person sees, by kind, for the kinds that the person may read."""
    model = whole_application(request).model
    by_permission: dict[Permission, EntityScope] = {
        permission: scope_of(identity.person, model, permission)
        for permission in set(READS.values())
        if permission in identity.may
    }
    return {kind: by_permission[p] for kind, p in READS.items() if p in by_permission}


ROUTES = [list_notices, read_notices]
