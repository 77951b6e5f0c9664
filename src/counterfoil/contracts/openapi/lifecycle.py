"""Promises about time: what is deprecated, until when it stays, and how stable it is said to be.

The date of removal is `x-sunset` (or `sunset`), a date or a moment of RFC 3339. What is removed before it breaks a
promise; what is removed without one was never announced.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import msgspec

STABILITY = ("draft", "alpha", "beta", "stable")
Tell = Callable[[str, str], None]
"""Told a kind of change and a message."""


class Lifecycle(msgspec.Struct, frozen=True):
    """The rules about time on a day."""

    today: date

    def compare(self, old: dict[str, Any], new: dict[str, Any], tell: Tell) -> None:
        """Tell of deprecation and dates of removal."""
        was, now = _deprecated(old), _deprecated(new)
        if was and not now:
            tell("reactivated", "is not deprecated any more")
            return
        if not now:
            return
        if not was:
            self._announced(new, tell)
            return
        before, after = sunset(old), sunset(new)
        if before == after:
            return
        if isinstance(before, str) or isinstance(after, str):
            tell(
                "sunset-invalid", f"the date of removal changed from {before} to {after}, and one is no date"
            )
        elif before is not None and after is None:
            tell("sunset-removed", f"the date of removal, {before}, is gone")
        elif before is not None and after is not None and after < before:
            tell("sunset-moved-earlier", f"is to be removed on {after}, earlier than {before}")

    def _announced(self, new: dict[str, Any], tell: Tell) -> None:
        end = sunset(new)
        if isinstance(end, str):
            tell("sunset-invalid", f"is deprecated with {end!r} as date of removal, which is no date")
        elif end is None:
            tell("deprecated-without-sunset", "is deprecated, and no date says until when it stays")
        elif end < self.today:
            tell("sunset-too-soon", f"is deprecated with a date of removal that has passed, {end}")
        else:
            tell("deprecated", f"is deprecated and stays until {end}")

    def removed(self, old: dict[str, Any]) -> tuple[str, str]:
        """How a removal stands to what was announced: the end of the rule's name, and what to say."""
        if not _deprecated(old):
            return "removed", "without having been deprecated"
        end = sunset(old)
        if isinstance(end, str):
            return "sunset-invalid", f"though its date of removal, {end!r}, is no date"
        if end is None:
            return "removed-without-date", "deprecated, but without a date that clients could plan for"
        if end > self.today:
            return "removed-before-sunset", f"before the promised {end}"
        return "removed-after-sunset", f"after the promised {end}"


def _deprecated(node: dict[str, Any]) -> bool:
    return node.get("deprecated") is True


def sunset(node: dict[str, Any]) -> date | str | None:
    """The date of removal, the text that should have been one, or None."""
    said = node.get("x-sunset", node.get("sunset"))
    if said is None:
        return None
    if isinstance(said, datetime):
        return said.date()
    if isinstance(said, date):
        return said
    text = str(said)
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).date()
    except ValueError:
        return text


def unstable(node: dict[str, Any]) -> bool:
    """Whether nothing is promised yet."""
    return node.get("x-stability-level") in ("draft", "alpha")
