"""Notices of persons: written once for each Case or approval, and marked as read. `core.notice` says what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.notice import NewNotice, Notice, notice_id
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.core.people import Person
from counterfoil.store.port.transition import ALONE, Transition
from counterfoil.store.port.views import CaseRow

PreferenceVerdict: TypeAlias = Literal["done", "inactive", "changed"]
"""`changed`: the person saved other preferences meanwhile."""


class Unnoticed(msgspec.Struct, frozen=True):
    """Rows that have no notices yet, oldest first. A row has its mark from the transaction that wrote it."""

    cases: list[CaseRow]
    approvals: list[Approval]
    deadlines: list[CaseRow]
    """Open Cases in the last quarter of their time, at most a day before the deadline."""


class NoticeFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The notices of a person that fit."""

    person: str
    scopes: tuple[tuple[tuple[str, ...], tuple[str, ...] | None], ...]
    """Kinds, and the entities whose notices of these kinds the person sees; None: all."""
    unread: bool = False
    limit: int = 50
    cursor: str | None = None


class UnreadCount(msgspec.Struct, frozen=True):
    kind: str
    entity: str
    unread: int


class WriteNotices(Transition[int], frozen=True, kw_only=True):
    """Write the notices of Cases and approvals, and mark these; returns how many notices were written or raised.

    A Case or approval that has its mark already is left out: of two workers, one writes. Leaf for each notice.
    """

    notices: tuple[NewNotice, ...]
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset(["notices", ALONE, *(new.subject for new in self.notices)])


class ReadNotices(Transition[int], frozen=True, kw_only=True):
    """Mark notices of a person as read; returns how many were unread. Leaf if any was.

    A notice that grew after `until`, which the person cannot have seen so, stays unread.
    """

    person: str
    ids: tuple[str, ...] | None
    """None: all of the person."""
    until: datetime
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset(["notices"])


class SettleNotices(Transition[int], frozen=True, kw_only=True):
    """Mark unread notices as read whose Cases and approvals wait for no one any more; returns how many.

    A notice of a cause stays while a Case of the cause is open. One of a Case that a person gave away stays while it is
    open and still with the receiver. Leaf if any was settled.
    """

    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset(["notices", ALONE])


def read_leaf(notices: list[Notice]) -> dict[str, list[str]]:
    """Return the body of the leaf of notices marked as read."""
    return {"notices": sorted(notice.id for notice in notices)}


class PutNoticePreferences(Transition[PreferenceVerdict], frozen=True, kw_only=True):
    """Save what a person wants by mail. Leaf if it was saved.

    Refused when the person is inactive, or when the revision is no longer the one that the person changed.
    """

    preferences: NoticePreferences
    """With the revision that the person changed."""
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset([f"notice-preferences/{self.preferences.person}"])

    def verdict(self, person: Person | None, former: NoticePreferences | None) -> PreferenceVerdict:
        if person is None or not person.active:
            return "inactive"
        revision = 0 if former is None else former.revision
        return "done" if revision == self.preferences.revision else "changed"

    @property
    def after(self) -> NoticePreferences:
        return replace(self.preferences, revision=self.preferences.revision + 1)

    def body(self) -> bytes:
        """Return the body of its leaf."""
        new = self.after
        return wire.dumps(
            {
                "approvals": str(new.approvals), "cases": str(new.cases), "deadlines": str(new.deadlines),
                "quiet_from": new.quiet_from, "quiet_until": new.quiet_until, "digest_at": new.digest_at,
                "zone": new.zone, "revision": new.revision,
            }
        )  # fmt: skip


def mail_channels(notices: Iterable[NewNotice]) -> dict[str, str]:
    """Return the mail channel of each notice that has one, by the id of the person's notice."""
    return {
        notice_id(person, new.kind, new.cause, new.entity): new.mail
        for new in notices
        if new.mail
        for person in new.persons
    }
