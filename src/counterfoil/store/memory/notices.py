"""Specification of notices: written once for each mark, marked as read, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case, CaseState
from counterfoil.core.delivery import digest_ids, planned_deliveries
from counterfoil.core.notice import (
    NewNotice,
    Notice,
    NoticeKind,
    NoticeSource,
    is_fresh,
    notice_id,
    notice_with,
    written_body,
)
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.store.memory.reads import case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.notices import (
    PreferenceVerdict,
    PutNoticePreferences,
    ReadNotices,
    SettleNotices,
    Unnoticed,
    WriteNotices,
    mail_channels,
    read_leaf,
)


@memory(WriteNotices)
def write_notices(db: Tables, t: WriteNotices) -> int:
    fresh = []
    marks: dict[tuple[str, str], None] = {}
    for new in t.notices:
        if (source := new.source) is None:
            continue
        mark = (str(source), new.subject)
        table = db.approvals if source is NoticeSource.APPROVAL else db.cases
        if new.subject in table and mark not in db.noticed:
            marks[mark] = None
            fresh.append(new)
    for mark in marks:
        db.put(db.noticed, mark, None)
    return put_notices(db, fresh, t.at)


def put_notices(db: Tables, notices: Sequence[NewNotice], at: datetime) -> int:
    """Write or raise the notices of each person; return how many."""
    ids = {notice_id(p, new.kind, new.cause, new.entity) for new in notices for p in new.persons}
    former = {id_: db.notices[id_] for id_ in ids if id_ in db.notices}
    unread = [id_ for id_ in ids if id_ not in db.notices or db.notices[id_].read_at is not None]
    for new in notices:
        for person in new.persons:
            id_ = notice_id(person, new.kind, new.cause, new.entity)
            db.put(db.notices, id_, notice_with(db.notices.get(id_), new, person, at))
    mails = mail_channels(notices)
    rounds = [
        (db.notices[i], mails.get(i, "")) for i in sorted(ids) if is_fresh(former.get(i), db.notices[i])
    ]
    wishes = {n.person: w for n, mail in rounds if mail and (w := db.notice_preferences.get(n.person))}
    digests = {i: db.deliveries[i] for i in digest_ids(wishes.values(), at) if i in db.deliveries}
    for delivery in planned_deliveries(rounds, wishes, digests, at):
        if delivery.id in digests or delivery.id not in db.deliveries:
            db.put(db.deliveries, delivery.id, delivery)
    for id_ in sorted(ids):
        db.leaf("notice.written", id_, at, "notices", written_body(db.notices[id_]))
    _count(db, [db.notices[id_] for id_ in unread], 1)
    return len(ids)


@memory(ReadNotices)
def read_notices(db: Tables, t: ReadNotices) -> int:
    notices = [
        n
        for n in db.notices.values()
        if n.person == t.person and n.read_at is None and n.at <= t.until and (t.ids is None or n.id in t.ids)
    ]
    for notice in notices:
        db.put(db.notices, notice.id, replace(notice, read_at=t.at))
    if notices:
        _count(db, notices, -1)
        body = wire.dumps(read_leaf(notices))
        db.leaf("notice.read", t.person, t.at, f"person:{t.person}", body)
    return len(notices)


@memory(SettleNotices)
def settle_notices(db: Tables, t: SettleNotices) -> int:
    notices = [n for n in db.notices.values() if n.read_at is None and not _is_waiting(db, n)]
    for notice in notices:
        db.put(db.notices, notice.id, replace(notice, read_at=t.at))
    if notices:
        _count(db, notices, -1)
        db.leaf("notice.settled", "notices", t.at, "notices", wire.dumps(read_leaf(notices)))
    return len(notices)


@memory(PutNoticePreferences)
def put_notice_preferences(db: Tables, t: PutNoticePreferences) -> PreferenceVerdict:
    person = t.preferences.person
    verdict = t.verdict(db.persons.get(person), db.notice_preferences.get(person))
    if verdict == "done":
        db.put(db.notice_preferences, person, t.after)
        db.leaf("notice.preferences", person, t.at, f"person:{person}", t.body())
    return verdict


def notice_preferences(db: Tables, person: str) -> NoticePreferences | None:
    return db.notice_preferences.get(person)


def _is_waiting(db: Tables, notice: Notice) -> bool:
    if notice.kind is NoticeKind.APPROVAL:
        approval = db.approvals.get(notice.subject)
        return approval is not None and approval.state is ApprovalState.OPEN
    case = db.cases.get(notice.subject)
    is_open = case is not None and case.state is CaseState.OPEN
    if notice.kind is NoticeKind.ASSIGNED:
        return is_open and case is not None and case.assignee == notice.person
    of_cause = (c for c in db.cases.values() if c.cause == notice.cause)
    return is_open or any(c.state is CaseState.OPEN for c in of_cause)


def unnoticed(db: Tables, at: datetime, limit: int) -> Unnoticed:
    cases = sorted((c for c in db.cases.values() if ("case", c.id) not in db.noticed), key=_age)
    approvals = sorted((a for a in db.approvals.values() if ("approval", a.id) not in db.noticed), key=_age)
    near = [c for c in db.cases.values() if ("deadline", c.id) not in db.noticed and _is_near(c, at)]
    near.sort(key=lambda c: (c.deadline, c.id))
    rows = [[row for c in some[:limit] if (row := case(db, c.id))] for some in (cases, near)]
    return Unnoticed(rows[0], approvals[:limit], rows[1])


def _is_near(case: Case, at: datetime) -> bool:
    left = case.deadline - at
    is_last_quarter = left <= (case.deadline - case.created_at) // 4
    return case.state is CaseState.OPEN and left <= timedelta(days=1) and is_last_quarter


def _age(row: Case | Approval) -> tuple[datetime, str]:
    return row.created_at, row.id


def _count(db: Tables, notices: Iterable[Notice], step: int) -> None:
    for notice in notices:
        name = (notice.person, str(notice.kind), notice.entity)
        db.put(db.notice_counts, name, db.notice_counts.get(name, 0) + step)
