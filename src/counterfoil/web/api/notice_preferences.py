"""Choices of the caller for mails: each topic at once, in a daily digest or never, and quiet hours."""

from __future__ import annotations

import re

import msgspec
from litestar import get, post
from msgspec.structs import replace

from counterfoil.core.notice_preferences import DAY_MINUTES, NoticePreferences, SendMode
from counterfoil.core.people import Person
from counterfoil.core.zones import zone_named, zone_names
from counterfoil.store.port.notices import PutNoticePreferences
from counterfoil.web.http.permissions import Open
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

_FIELDS = {
    "quiet_from": "beginning of quiet hours",
    "quiet_until": "end of quiet hours",
    "digest_at": "time of the digest",
}
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class PreferencesShape(msgspec.Struct, frozen=True, kw_only=True):
    """Choices of a person for mails. The bell and the page have every notice."""

    approvals: SendMode
    cases: SendMode
    """New Cases, and Cases that another person gave."""
    deadlines: SendMode
    quiet_from: str
    """`22:00`. Empty: no quiet hours."""
    quiet_until: str
    """A mail of the quiet hours is sent at this time."""
    digest_at: str
    """`08:00`."""
    zone: str
    """Of the times; a time zone by its IANA name."""
    mailed: bool
    """A channel mails notices of one of the caller's roles. Otherwise nothing is sent, whatever is chosen."""
    revision: int
    """Number of the newest change."""


class PreferencesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of preferences. What is absent stays."""

    approvals: SendMode | None = None
    cases: SendMode | None = None
    deadlines: SendMode | None = None
    quiet_from: str | None = None
    """`22:00`; empty, with `quiet_until`, for no quiet hours."""
    quiet_until: str | None = None
    digest_at: str | None = None
    zone: str | None = None
    revision: int | None = None
    """That of the preferences that were read. Without it, the newest are changed."""


@get(
    "/v1/notices/preferences",
    opt=requires(Open.SIGNED_IN),
    tags=["people"],
    summary="Read what the caller wants by mail",
)
async def read_preferences(request: WebRequest) -> PreferencesShape:
    person = caller(request).person
    return preferences_shape(request, person, await preferences_of(request, person))


@post(
    "/v1/notices/preferences",
    opt=requires(Open.SIGNED_IN, RequestBody(JSON, PreferencesBody)),
    status_code=200,
    tags=["people"],
    summary="Choose what the caller wants by mail",
)
async def change_preferences(request: WebRequest) -> PreferencesShape:
    """Change what the caller wants by mail, and when. The bell and the page have every notice."""
    person = trusted_caller(request).person
    body = await request.body()
    require_json(request)
    saved = await save_preferences(request, person, decode_json(body, PreferencesBody))
    return preferences_shape(request, person, saved)


async def preferences_of(request: WebRequest, person: Person, zone: str = "UTC") -> NoticePreferences:
    """Return what a person wants by mail; `zone` is for one who has chosen none and has none on file."""
    chosen = await whole_application(request).store.notice_preferences(person.id)
    return chosen or NoticePreferences(person=person.id, zone=person.zone or zone)


async def save_preferences(request: WebRequest, person: Person, change: PreferencesBody) -> NoticePreferences:
    """Save a change of preferences and return them. Raises Problem 403, 409 and 422."""
    app = whole_application(request)
    former = await preferences_of(request, person)
    if change.revision is not None and change.revision != former.revision:
        raise _changed()
    begin = former.quiet_from if change.quiet_from is None else _minute(change.quiet_from, "quiet_from")
    end = former.quiet_until if change.quiet_until is None else _minute(change.quiet_until, "quiet_until")
    if bool(change.quiet_from) != bool(change.quiet_until) and (change.quiet_from or change.quiet_until):
        missing = "quiet_until" if change.quiet_from else "quiet_from"
        raise Problem(422, "Quiet hours need a beginning and an end.", field=missing)
    if change.quiet_from and begin == end:
        raise Problem(422, "Quiet hours cannot begin and end at the same time.", field="quiet_until")
    new = replace(
        former,
        approvals=change.approvals or former.approvals,
        cases=change.cases or former.cases,
        deadlines=change.deadlines or former.deadlines,
        quiet_from=begin,
        quiet_until=end,
        digest_at=former.digest_at if change.digest_at is None else _digest(change.digest_at),
        zone=former.zone if change.zone is None else _zone(change.zone),
    )
    put = PutNoticePreferences(preferences=new, at=await app.store.now())
    verdict = await app.store.apply(put)
    if verdict == "inactive":
        raise Problem(403, "You are not active.", kind="inactive")
    if verdict == "changed":
        raise _changed()
    return put.after


def preferences_shape(request: WebRequest, person: Person, of: NoticePreferences) -> PreferencesShape:
    channels = whole_application(request).model.channels.values()
    is_quiet = of.quiet_from != of.quiet_until
    return PreferencesShape(
        approvals=of.approvals,
        cases=of.cases,
        deadlines=of.deadlines,
        quiet_from=_text(of.quiet_from) if is_quiet else "",
        quiet_until=_text(of.quiet_until) if is_quiet else "",
        digest_at=_text(of.digest_at),
        zone=of.zone,
        mailed=any(c.mail is not None and not set(person.roles).isdisjoint(c.roles) for c in channels),
        revision=of.revision,
    )


def _changed() -> Problem:
    sentence = "Your preferences were changed meanwhile. Load them again."
    return Problem(409, sentence, kind="changed", field="revision")


def _minute(text: str, field: str) -> int:
    """Return the minutes after midnight of `HH:MM`; 0 for an empty text. Raises Problem 422."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        if not text.strip():
            return 0
        raise Problem(422, f"The {_FIELDS[field]} is a time from 00:00 to 23:59.", field=field)
    return int(match[1]) * 60 + int(match[2])


def _digest(text: str) -> int:
    if not text.strip():
        raise Problem(422, "Write the time of the digest, such as 08:00.", field="digest_at")
    return _minute(text, "digest_at")


def _zone(text: str) -> str:
    name = zone_named(text)
    if name is None or name not in zone_names():
        sentence = f"There is no time zone {text[:100]}. Choose one such as Europe/Berlin."
        raise Problem(422, sentence, field="zone")
    return name


def _text(minute: int) -> str:
    minute %= DAY_MINUTES
    return f"{minute // 60:02}:{minute % 60:02}"


ROUTES = [read_preferences, change_preferences]
