"""Roundup's issues as flat tickets, and the cursor of a poll over them.

Roundup orders issues by the time of their last activity, stored in milliseconds but shown in whole seconds. A change
becomes visible when it commits, which may be later. So a cursor holds a second a little before the latest one, and the
states delivered since then.
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
    """Cursor of the feed. `since` is a second in Roundup's format; `seen` maps delivered states to their second."""

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
        """Return the cursor after the delivery of `tickets`, oldest first. It never goes back."""
        if not tickets:
            return self
        delivered = {**self.seen, **{state_id(ticket): _native(ticket["activity"]) for ticket in tickets}}
        last = max(map(moment, (ticket["activity"] for ticket in tickets)))
        since = max(self.since, _native((last - overlap).isoformat()))
        return TicketCursor(since, {key: second for key, second in delivered.items() if second >= since})


def flatten(issue: str, attributes: Mapping[str, Json]) -> dict[str, Json]:
    """Return the attributes of an issue: names instead of links, lists of links as ids, times in RFC 3339."""
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
    """Return the UTC time of an `activity`, as in `flatten` and in callbacks. Raises ValueError."""
    time = datetime.fromisoformat(activity)
    if time.tzinfo is None:
        raise ValueError(f"{activity!r} has no time zone")
    return time.astimezone(UTC)


def version(ticket: Mapping[str, Json]) -> str:
    """Return the mark that separates two states of a ticket within one second: its revision, else a digest of its fields."""
    revision = ticket.get("revision")
    return str(revision) if revision is not None else hashlib.sha256(dumps(dict(ticket))).hexdigest()[:16]


def state_id(ticket: Mapping[str, Json]) -> str:
    return f"{ticket['id']}/{ticket['activity']}/{version(ticket)}"


def delivery_of(ticket: Mapping[str, Json]) -> Delivery:
    """Return a polled state of a ticket as a delivery, in the form of the callback for the same change."""
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
    """Return the bytes that identify one change of one ticket: the same for a callback and a poll."""
    return "\n".join((str(ticket["id"]), ticket["activity"], str(ticket.get("revision")), event)).encode()


def _native(activity: str) -> str:
    return moment(activity).strftime("%Y-%m-%d.%H:%M:%S")
