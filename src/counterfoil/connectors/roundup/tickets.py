"""Roundup's issues as flat tickets, and the place of a poll in its list of issues.

Roundup orders issues by the moment of their last activity, kept in milliseconds but shown in whole seconds, and
a change shows up when it commits, not at that moment. So a cursor holds a second a little before the last one
seen, and what was already delivered since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from counterfoil.connectors.sdk import Delivery, Json
from counterfoil.core.errors import Misconfigured
from counterfoil.core.wire import dumps

_TIMES = ("activity", "creation")


class TicketCursor(msgspec.Struct, frozen=True):
    """`since` is a second in Roundup's own form; `seen` maps delivered (issue, version) to that second."""

    since: str = ""
    seen: dict[str, str] = {}

    @classmethod
    def read(cls, text: str | None) -> TicketCursor:
        if text is None:
            return cls()
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise Misconfigured(f"the stored cursor of the feed tickets cannot be read: {error}") from error

    def write(self) -> str:
        return msgspec.json.encode(self, order="sorted").decode()

    def past(self, tickets: Sequence[Mapping[str, Json]], overlap: timedelta) -> TicketCursor:
        """The place after delivering `tickets`, oldest first; never earlier than this one."""
        if not tickets:
            return self
        seen = {**self.seen, **{state_id(ticket): _native(ticket["activity"]) for ticket in tickets}}
        last = max(map(moment, (ticket["activity"] for ticket in tickets)))
        since = max(self.since, _native((last - overlap).isoformat()))
        return TicketCursor(since, {key: second for key, second in seen.items() if second >= since})


def flatten(issue: str, attributes: Mapping[str, Json]) -> dict[str, Json]:
    """An issue's attributes with names in place of links, lists of links as ids, and times in RFC 3339."""
    ticket: dict[str, Json] = {"id": issue}
    for name, value in attributes.items():
        if isinstance(value, list):
            ticket[name] = [str(part["id"]) if isinstance(part, Mapping) else part for part in value]
        elif isinstance(value, Mapping):
            labels = [part for key, part in value.items() if key not in ("id", "link")]
            ticket[name] = labels[0] if labels else str(value.get("id"))
        elif name in _TIMES and isinstance(value, str):
            ticket[name] = value.replace(".", "T", 1) + "Z"
        else:
            ticket[name] = value
    return ticket


def moment(activity: str) -> datetime:
    """The UTC moment of an `activity` as `flat` and the callbacks write it. Raises ValueError."""
    found = datetime.fromisoformat(activity)
    if found.tzinfo is None:
        raise ValueError(f"{activity!r} has no time zone")
    return found.astimezone(UTC)


def version(ticket: Mapping[str, Json]) -> str:
    """What tells two states of a ticket within one second apart: its revision where the tracker counts them,
    else a digest of its fields."""
    revision = ticket.get("revision")
    return str(revision) if revision is not None else hashlib.sha256(dumps(dict(ticket))).hexdigest()[:16]


def state_id(ticket: Mapping[str, Json]) -> str:
    """Names one state of one ticket."""
    return f"{ticket['id']}/{ticket['activity']}/{version(ticket)}"


def delivery_of(ticket: Mapping[str, Json]) -> Delivery:
    """A polled state of a ticket as a delivery, shaped like the callback of the same change."""
    new = ticket["revision"] == 1 if "revision" in ticket else ticket["activity"] == ticket.get("creation")
    event = "issue.created" if new else "issue.updated"
    return Delivery(
        ext_id=f"issue/{state_id(ticket)}",
        type=event,
        identity=identity(ticket, event),
        body={"event": event, **ticket},
        occurred_at=moment(ticket["activity"]),
    )


def identity(ticket: Mapping[str, Json], event: str) -> bytes:
    """The fields that make one change of one ticket the same, through whichever door it came."""
    return "\n".join((str(ticket["id"]), ticket["activity"], str(ticket.get("revision")), event)).encode()


def _native(activity: str) -> str:
    return moment(activity).strftime("%Y-%m-%d.%H:%M:%S")
