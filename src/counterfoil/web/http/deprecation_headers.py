"""Response headers for deprecated versions: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and the successor's link."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import quote

from counterfoil.application import Application
from counterfoil.model import kinds
from counterfoil.rules.versions import DeprecationNotice, lifecycle


def lifecycle_headers(kind: kinds.Event | kinds.Operation, now: datetime) -> dict[str, str]:
    """Return the headers for a response that used this version; empty before it is deprecated."""
    notice = lifecycle(kind, now)
    collection = "operations" if isinstance(kind, kinds.Operation) else "events"
    return {} if notice is None else headers_of([notice], collection)


def headers_of(notices: Iterable[DeprecationNotice], collection: str = "events") -> dict[str, str]:
    """Return one set of headers for several versions: the earliest dates, and every successor."""
    ordered = sorted(notices, key=lambda notice: notice.since)
    if not ordered:
        return {}
    headers = {"deprecation": f"@{int(ordered[0].since.timestamp())}"}
    sunsets = [notice.sunset for notice in ordered if notice.sunset is not None]
    if sunsets:
        headers["sunset"] = format_datetime(min(sunsets), usegmt=True)
    successors = dict.fromkeys(notice.use for notice in ordered if notice.use is not None)
    if successors:
        headers["link"] = ", ".join(
            f'<{_address(name, collection)}>; rel="successor-version"' for name in successors
        )
    return headers


async def headers_for(app: Application, names: Iterable[str]) -> dict[str, str]:
    """Return the headers for a delivery that used these event types, deprecated or not."""
    used = set(names)
    if not used:
        return {}
    now = await app.now()
    notices = app.uses.deprecated(now)
    await app.uses.settle(now)
    return headers_of(notices[name] for name in sorted(used & notices.keys()))


def _address(name: str, collection: str) -> str:
    if collection == "operations":
        return f"/v1/operations/{quote(name)}"
    return f"/v1/contracts?name={quote(name)}"
