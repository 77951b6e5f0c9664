"""Posting dates: the accounting date of a document when periods close.

Document date, posting date and revenue-effective date are three different fields; only the second moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

POSTABLE = frozenset({"open", "reopened"})


class PostingDateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A posting date, or the closed period for which it must wait."""

    date: date | None
    closed: str = ""


def posting_date(
    rule: str, document: date, today: date, periods: Sequence[dict[str, Any]]
) -> PostingDateDecision:
    """Return the posting date under a rule.

    `periods` are heads with `name, start, end, state`; the ERP decides on a date that no period covers. `reject` and
    `hold_for_reopen` post on the document date or not at all. `first_open` takes the first postable day at or after
    it, `current` takes today, and `accrue_and_true_up` posts like `first_open` (its accrual is part of the workflow).
    """
    if rule == "current":
        return _on(today, periods)
    here = _period(document, periods)
    if here is None or here["state"] in POSTABLE:
        return PostingDateDecision(date=document)
    if rule in ("first_open", "accrue_and_true_up"):
        later = sorted(
            (p for p in periods if p["start"] > document and p["state"] in POSTABLE), key=lambda p: p["start"]
        )
        if later:
            return PostingDateDecision(date=later[0]["start"])
        last = max((p["end"] for p in periods), default=document)
        return (
            PostingDateDecision(date=last + timedelta(days=1))
            if last < today
            else PostingDateDecision(date=None, closed=here["name"])
        )
    return PostingDateDecision(date=None, closed=here["name"])


def _on(day: date, periods: Sequence[dict[str, Any]]) -> PostingDateDecision:
    here = _period(day, periods)
    if here is None or here["state"] in POSTABLE:
        return PostingDateDecision(date=day)
    return PostingDateDecision(date=None, closed=here["name"])


def _period(day: date, periods: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next((p for p in periods if p["start"] <= day <= p["end"]), None)
