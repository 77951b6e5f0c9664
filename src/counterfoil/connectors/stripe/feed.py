"""Stripe's events as deliveries, and the place up to which they have been read.

A webhook and the same event of a poll give the same identity, so the second one is a repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from counterfoil.connectors.sdk import Delivery, Json, Page
from counterfoil.connectors.stripe import forms
from counterfoil.connectors.stripe.documents import moment
from counterfoil.core.errors import ErrorClass, Refused

Get: TypeAlias = Callable[[str, str, Mapping[str, str], float], Awaitable[dict[str, Json]]]
"""Path, kind of object, query, and the monotonic time by which it must end."""

OVERLAP_SECONDS = 60
"""Seconds of events that are read again behind the newest one: the list may show an event late."""
MAX_SEEN = 1000
RETAINED_SECONDS = 31 * 86_400
"""Seconds for which Stripe lists events, and a day."""
_PAGE = "100"


def delivery_of(event: Json) -> Delivery:
    """An event identified. Raises KeyError, TypeError or ValueError when it is none."""
    id, type, created = event["id"], event["type"], event["created"]
    if (
        event["object"] != "event"
        or not isinstance(id, str)
        or not isinstance(type, str)
        or not id
        or not type
    ):
        raise ValueError("not an event")
    if not isinstance(created, int) or isinstance(created, bool):
        raise TypeError("an event's time is whole seconds")
    # `pending_webhooks` and `api_version` differ between two deliveries of one event. Some objects have no id.
    about = event["data"]["object"].get("id") or ""
    return Delivery(id, type, f"{id}\n{type}\n{about}".encode(), event, moment(created))


@dataclass(frozen=True, slots=True)
class EventCursor:
    """The event after which to read on, none for the beginning, and what behind it was already handed over."""

    anchor: str = ""
    seen: Sequence[str] = ()

    @classmethod
    def read(cls, text: str | None) -> EventCursor:
        """Raises ValueError for a text that `write` did not make."""
        if text is None:
            return cls()
        parts = msgspec.json.decode(text, type=list[str])
        if not parts:
            raise ValueError("an empty cursor")
        return cls(parts[0], tuple(parts[1:]))

    def write(self) -> str:
        return msgspec.json.encode([self.anchor, *self.seen]).decode()

    def past(self, passed: Sequence[Json], fresh: Sequence[str]) -> EventCursor:
        """After going past `passed` (all that lies behind the anchor, oldest first), of which `fresh` was new.

        The anchor moves to the newest event that is older than the overlap, or that keeps `seen` small.
        """
        known = [*self.seen, *fresh]
        place = -1
        for number, event in enumerate(passed):
            if event["created"] < passed[-1]["created"] - OVERLAP_SECONDS or number < len(passed) - MAX_SEEN:
                place = number
        if place < 0:
            return EventCursor(self.anchor, known)
        behind = {event["id"] for event in passed[place + 1 :]}
        return EventCursor(passed[place]["id"], [id for id in known if id in behind])


async def read_page(get: Get, types: Sequence[str], place: EventCursor, limit: int, ends: float) -> Page:
    """At most `limit` events that were not handed over yet, oldest first. Raises what `get` raises."""
    kinds = dict(forms.pairs({"types": types}))
    passed: list[Json] = []
    fresh: list[Json] = []
    seen, last, more = set(place.seen), place.anchor, True
    while more and len(fresh) < limit:
        rows, more = await _behind(get, kinds, last, ends)
        for event in rows:
            if len(fresh) == limit:
                more = True
                break
            passed.append(event)
            last = event["id"]
            if last not in seen:
                fresh.append(event)
    after = place.past(passed, [event["id"] for event in fresh])
    return Page([delivery_of(event) for event in fresh], after.write(), more)


async def _behind(get: Get, kinds: Mapping[str, str], anchor: str, ends: float) -> tuple[list[Json], bool]:
    """The events next after one, oldest first, and whether there are more. Stripe lists the newest first."""
    if anchor:
        try:
            found = await get("/v1/events", "list", {**kinds, "ending_before": anchor, "limit": _PAGE}, ends)
            return found["data"][::-1], bool(found.get("has_more"))
        except Refused as error:
            # An event that is no longer kept: read on from the oldest one that is.
            if error.error_class is not ErrorClass.NOT_FOUND:
                raise
    found = await get("/v1/events", "list", {**kinds, "limit": _PAGE}, ends)
    if not found.get("has_more"):
        return found["data"][::-1], False
    return await _oldest(get, kinds, found["data"], ends), True


async def _oldest(get: Get, kinds: Mapping[str, str], newest: Sequence[Json], ends: float) -> list[Json]:
    """All events of the oldest second that has any, found by halving: a list cannot be read from its end."""
    empty, some = newest[0]["created"] - RETAINED_SECONDS, newest[-1]["created"]
    while some - empty > 1:
        middle = (empty + some) // 2
        found = await get("/v1/events", "list", {**kinds, "created[lte]": str(middle), "limit": "1"}, ends)
        if found["data"]:
            some = found["data"][0]["created"]
        else:
            empty = middle
    rows: list[Json] = []
    query = {**kinds, "created[lte]": str(some), "limit": _PAGE}
    while True:
        found = await get("/v1/events", "list", query, ends)
        rows += found["data"]
        if not found.get("has_more"):
            return rows[::-1]
        query["starting_after"] = rows[-1]["id"]
