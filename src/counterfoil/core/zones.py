"""Names of time zones that persons choose from (IANA)."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

_INTERNAL = ("Etc/", "SystemV/", "posix/", "right/")


@cache
def zone_names() -> tuple[str, ...]:
    """Return the names of the time zones of regions and cities, UTC first."""
    regions = (name for name in available_timezones() if "/" in name and not name.startswith(_INTERNAL))
    return ("UTC", *sorted(regions))


def zone_named(text: str) -> str | None:
    """Return the name of a zone as it is written, if only its case or its spaces differ; else None."""
    folded = text.strip().replace(" ", "_").casefold()
    return next((name for name in zone_names() if name.casefold() == folded), None)
