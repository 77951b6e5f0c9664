"""Posting dates: the accounting date of a document when periods close.

Document date, posting date and revenue-effective date are three different fields; only the second moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from counterfoil.rules.templates import UnusableValue

POSTABLE = frozenset({"open", "reopened"})
Periods: TypeAlias = Sequence[dict[str, Any]]


def date_of(value: Any) -> date | None:
    """Return a date, the date of a timestamp or of ISO text, or None as it is. Raises UnusableValue for other values."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise UnusableValue(f"{value!r} is not a date") from None
    if value is None or isinstance(value, date):
        return value
    raise UnusableValue(f"{value!r} is not a date")


class PostingDateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A posting date, or the closed period for which it must wait."""

    date: date | None
    closed: str = ""


def posting_date(rule: str, document: date, today: date, periods: Periods) -> PostingDateDecision:
    """Return the posting date under a rule.

    `periods` are heads with `name, start, end, state`; the ERP decides on a date that no period covers. `reject` and
    `hold_for_reopen` post on the document date or not at all. `first_open` takes the first postable day at or after
    it, `current` takes today, and `accrue_and_true_up` posts like `first_open` (its accrual is part of the workflow).
    """
    day = today if rule == "current" else document
    here = _period(day, periods)
    if here is None or here["state"] in POSTABLE:
        return PostingDateDecision(date=day)
    if rule in ("first_open", "accrue_and_true_up"):
        starts = [p["start"] for p in periods if p["start"] > document and p["state"] in POSTABLE]
        if starts:
            return PostingDateDecision(date=min(starts))
        last = max((p["end"] for p in periods), default=document)
        if last < today:
            return PostingDateDecision(date=last + timedelta(days=1))
    return PostingDateDecision(date=None, closed=here["name"])


def _period(day: date, periods: Periods) -> dict[str, Any] | None:
    return next((p for p in periods if p["start"] <= day <= p["end"]), None)
