"""Headers that tell a caller about a version on its way out: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), successor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import quote

from counterfoil.model import kinds
from counterfoil.rules.versions import DeprecationNotice, lifecycle
from counterfoil.web.http.ports import App


def lifecycle_headers(kind: kinds.Event | kinds.Operation, now: datetime) -> dict[str, str]:
    """The headers of an answer that used this version; none before it is deprecated."""
    found = lifecycle(kind, now)
    of = "operations" if isinstance(kind, kinds.Operation) else "events"
    return {} if found is None else headers_of([found], of)


def headers_of(used: Iterable[DeprecationNotice], of: str = "events") -> dict[str, str]:
    """The same of several versions used at once: the earliest day of each sort, and every successor."""
    found = sorted(used, key=lambda each: each.since)
    if not found:
        return {}
    headers = {"deprecation": f"@{int(found[0].since.timestamp())}"}
    sunsets = [each.sunset for each in found if each.sunset is not None]
    if sunsets:
        headers["sunset"] = format_datetime(min(sunsets), usegmt=True)
    successors = dict.fromkeys(each.use for each in found if each.use is not None)
    if successors:
        headers["link"] = ", ".join(f'<{_place(name, of)}>; rel="successor-version"' for name in successors)
    return headers


async def headers_for(app: App, names: Iterable[str]) -> dict[str, str]:
    """The headers of an answer to a delivery that used these event types, of which some may be deprecated."""
    wanted = set(names)
    if not wanted:
        return {}
    now = await app.now()
    found = app.uses.deprecated(now)
    await app.uses.settle(now)
    return headers_of(found[name] for name in sorted(wanted & found.keys()))


def _place(name: str, of: str) -> str:
    if of == "operations":
        return f"/v1/operations/{quote(name)}"
    return f"/v1/contracts?name={quote(name)}"
