"""Stripe's events as deliveries, and the cursor of a poll over them.

A webhook and the same event in a poll have the same identity, so the second is a repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Delivery, Json, Page
from counterfoil.connectors.stripe.client import pairs
from counterfoil.connectors.stripe.documents import moment
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.wire import write_json

Get: TypeAlias = Callable[[str, str, Mapping[str, str], Deadline], Awaitable[dict[str, Json]]]
"""Reads an object: path, kind of object, query, and deadline."""

OVERLAP_SECONDS = 60
"""Time before the newest event that each poll reads again: the list may show an event late."""
MAX_SEEN_EVENTS = 1000
RETAINED_SECONDS = 31 * 86_400
"""Time for which Stripe lists events, plus a day."""
_PAGE = "100"


def delivery_of(event: Json) -> Delivery:
    """Return an event as a delivery. Raises KeyError, TypeError or ValueError if it is no event."""
    id, type, created = event["id"], event["type"], event["created"]
    if event["object"] != "event" or not (isinstance(id, str) and isinstance(type, str) and id and type):
        raise ValueError("not an event")
    if not isinstance(created, int) or isinstance(created, bool):
        raise TypeError("the time of an event must be whole seconds")
    # `pending_webhooks` and `api_version` differ between two deliveries of one event. Some objects have no id.
    subject = event["data"]["object"]
    identity = f"{id}\n{type}\n{subject.get('id') or ''}".encode()
    return Delivery(id, type, identity, event, moment(created), content=write_json(subject))


@dataclass(frozen=True, slots=True)
class EventCursor:
    """The event after which to read, empty for the beginning, and the later events that were already delivered."""

    anchor: str = ""
    seen: Sequence[str] = ()

    @classmethod
    def read(cls, text: str | None) -> EventCursor:
        """Return the cursor of a text from `write`. Raises ValueError for another text."""
        if text is None:
            return cls()
        parts = msgspec.json.decode(text, type=list[str])
        if not parts:
            raise ValueError("an empty cursor")
        return cls(parts[0], tuple(parts[1:]))

    def write(self) -> str:
        return msgspec.json.encode([self.anchor, *self.seen]).decode()

    def past(self, passed: Sequence[Json], fresh: Sequence[str]) -> EventCursor:
        """Return the cursor after `passed` (the events behind the anchor, oldest first), of which `fresh` were new.

        The anchor moves to the newest event that is older than the overlap, or that keeps `seen` small.
        """
        delivered = [*self.seen, *fresh]
        anchor_at = -1
        for number, event in enumerate(passed):
            old = event["created"] < passed[-1]["created"] - OVERLAP_SECONDS
            if old or number < len(passed) - MAX_SEEN_EVENTS:
                anchor_at = number
        if anchor_at < 0:
            return EventCursor(self.anchor, delivered)
        behind = {event["id"] for event in passed[anchor_at + 1 :]}
        return EventCursor(passed[anchor_at]["id"], [id for id in delivered if id in behind])


async def read_page(get: Get, types: Sequence[str], cursor: EventCursor, limit: int, by: Deadline) -> Page:
    """Return at most `limit` events that were not delivered yet, oldest first. Raises the errors of `get`."""
    kinds = dict(pairs({"types": types}))
    passed: list[Json] = []
    fresh: list[Json] = []
    delivered, last, more = set(cursor.seen), cursor.anchor, True
    while more and len(fresh) < limit:
        rows, more = await _behind(get, kinds, last, by)
        for event in rows:
            if len(fresh) == limit:
                more = True
                break
            passed.append(event)
            last = event["id"]
            if last not in delivered:
                fresh.append(event)
    after = cursor.past(passed, [event["id"] for event in fresh])
    return Page([delivery_of(event) for event in fresh], after.write(), more)


async def _behind(get: Get, kinds: Mapping[str, str], anchor: str, by: Deadline) -> tuple[list[Json], bool]:
    """Return the events after `anchor`, oldest first, and whether there are more. Stripe lists the newest first."""
    if anchor:
        try:
            query = {**kinds, "ending_before": anchor, "limit": _PAGE}
            rows = await get("/v1/events", "list", query, by)
            return rows["data"][::-1], bool(rows.get("has_more"))
        except Refused as error:
            # Stripe no longer has the anchor: read from the oldest event that it has.
            if error.error_class is not ErrorClass.NOT_FOUND:
                raise
    newest = await get("/v1/events", "list", {**kinds, "limit": _PAGE}, by)
    if not newest.get("has_more"):
        return newest["data"][::-1], False
    return await _oldest(get, kinds, newest["data"], by), True


async def _oldest(get: Get, kinds: Mapping[str, str], newest: Sequence[Json], by: Deadline) -> list[Json]:
    """Return all events of the oldest second with events, by binary search: a list cannot be read from its end."""
    empty, filled = newest[0]["created"] - RETAINED_SECONDS, newest[-1]["created"]
    while filled - empty > 1:
        middle = (empty + filled) // 2
        page = await get("/v1/events", "list", {**kinds, "created[lte]": str(middle), "limit": "1"}, by)
        if page["data"]:
            filled = page["data"][0]["created"]
        else:
            empty = middle
    rows: list[Json] = []
    query = {**kinds, "created[lte]": str(filled), "limit": _PAGE}
    while True:
        page = await get("/v1/events", "list", query, by)
        rows += page["data"]
        if not page.get("has_more"):
            return rows[::-1]
        query["starting_after"] = rows[-1]["id"]
