"""Lifecycle of a part of an API: deprecation, removal date and stability level.

The removal date is `x-sunset` (or `sunset`), a date or an RFC 3339 timestamp. A removal before that date breaks a
promise; a removal without a date was never announced.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import msgspec

from counterfoil.contracts.json_parts import Node

STABILITY = ("draft", "alpha", "beta", "stable")
ReportChange = Callable[[str, str], None]
"""Callback for the kind of a change and its message."""


class Lifecycle(msgspec.Struct, frozen=True):
    """Rules about deprecation and removal, judged on one date."""

    today: date

    def compare(self, old: Node, new: Node, report: ReportChange) -> None:
        """Report changes of deprecation and removal date."""
        was, now = _is_deprecated(old), _is_deprecated(new)
        if was and not now:
            report("reactivated", "is not deprecated any more")
            return
        if not now:
            return
        if not was:
            self._report_deprecation(new, report)
            return
        before, after = sunset(old), sunset(new)
        if before == after:
            return
        if isinstance(before, str) or isinstance(after, str):
            report(
                "sunset-invalid",
                f"the removal date changed from {before} to {after}, and one of them is not a date",
            )
        elif before is not None and after is None:
            report("sunset-removed", f"the removal date {before} was removed")
        elif before is not None and after is not None and after < before:
            report("sunset-moved-earlier", f"will be removed on {after}, earlier than {before}")

    def _report_deprecation(self, new: Node, report: ReportChange) -> None:
        end = sunset(new)
        if isinstance(end, str):
            report("sunset-invalid", f"is deprecated with the removal date {end!r}, which is not a date")
        elif end is None:
            report("deprecated-without-sunset", "is deprecated without a removal date")
        elif end < self.today:
            report("sunset-too-soon", f"is deprecated with a removal date in the past, {end}")
        else:
            report("deprecated", f"is deprecated and stays available until {end}")

    def judge_removal(self, old: Node) -> tuple[str, str]:
        """Compare a removal with its announcement. Return the suffix of the rule name and the text."""
        if not _is_deprecated(old):
            return "removed", "without having been deprecated"
        end = sunset(old)
        if isinstance(end, str):
            return "sunset-invalid", f"and its removal date {end!r} is not a date"
        if end is None:
            return "removed-without-date", "deprecated, but without a removal date"
        if end > self.today:
            return "removed-before-sunset", f"before the announced date {end}"
        return "removed-after-sunset", f"after the announced date {end}"


def _is_deprecated(node: Node) -> bool:
    return node.get("deprecated") is True


def sunset(node: Node) -> date | str | None:
    """Return the removal date, the text if it is not a date, or None."""
    value = node.get("x-sunset", node.get("sunset"))
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = str(value)
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).date()
    except ValueError:
        return text


def is_unstable(node: Node) -> bool:
    """Return true if the stability level promises nothing yet."""
    return node.get("x-stability-level") in ("draft", "alpha")
