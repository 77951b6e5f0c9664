"""Words of a notice, for pages and mails alike: no names of persons or customers."""

from __future__ import annotations

from urllib.parse import urlencode

from counterfoil.core.case_reasons import reason_row
from counterfoil.core.notice import Notice, NoticeKind
from counterfoil.core.plural import counted


def notice_title(notice: Notice) -> str:
    """Return what happened, in words without names of persons or customers: every reader may see them."""
    if notice.kind is NoticeKind.APPROVAL:
        return f"An approval waits for you: {notice.reason.replace('-', ' ').replace('_', ' ')}"
    what = reason_row(notice.reason).title
    if notice.kind is NoticeKind.ASSIGNED:
        return f"A Case is yours now: {what}"
    cases = "" if notice.count == 1 else f"{counted(notice.count, 'Case')}: "
    return f"Deadline near: {cases}{what}" if notice.kind is NoticeKind.DEADLINE else f"{cases}{what}"


def notice_path(notice: Notice) -> str:
    """Return the path of the page of the Case, of the Cases of the cause, or of the approval."""
    if notice.kind is NoticeKind.APPROVAL:
        return f"/approvals/{notice.subject}"
    if notice.count == 1:
        return f"/cases/{notice.subject}"
    return f"/cases?{urlencode({'cause': notice.cause})}"
